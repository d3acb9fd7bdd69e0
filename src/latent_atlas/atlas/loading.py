"""The parts of an atlas: read from a run folder, or computed with any autoencoder."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.codes.codec import Codec
from latent_atlas.codes.files import collect
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, adapt
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import ArrayLike, as_images

__all__ = ["AtlasParts"]

HELD_OUT = 0.1  # share of a wrapped autoencoder's codes that its map is not fitted to


@dataclass(frozen=True)
class AtlasParts:
    """Everything that `Atlas` holds, under the same names."""

    model: Autoencoder | None
    map: LatentMap
    codes: dict[str, Codes]
    config: Config
    labels: dict[str, Tensor] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    errors: Tensor | None = None

    @classmethod
    def read(cls, run: Path, device: torch.device) -> "AtlasParts":
        """The parts of a finished run folder; a run of codes alone has no model.

        Raises:
            UserError: the folder holds no run, one that has not finished, or one of another
                version.
        """
        folder = Run(run)
        config = folder.config()
        # Weights made in inference mode could never be differentiated through.
        with torch.inference_mode(False):
            model = (
                _read_model(folder, device) if folder.file("model.safetensors").is_file() else None
            )
            tensors, _ = read_tensors(folder.file("codes.safetensors"), device=device)
            latent_map = LatentMap.load(folder.file("map.safetensors"), device=device)
        parts = ("train", "held_out")
        codes = {
            part: Codes(tensors[f"{part}.means"], tensors.get(f"{part}.log_variances"))
            for part in parts
        }
        labels = {part: tensors[f"{part}.labels"] for part in parts if f"{part}.labels" in tensors}
        names = (folder.read_json("manifest.json") or {}).get("label_names", ())
        return cls(
            model, latent_map, codes, config, labels, tuple(names), tensors.get("held_out.errors")
        )

    @classmethod
    def gather(
        cls,
        autoencoder: object | None,
        images: ArrayLike,
        labels: ArrayLike | None,
        label_names: tuple[str, ...],
        config: MapConfig,
        *,
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None,
        **adapter: Any,
    ) -> "AtlasParts":
        """Codes of some images by an autoencoder, and a map of them; see `Atlas.wrap`."""
        images = as_images(images)
        model = adapt(autoencoder, images, device=generator.device, **adapter)
        collection = collect(*model.posterior(images), labels, label_names)
        for note in collection.warnings:
            warnings.warn(note, stacklevel=3)  # points at the caller of `Atlas.wrap`
        train, held_out = collection.split(HELD_OUT, generator=generator)
        latent_map = LatentMap.fit(
            *train.arrays(),
            config=config,
            held_out=held_out.codes,
            generator=generator,
            log=log,
            warn=False,
        )
        for note in latent_map.warnings:
            warnings.warn(note, stacklevel=3)
        parts, device = {"train": train, "held_out": held_out}, latent_map.device
        codes = {part: some.codes.to(device) for part, some in parts.items()}
        rebuilt = Codec(model, latent_map.shape, device)
        return cls(
            model,
            latent_map,
            codes,
            Config(map=config),
            {
                part: some.labels.to(device)
                for part, some in parts.items()
                if some.labels is not None
            },
            label_names,
            rebuilt.errors(images[held_out.rows.to(images.device)], codes["held_out"].means),
        )


def _read_model(run: Run, device: torch.device) -> Autoencoder:
    """E and G of a run."""
    config = run.config()
    model = VAEGAN(config.model, config.map)
    try:
        model.load_state_dict(read_tensors(run.file("model.safetensors"))[0])
    except RuntimeError as error:
        raise UserError(
            f"{run.file('model.safetensors')} was written by another version of latent-atlas; "
            "train the run again"
        ) from error
    model.to(device).requires_grad_(False)
    # The memory format of training, which is the fastest one for convolutions.
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    image_shape = (config.model.channels, config.model.image_size, config.model.image_size)
    return Autoencoder(model.encoder, model.decode, image_shape, (model.dimension,), device=device)
