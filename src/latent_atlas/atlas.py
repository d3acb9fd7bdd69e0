"""Atlas: a model and its map, the object users hold."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor

from latent_atlas.adapter import Autoencoder, Function, adapt
from latent_atlas.checkpoint import Run, read_tensors
from latent_atlas.codes import Codes
from latent_atlas.collection import collect
from latent_atlas.config import Config, MapConfig
from latent_atlas.engine import pick_device
from latent_atlas.errors import UserError
from latent_atlas.latentmap import LatentMap
from latent_atlas.model import Model
from latent_atlas.sampling import draw
from latent_atlas.shapes import Images, Latents
from latent_atlas.travel import Path, plan

__all__ = ["Atlas"]

HELD_OUT = 0.1  # share of a wrapped autoencoder's codes that its map is judged by


class Atlas:
    """A model with the map of its latent space.

    Attributes:
        model: E and G; None where a run was made of codes alone.
        map: The density of the population.
        codes: Real codes by part, "train" and "held_out".
        labels: Class numbers of the same images by part; empty where the collection has none.
        label_names: Names of the classes; may be empty.
        config: What the run was made of; of a wrapped autoencoder only the map section says anything.
    """

    def __init__(
        self,
        model: Autoencoder | None,
        map: LatentMap,
        codes: dict[str, Codes],
        config: Config,
        *,
        labels: dict[str, Tensor] | None = None,
        label_names: tuple[str, ...] = (),
    ) -> None:
        """Hold a model and a map; `Atlas.load` reads them from a run, `Atlas.wrap` takes anyone's model."""
        self.model = model
        self.map = map
        self.codes = codes
        self.labels = labels or {}
        self.label_names = label_names
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where codes are; arguments are brought there."""
        return self.map.device

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(c, h, w) of an image.

        Raises:
            UserError: there is no model.
        """
        return self._networks().image_shape

    @classmethod
    def load(cls, run: str | FilePath, *, device: str = "auto") -> "Atlas":
        """Load a finished run folder; one that was made of codes alone has no model.

        Raises:
            UserError: the folder holds no run, or one that has not finished.
        """
        folder = Run(FilePath(run))
        config = folder.config()
        where = pick_device(device)
        # Weights made in inference mode could never be differentiated through, whoever loads them.
        with torch.inference_mode(False):
            model = _read_model(folder, where) if folder.file("model.safetensors").is_file() else None
            tensors, _ = read_tensors(folder.file("codes.safetensors"), device=where)
            latent_map = LatentMap.load(folder.file("map.safetensors"), device=where)
        parts = ("train", "held_out")
        codes = {part: Codes(tensors[f"{part}.means"], tensors.get(f"{part}.log_variances")) for part in parts}
        labels = {part: tensors[f"{part}.labels"] for part in parts if f"{part}.labels" in tensors}
        names = (folder.read_json("manifest.json") or {}).get("label_names", ())
        return cls(model, latent_map, codes, config, labels=labels, label_names=tuple(names))

    @classmethod
    def wrap(
        cls,
        autoencoder: object | None = None,
        *,
        images: Tensor,
        encode: Function | None = None,
        decode: Function | None = None,
        pixel_range: tuple[float, float] = (0.0, 1.0),
        batch: int = 32,
        labels: Tensor | None = None,
        label_names: tuple[str, ...] = (),
        generator: torch.Generator,
        log: Callable[[dict[str, float]], None] | None = None,
        **settings: Any,
    ) -> "Atlas":
        """Put anyone's autoencoder on the map that its codes of some images give.

        Arguments:
            autoencoder: An object with `encode` and `decode`, such as diffusers.AutoencoderKL; or None, and both given
                as functions or modules. Modules stay on their device, and are put into evaluation mode.
            images: Shape (n, c, h, w), in [0, 1], or bytes in 0..255; n of 30 or more.
            encode, decode, pixel_range, batch: As for `adapter.Autoencoder`; (-1, 1) is the pixel range of diffusers.
            labels: Class number of each image, an index into `label_names`, shape (n,).
            generator: Source of all randomness; its device is where the map lives.
            log: Called with a record of the losses now and then.
            **settings: Of the map, by their names in `MapConfig`, such as boundary="gaussian" or steps=2000.

        Raises:
            UserError: these are no images, no autoencoder, or no codes that a map can be learned from.

        Warns:
            UserWarning: for each thing that was repaired in the codes, or should be known of them.
        """
        config = MapConfig(**settings)
        model = adapt(
            autoencoder,
            images,
            encode=encode,
            decode=decode,
            pixel_range=pixel_range,
            batch=batch,
            device=generator.device,
        )
        collection = collect(*model.posterior(images), labels, label_names)
        for note in collection.notes:
            warnings.warn(note, stacklevel=2)
        train, held_out = collection.split(HELD_OUT, generator=generator)
        latent_map = LatentMap.fit(
            *train.arrays(), config=config, held_out=held_out.codes, generator=generator, log=log
        )
        parts = {"train": train, "held_out": held_out}
        return cls(
            model,
            latent_map,
            {part: some.codes.to(latent_map.device) for part, some in parts.items()},
            Config(map=config),
            labels={p: some.labels.to(latent_map.device) for p, some in parts.items() if some.labels is not None},
            label_names=label_names,
        )

    def encode(self, images: Tensor) -> Latents:
        """Means of q(z|x), shape (n, d), for images (n, c, h, w) or (c, h, w) in [0, 1], or bytes in 0..255.

        Raises:
            UserError: the images have another shape than the model's, or there is no model.
        """
        return self._networks().encode(images).to(self.device)

    def decode(self, latents: Tensor) -> Images:
        """G(z), images (n, c, h, w) in [0, 1], for codes (n, d) or (d,), or of the map's spatial shape.

        Raises:
            UserError: the codes have another dimension than the model's, or there is no model.
        """
        return self._networks().decode(self._rows(latents)).to(self.device)

    def travel(self, start: Tensor, end: Tensor, planner: str = "walk", *, frames: int = 17, **options: Any) -> Path:
        """Journey between images or codes, single or batched, with its frames decoded.

        Arguments:
            start, end: Images (n, c, h, w) or (c, h, w) in [0, 1], or codes (n, d) or (d,).
            planner, frames, **options: As for `travel.plan`.
        """
        path = plan(self.map, self._as_codes(start), self._as_codes(end), planner, frames=frames, **options)
        images = self.decode(path.points.flatten(0, 1))
        return replace(path, images=images.unflatten(0, path.points.shape[:2]))

    def sample(self, n: int, sampler: str = "importance", *, generator: torch.Generator | None = None) -> Images:
        """Draw `n` new images from where the population is, shape (n, c, h, w); see `sampling.draw`."""
        if generator is None:
            generator = torch.Generator(self.device)
            generator.seed()
        if generator.device.type != self.device.type:
            raise UserError(f"the generator is on {generator.device}, the atlas on {self.device}; make one there")
        return self.decode(draw(self.map, n, sampler, generator=generator).points)

    def _networks(self) -> Autoencoder:
        """The model.

        Raises:
            UserError: there is none.
        """
        if self.model is None:
            raise UserError(
                "this run has codes but no decoder and no encoder, so it knows no images; `latent-atlas map` draws it, "
                "and travel and sample write codes with --out FILE.npy"
            )
        return self.model

    def _as_codes(self, places: Tensor) -> Latents:
        """Codes of images or of codes, on the atlas's device; where both have the same shape, of images."""
        shape = tuple(places.shape[-3:])
        is_image = self.model is not None and shape == self.model.image_shape
        return self.encode(places) if len(shape) == 3 and (is_image or shape != self.map.shape) else self._rows(places)

    def _rows(self, latents: Tensor) -> Latents:
        """Codes as rows (n, d) on the atlas's device.

        Raises:
            UserError: they have another shape than the map's.
        """
        if tuple(latents.shape[-3:]) == self.map.shape:
            latents = latents.flatten(-len(self.map.shape))
        rows = torch.atleast_2d(latents)
        if rows.ndim != 2 or rows.shape[1] != self.map.dimension:
            have = rows.shape[1] if rows.ndim == 2 else f"shape {tuple(rows.shape)}"
            raise UserError(f"codes must have {self.map.dimension} coordinates; these have {have}")
        return rows.to(self.device, torch.float32)


def _read_model(run: Run, device: torch.device) -> Autoencoder:
    """E and G of a run."""
    config = run.config()
    model = Model(config.model, config.map)
    model.load_state_dict(read_tensors(run.file("model.safetensors"))[0])
    model.to(device).requires_grad_(False)
    image_shape = (config.model.channels, config.model.image_size, config.model.image_size)
    return Autoencoder(model.encode, model.decode, image_shape, (model.dimension,), device=device)
