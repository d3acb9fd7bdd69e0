"""D_z compared with an image discriminator D_x: as outlier detectors, and as energies on Z."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.density.base import DensityRatioModel
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.density_ratio.normalising_constant import log_mean_exp
from latent_atlas.evaluation.features.base import as_bytes
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import read_tensors
from latent_atlas.shapes import ByteImages, Images, Pixels
from latent_atlas.study.design import Cell
from latent_atlas.study.discriminator_energy import DiscriminatorEnergy
from latent_atlas.study.image_discriminator import FittedDiscriminator, fit_image_discriminator
from latent_atlas.study.metrics import map_metrics, off_manifold_codes, query_times, ranking_value
from latent_atlas.study.results import StudyResults
from latent_atlas.study.statistics import auroc
from latent_atlas.study.trained_run import PROBE, Log, TrainedRun

__all__ = ["compare_energies", "compare_sizes"]

OFF_MANIFOLD = 1_000
REBUILT = "off-manifold draws against reconstructions"
RAW = "off-manifold draws against images"


def compare_sizes(folder: Path, cell: Cell, trained: TrainedRun, log: Log) -> dict[str, Any]:
    """Train D_z and D_x on the same `cell.size` real images against prior codes, decoded for D_x.

    Neither was trained on any of the outliers that they are then tested on.

    Returns:
        z, x: AUROC by test; `seconds` of training, for D_z with its calibration; `query_ms`,
        milliseconds per 1,000 images, for D_z with their encoding.
    """
    del folder
    images, codes = trained.shared.images.train.images, trained.atlas.codes["train"]
    order = torch.randperm(
        len(images), generator=trained.generator("images"), device=trained.device
    )
    rows, tests = order[: cell.size], _tests(trained)
    began = time.perf_counter()
    d_z = trained.fit(codes[rows], "prior", "samples", "labelled codes", log=log)
    seconds = time.perf_counter() - began
    d_x = _fit_image_discriminator(trained, images[rows.cpu()], log)
    in_z = _aurocs(lambda some: ranking_value(d_z, trained.atlas.encode(some)), tests)
    in_x = _aurocs(lambda some: d_x.logit(some).double().numpy(), tests)
    return {"z": in_z | {"seconds": seconds}, "x": in_x | {"seconds": d_x.seconds}}


def _aurocs(
    rank: Callable[[ByteImages], np.ndarray], tests: dict[str, tuple[Tensor, Tensor]]
) -> dict[str, Any]:
    """AUROC by test, and milliseconds per 1,000 images."""
    began = time.perf_counter()
    scores = {name: (rank(real), rank(other)) for name, (real, other) in tests.items()}
    seconds = time.perf_counter() - began
    count = sum(len(real) + len(other) for real, other in tests.values())
    aurocs = {name: auroc(real, other) for name, (real, other) in scores.items()}
    return {"auroc": aurocs, "query_ms": 1e6 * seconds / count}


def compare_energies(folder: Path, cell: Cell, trained: TrainedRun, log: Log) -> dict[str, Any]:
    """All metrics of a map for D_x as an energy on Z, and for D_z.

    Returns:
        fitted: D_x trained on the finished G against decoded prior codes, as the theory requires;
        trained: the D_x of the run, which was trained against reconstructions too; d_z: the fresh
        probe. Each with its normalising constant and its query times.
    """
    fitted = _fit_image_discriminator(trained, trained.shared.images.train.images, log)
    probe = LatentMap.load(StudyResults(folder).run(cell).file(PROBE), device=trained.device)
    own = {"log_normaliser": probe.calibration.log_normalising_constant}
    trained = replace(
        trained, design=replace(trained.design, effort=trained.design.effort.energy())
    )
    found: dict[str, Any] = {
        "fit_seconds": fitted.seconds,
        "d_z": own | _measured(probe, trained, *own.values()),
    }
    for name, network in (("fitted", fitted.network), ("trained", _trained(folder, cell, trained))):
        assert trained.atlas.model is not None
        energy = DiscriminatorEnergy(
            trained.atlas.model.differentiable, network, trained.real.shape[1]
        )
        log_constant, error = _log_constant(energy, trained)
        about = {"log_normaliser": log_constant, "log_normaliser_error": error}
        found[name] = about | _measured(energy, trained, log_constant)
    return found


def _measured(ratio: DensityRatioModel, trained: TrainedRun, log_constant: float) -> dict[str, Any]:
    """The metrics of a map, and the time that its queries take."""
    return query_times(ratio, trained.real) | map_metrics(ratio, trained, log_constant=log_constant)


def _tests(trained: TrainedRun) -> dict[str, tuple[Tensor, Tensor]]:
    """Inliers and outliers by test.

    Off-manifold draws are decoded, so an image discriminator can tell them from held-out images by
    sharpness alone; beside reconstructions of these images it cannot.
    """
    held_out = trained.shared.images.test.images[:OFF_MANIFOLD]
    outside = as_bytes(trained.decode(off_manifold_codes(trained, len(held_out))))
    rebuilt = as_bytes(trained.decode(trained.means[:OFF_MANIFOLD]))
    outliers = {kind: (held_out, images) for kind, images in trained.shared.outliers.items()}
    return {REBUILT: (rebuilt, outside), RAW: (held_out, outside)} | outliers


def _fit_image_discriminator(trained: TrainedRun, images: Pixels, log: Log) -> FittedDiscriminator:
    """Train a D_x against decoded prior codes."""
    dimension = trained.real.shape[1]

    def fakes(n: int, source: torch.Generator) -> Images:
        return trained.atlas.decode(
            torch.randn(n, dimension, generator=source, device=source.device)
        )

    steps, generator = trained.design.effort.image_steps, trained.generator("labelled images")
    return fit_image_discriminator(
        images, fakes, trained.atlas.config, steps, generator=generator, log=log
    )


def _trained(folder: Path, cell: Cell, trained: TrainedRun) -> ImageDiscriminator:
    """The D_x that was trained with the run's networks."""
    config = trained.atlas.config
    model = VAEGAN(config.model, config.map)
    model.load_state_dict(read_tensors(StudyResults(folder).run(cell).file("model.safetensors"))[0])
    return model.image_discriminator.to(trained.device).eval().requires_grad_(False)


@torch.no_grad()
def _log_constant(energy: DensityRatioModel, trained: TrainedRun) -> tuple[float, float]:
    """log E_p[exp l] in nats and its standard error, from draws of the prior."""
    z = energy.sample_boundary(10 * len(trained.real), generator=trained.generator("normaliser"))
    return log_mean_exp(energy.logit(z))
