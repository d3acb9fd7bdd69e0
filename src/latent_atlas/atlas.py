"""Atlas: a model and its map, the object users hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor

from latent_atlas.checkpoint import Run, read_tensors
from latent_atlas.config import Config
from latent_atlas.engine import pick_device
from latent_atlas.errors import UserError
from latent_atlas.latentmap import LatentMap
from latent_atlas.model import Model
from latent_atlas.ratio import Codes
from latent_atlas.sampling import draw
from latent_atlas.shapes import Images, Latents
from latent_atlas.travel import Path, plan

__all__ = ["Atlas"]

BATCH = 512  # images or codes that pass through a network at a time


class Atlas:
    """A trained model with the map of its latent space.

    Attributes:
        model: E and G.
        map: The density of the population.
        codes: Real codes by part, "train" and "held_out".
        labels: Class numbers of the same images by part; empty where the collection has none.
        label_names: Names of the classes; may be empty.
        config: What the run was made of.
    """

    def __init__(
        self,
        model: Model,
        map: LatentMap,
        codes: dict[str, Codes],
        config: Config,
        *,
        labels: dict[str, Tensor] | None = None,
        label_names: tuple[str, ...] = (),
    ) -> None:
        """Hold a model and a map; `Atlas.load` reads them from a run."""
        self.model = model.eval().requires_grad_(False)
        self.map = map
        self.codes = codes
        self.labels = labels or {}
        self.label_names = label_names
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the networks are; arguments are brought there."""
        return self.map.device

    @classmethod
    def load(cls, run: str | FilePath, *, device: str = "auto") -> "Atlas":
        """Load a finished run folder.

        Raises:
            UserError: the folder holds no run, or one that has not finished.
        """
        folder = Run(FilePath(run))
        config = folder.config()
        where = pick_device(device)
        # Weights made in inference mode could never be differentiated through, whoever loads them.
        with torch.inference_mode(False):
            model = Model(config.model, config.map)
            model.load_state_dict(read_tensors(folder.file("model.safetensors"))[0])
            tensors, _ = read_tensors(folder.file("codes.safetensors"), device=where)
            latent_map = LatentMap.load(folder.file("map.safetensors"), device=where)
        parts = ("train", "held_out")
        codes = {part: Codes(tensors[f"{part}.means"], tensors[f"{part}.log_variances"]) for part in parts}
        labels = {part: tensors[f"{part}.labels"] for part in parts if f"{part}.labels" in tensors}
        names = (folder.read_json("manifest.json") or {}).get("label_names", ())
        return cls(model.to(where), latent_map, codes, config, labels=labels, label_names=tuple(names))

    def encode(self, images: Tensor) -> Latents:
        """Means of q(z|x), shape (n, d), for images (n, c, h, w) or (c, h, w) in [0, 1], or bytes in 0..255.

        Raises:
            UserError: the images have another shape than the model was trained on.
        """
        images = images[None] if images.ndim == 3 else images
        wanted = (self.config.model.channels, self.config.model.image_size, self.config.model.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            raise UserError(
                f"images must have shape (n, {', '.join(map(str, wanted))}); these have {tuple(images.shape)}"
            )
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return self._in_batches(self.model.encode, images)

    def decode(self, latents: Tensor) -> Images:
        """G(z), images (n, c, h, w) in [0, 1], for codes (n, d) or (d,).

        Raises:
            UserError: the codes have another dimension than the model's.
        """
        return self._in_batches(self.model.decode, self._as_codes(latents))

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

    def _as_codes(self, places: Tensor) -> Latents:
        """Codes of images or of codes, on the atlas's device."""
        if places.ndim >= 3:
            return self.encode(places)
        codes = places.reshape(-1, places.shape[-1]) if places.ndim else places.reshape(1, 1)
        if codes.shape[1] != self.map.dimension:
            raise UserError(f"codes must have {self.map.dimension} coordinates; these have {codes.shape[1]}")
        return codes.to(self.device, torch.float32)

    @torch.no_grad()
    def _in_batches(self, network: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        parts = [network(part.to(self.device, torch.float32)) for part in rows.split(BATCH)]
        return torch.cat(parts)
