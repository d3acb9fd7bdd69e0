"""A trained run as the cells find it: codes to learn from, codes to be judged by, and a judge that planned nothing."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.boundary.gaussian_mixture import fit_gaussians
from latent_atlas.codes.posterior import Codes
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import pick_device
from latent_atlas.evaluation.paths import EvaluationModel
from latent_atlas.shapes import Images, Latents
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.fixtures import FeatureRows, Material, material_of
from latent_atlas.study.results import StudyResults
from latent_atlas.training.loop import seeded

__all__ = ["PROBE", "Log", "Subject", "subject_of"]

PROBE = "probe.safetensors"  # in a run's folder: the fresh D_z, the same for all arms
Log = Callable[[dict[str, Any]], None]
"""Told of every record of whatever learns."""

DRAWN = 20_000  # codes that the judge is fitted to
RECONSTRUCTED = 2_000  # decoded codes that frames are compared with


@dataclass(frozen=True)
class Subject:
    """What maps of one run's codes are made of and measured by.

    Attributes:
        design: Of the study.
        material: What all cells share.
        atlas: The run: its model, and the map that it was left with.
        learn: Codes that maps learn from.
        judge: Of journeys: Gaussians fitted to the rest of the codes, which no map has seen.
        real: Held-out codes drawn from q(z|x), shape (n, d), which nothing has seen.
        means: Those of the held-out images, shape (m, d).
        odd: Codes of odd images by kind, as their means.
        reconstructions: Features of decoded real codes.
    """

    design: Design
    material: Material
    atlas: Atlas
    learn: Codes
    judge: EvaluationModel
    real: Latents
    means: Float[Tensor, "m d"]
    odd: dict[str, Tensor]
    reconstructions: FeatureRows

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.atlas.device

    def generator(self, purpose: str) -> torch.Generator:
        """Randomness for one purpose: the same for every cell of the run, so that rivals meet the same luck."""
        return seeded(
            self.atlas.config.train.seed, 7, zlib.crc32(purpose.encode()), device=self.device
        )

    def fit(self, codes: Codes, boundary: str, z_real: str, purpose: str, *, log: Log) -> LatentMap:
        """A D_z of some of the run's codes, with the settings that all D_z of the study share."""
        config = replace(self.design.config.map, boundary=boundary, z_real=z_real)
        settings = {
            "config": config,
            "generator": self.generator(purpose),
            "warn": False,
            "log": log,
        }
        return LatentMap.fit(codes.means, codes.log_variances, **settings)

    def decode(self, latents: Latents) -> Images:
        """G(z), on the CPU."""
        return self.atlas.decode(latents).cpu()

    def features(self, latents: Latents) -> FeatureRows:
        """Of decoded codes."""
        return self.material.features(self.decode(latents))


@lru_cache(maxsize=2)
def subject_of(folder: Path, cell: Cell, device: str) -> Subject:
    """The subject of a run that is there.

    Raises:
        UserError: it is not, or the images have changed.
    """
    ledger = StudyResults(folder)
    design, material = ledger.design(), material_of(folder)
    atlas = Atlas.load(ledger.run(cell).path, device=str(pick_device(device)))
    generator = seeded(atlas.config.train.seed, 6, device=atlas.device)
    learn, judging = atlas.codes["train"].split(design.effort.judge_share, generator=generator)
    held_out = atlas.codes["held_out"]
    count = min(design.effort.codes, 4 * len(held_out))
    real = held_out.sample(count, generator=generator)
    mixture = fit_gaussians(judging.sample(DRAWN, generator=generator), generator=generator)
    odd = {kind: atlas.encode(images) for kind, images in material.odd.items()}
    known = torch.cat(
        [held_out.sample_each(generator=generator), learn.sample_each(generator=generator)]
    )
    return Subject(
        design=design,
        material=material,
        atlas=atlas,
        learn=learn,
        judge=EvaluationModel.on(mixture, real),
        real=real,
        means=held_out.means,
        odd=odd,
        reconstructions=material.features(atlas.decode(known[:RECONSTRUCTED]).cpu()),
    )
