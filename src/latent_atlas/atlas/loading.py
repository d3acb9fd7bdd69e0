"""The parts of an atlas: read from a run folder, or computed with any autoencoder."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.atlas.collection import FOLDER, THUMBNAIL, Collection
from latent_atlas.attributes.registry import Known
from latent_atlas.codes.codec import Codec
from latent_atlas.codes.files import collect
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, adapt
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.model import ModelConfig
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import require
from latent_atlas.nn.autoencoder import CodeDecoder
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Layout, Run, check_layout, read_tensors, reading
from latent_atlas.shapes import ArrayLike, as_images

__all__ = ["AtlasParts", "read_attributes", "read_codes", "read_decoder", "read_model"]

CODES = {
    "train.means": Layout(("n", "d")),
    "train.log_variances": Layout(("n", "d"), required=False),
    "train.labels": Layout(("n",), integer=True, required=False),
    "held_out.means": Layout(("m", "d")),
    "held_out.log_variances": Layout(("m", "d"), required=False),
    "held_out.labels": Layout(("m",), integer=True, required=False),
    "held_out.reconstruction_errors": Layout(("m", 3), required=False),
    "held_out.errors": Layout(("m",), required=False),  # of older runs, without the rest
    "train.rows": Layout(("n",), integer=True, required=False),
    "held_out.rows": Layout(("m",), integer=True, required=False),
}
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
    population: dict[str, int] | None = None
    index_file: Path | None = None
    collection: Collection | None = None
    known: dict[str, Known] | None = field(default_factory=dict)
    run: Path | None = None

    @classmethod
    def read(cls, run: Path, device: torch.device, *, nearest: bool = False) -> "AtlasParts":
        """The parts of a finished run folder; a run of codes alone has no model.

        Arguments:
            run, device: The folder, and where to put its codes.
            nearest: Whether to leave out a decoder that was learned for a collection.

        Raises:
            UserError: the folder holds no run, one that has not finished, or one of another
                version.
        """
        folder = Run(run)
        config = folder.source(folder.config())
        manifest = folder.read_json("manifest.json") or {}
        names = tuple(manifest.get("label_names", ()))
        weights, kept = (folder.file(f"{name}.safetensors") for name in ("model", "codes"))
        require(
            weights.is_file() or "image_size" not in manifest,
            f"{weights} is missing; `latent-atlas train --resume` finishes a run",
        )
        # Weights made in inference mode could never be differentiated through.
        with torch.inference_mode(False):
            model = read_model(folder, device) if weights.is_file() else None
            if not nearest and folder.decoder.file("model.safetensors").is_file():
                model = read_decoder(folder, device)
            tensors = read_codes(kept, len(names), device)
            latent_map = LatentMap.load(folder.file("map.safetensors"), device=device)
        parts = ("train", "held_out")
        codes = {
            part: Codes(tensors[f"{part}.means"], tensors.get(f"{part}.log_variances"))
            for part in parts
        }
        labels = {part: tensors[f"{part}.labels"] for part in parts if f"{part}.labels" in tensors}
        sizes = {codes["train"].means.shape[1], latent_map.dimension}
        sizes |= set() if model is None else {math.prod(model.latent_shape)}
        require(
            len(sizes) == 1,
            f"the files of {run} are not of one run: their codes have "
            f"{' and '.join(map(str, sorted(sizes)))} coordinates; restore the ones that were "
            "replaced",
        )
        sampled = "fitted_to" in manifest
        rows = {part: tensors[f"{part}.rows"] for part in parts if f"{part}.rows" in tensors}
        means = {part: some.means for part, some in codes.items()}
        side = THUMBNAIL if model is None else model.image_shape[-1]
        return cls(
            model,
            latent_map,
            codes,
            config,
            labels,
            names,
            tensors.get("held_out.reconstruction_errors"),
            {part: manifest[f"n_{part}"] for part in parts} if sampled else None,
            folder.file("neighbours.faiss"),
            Collection(folder.file(FOLDER), rows, means, side) if rows else None,
            read_attributes(folder, len(codes["train"])),
            run,
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
            warnings.warn(note, stacklevel=4)  # points at the caller of `Atlas.wrap`
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
            warnings.warn(note, stacklevel=4)
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


def read_codes(path: Path, classes: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of codes.safetensors.

    Raises:
        UserError: there is no such file, or it is damaged; labels belong to this many classes.
    """
    tensors, _ = read_tensors(path, device=device)
    check_layout(path, tensors, CODES)
    for name in ("train.labels", "held_out.labels"):
        labels = tensors.get(name)
        known = labels is None or not classes or not len(labels) or int(labels.max()) < classes
        require(known, f"{path} has {name} of more classes than manifest.json names; restore both")
    return tensors


def read_attributes(run: Run, count: int | None = None) -> dict[str, Known] | None:
    """Known attributes of the training images; None for a run that was made before they were kept.

    Raises:
        UserError: their file is missing or damaged, or is not of so many images.
    """
    manifest = run.read_json("manifest.json") or {}
    if "attributes" not in manifest:
        return None if "image_size" in manifest else {}
    known, path = manifest["attributes"], run.file("attributes.safetensors")
    tensors = read_tensors(path, prefix="train.")[0] if known else {}
    n = manifest["n_train"] if count is None else count
    layouts = {f"train.{name}": Layout((n,), integer=bool(words)) for name, words in known.items()}
    check_layout(path, tensors, layouts)
    return {name: (tensors[f"train.{name}"], tuple(words)) for name, words in known.items()}


def read_model(run: Run, device: torch.device) -> Autoencoder:
    """E and G of a run.

    Raises:
        UserError: its weights are missing, damaged, or do not fit the configuration.
    """
    config, path = run.config(), run.file("model.safetensors")
    model = VAEGAN(config.model, config.map)
    with reading(path):
        model.load_state_dict(read_tensors(path)[0])
    _place(model, device)
    shape = _image_shape(config.model)
    return Autoencoder(model.encoder, model.decode, shape, (model.dimension,), device=device)


def read_decoder(run: Run, device: torch.device) -> Autoencoder:
    """The decoder that was learned for the codes of a run.

    Raises:
        UserError: its weights are damaged, or do not fit its configuration.
    """
    config, path = run.decoder.config().model, run.decoder.file("model.safetensors")
    with reading(path):
        tensors = read_tensors(path)[0]
        decoder = CodeDecoder(config, len(tensors["mean"]))
        decoder.load_state_dict(tensors)
    _place(decoder, device)
    shape = _image_shape(config)
    return Autoencoder(None, decoder, shape, tuple(decoder.mean.shape), device=device)


def _place(model: nn.Module, device: torch.device) -> None:
    """Put a model where it computes, in the memory format of training: the fastest one."""
    model.to(device).requires_grad_(False)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _image_shape(config: ModelConfig) -> tuple[int, ...]:
    return (config.channels, config.image_size, config.image_size)
