"""A trained run as the cells use it: training codes, held-out codes, and an evaluation model."""

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
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.gaussian_mixture import fit_gaussian_mixture
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import pick_device
from latent_atlas.evaluation.paths import EvaluationModel
from latent_atlas.shapes import Images, Latents
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.fixtures import FeatureRows, SharedData, load_shared_data
from latent_atlas.study.results import StudyResults
from latent_atlas.training.batches import seeded_generator

__all__ = ["PROBE", "Log", "TrainedRun", "load_trained_run"]

PROBE = "probe.safetensors"  # the fresh probe D_z in a run folder, with equal settings in all modes
Log = Callable[[dict[str, Any]], None]
"""Called with every record of a training phase."""

DRAWN = 20_000  # codes that the evaluation model is fitted to
RECONSTRUCTED = 2_000  # decoded codes that the frames of paths are compared with


@dataclass(frozen=True)
class TrainedRun:
    """The data that maps of one run's codes are trained on and evaluated with.

    Attributes:
        design: The design of the study.
        shared: What all cells share.
        atlas: The run: its model and its own map.
        learn: Codes that maps are trained on.
        evaluator: Evaluation model of paths: a Gaussian mixture fitted to the other training codes,
            which no map is trained on.
        real: Held-out codes drawn from q(z|x), shape (n, d).
        means: Means of the held-out images, shape (m, d).
        outliers: Means of outlier images, by kind.
        reconstructions: Features of decoded real codes.
    """

    design: Design
    shared: SharedData
    atlas: Atlas
    learn: Codes
    evaluator: EvaluationModel
    real: Latents
    means: Float[Tensor, "m d"]
    outliers: dict[str, Tensor]
    reconstructions: FeatureRows

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.atlas.device

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for one purpose, the same in every cell, so that candidates share it."""
        return seeded_generator(
            self.atlas.config.train.seed, 7, zlib.crc32(purpose.encode()), device=self.device
        )

    def fit(self, codes: Codes, boundary: str, z_real: str, purpose: str, *, log: Log) -> LatentMap:
        """Train a D_z on some of the run's codes, with the settings of all D_z of the study."""
        config = replace(self.design.config.map, boundary=boundary, z_real=z_real)
        settings = {
            "config": config,
            "generator": self.generator(purpose),
            "warn": False,
            "log": log,
        }
        return LatentMap.fit(*codes.shaped(self.atlas.map.shape), **settings)

    def decode(self, latents: Latents) -> Images:
        """G(z), on the CPU."""
        return self.atlas.decode(latents).cpu()

    def features(self, latents: Latents) -> FeatureRows:
        """Features of decoded codes."""
        return self.shared.features(self.decode(latents))


@lru_cache(maxsize=2)
def load_trained_run(folder: Path, cell: Cell, device: str) -> TrainedRun:
    """Load the run of a cell.

    Raises:
        UserError: the run does not exist, or the images have changed.
    """
    study = StudyResults(folder)
    design, shared = study.design(), load_shared_data(folder)
    atlas = Atlas.load(study.run(cell).path, device=str(pick_device(device)))
    generator = seeded_generator(atlas.config.train.seed, 6, device=atlas.device)
    learn, checked = atlas.codes["train"].split(design.effort.evaluation_share, generator=generator)
    held_out = atlas.codes["held_out"]
    count = min(design.effort.codes, 4 * len(held_out))
    real = held_out.sample(count, generator=generator)
    mixture = fit_gaussian_mixture(checked.sample(DRAWN, generator=generator), generator=generator)
    outliers = {kind: atlas.encode(images) for kind, images in shared.outliers.items()}
    known = torch.cat(
        [held_out.sample_each(generator=generator), learn.sample_each(generator=generator)]
    )
    return TrainedRun(
        design=design,
        shared=shared,
        atlas=atlas,
        learn=learn,
        evaluator=EvaluationModel.on(mixture, real),
        real=real,
        means=held_out.means,
        outliers=outliers,
        reconstructions=shared.features(atlas.decode(known[:RECONSTRUCTED]).cpu()),
    )
