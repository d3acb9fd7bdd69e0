"""Z against X: membership judged by D_z, and by a discriminator of images from as many real ones."""

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
from latent_atlas.shapes import ByteImages, Images
from latent_atlas.study.design import Cell
from latent_atlas.study.discriminator_energy import PulledBack
from latent_atlas.study.image_discriminator import Imagewise, fit_imagewise
from latent_atlas.study.metrics import cost, judged, outsiders, rank_of
from latent_atlas.study.results import StudyResults
from latent_atlas.study.statistics import auroc
from latent_atlas.study.trained_run import PROBE, Log, Subject

__all__ = ["compare_sizes", "pulled_back"]

OUTSIDERS = 1_000
REBUILT = "outside, from reconstructions"
RAW = "outside, from images"


def compare_sizes(folder: Path, cell: Cell, subject: Subject, log: Log) -> dict[str, Any]:
    """D_z and D_x, each learned from the same `cell.size` real images against the same prior codes, decoded for D_x.

    Neither has seen any of what it is then asked to tell from held-out images.

    Returns:
        z, x: AUROC by test, `seconds` of learning (D_z is calibrated in them), and `judge_ms`, milliseconds for 1,000
        images (D_z needs E first).
    """
    del folder
    images, codes = subject.material.images.train.images, subject.atlas.codes["train"]
    order = torch.randperm(
        len(images), generator=subject.generator("images"), device=subject.device
    )
    rows, tests = order[: cell.size], _tests(subject)
    began = time.perf_counter()
    d_z = subject.fit(codes[rows], "prior", "samples", "labelled codes", log=log)
    seconds = time.perf_counter() - began
    d_x = _imagewise(subject, images[rows.cpu()], log)
    in_z = _told_apart(lambda some: rank_of(d_z, subject.atlas.encode(some)), tests)
    in_x = _told_apart(lambda some: d_x.logit(some).double().numpy(), tests)
    return {"z": in_z | {"seconds": seconds}, "x": in_x | {"seconds": d_x.seconds}}


def _told_apart(
    judge: Callable[[ByteImages], np.ndarray], tests: dict[str, tuple[Tensor, Tensor]]
) -> dict[str, Any]:
    """AUROC by test, and milliseconds to judge 1,000 images."""
    began = time.perf_counter()
    scores = {name: (judge(real), judge(other)) for name, (real, other) in tests.items()}
    seconds = time.perf_counter() - began
    count = sum(len(real) + len(other) for real, other in tests.values())
    told = {name: auroc(real, other) for name, (real, other) in scores.items()}
    return {"auroc": told, "judge_ms": 1e6 * seconds / count}


def pulled_back(folder: Path, cell: Cell, subject: Subject, log: Log) -> dict[str, Any]:
    """Maps of Z by a discriminator of images beside D_z, with the measures of every map.

    Returns:
        fitted: D_x learned on the finished G against decoded prior codes, as the theory asks; trained: the D_x that the
        run was left with, which played against reconstructions; d_z: the fresh probe. Each with normaliser and cost.
    """
    fitted = _imagewise(subject, subject.material.images.train.images, log)
    probe = LatentMap.load(StudyResults(folder).run(cell).file(PROBE), device=subject.device)
    own = {"log_normaliser": probe.calibration.log_normalising_constant}
    subject = replace(
        subject, design=replace(subject.design, effort=subject.design.effort.pulled())
    )
    found: dict[str, Any] = {
        "fit_seconds": fitted.seconds,
        "d_z": own | _measured(probe, subject, *own.values()),
    }
    for name, network in (("fitted", fitted.network), ("trained", _trained(folder, cell, subject))):
        assert subject.atlas.model is not None
        pulled = PulledBack(subject.atlas.model.differentiable, network, subject.real.shape[1])
        normaliser, error = _normaliser(pulled, subject)
        about = {"log_normaliser": normaliser, "log_normaliser_error": error}
        found[name] = about | _measured(pulled, subject, normaliser)
    return found


def _measured(ratio: DensityRatioModel, subject: Subject, normaliser: float) -> dict[str, Any]:
    """What is measured of every map, and what asking it costs."""
    return cost(ratio, subject.real) | judged(ratio, subject, normaliser=normaliser)


def _tests(subject: Subject) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out images, and what they are to be told from, by test.

    Beside decoded codes stand held-out images as they are, which a discriminator of images may know by their sharpness
    alone, and their reconstructions, where nothing but membership is left to tell.
    """
    held_out = subject.material.images.test.images[:OUTSIDERS]
    outside = as_bytes(subject.decode(outsiders(subject, len(held_out))))
    rebuilt = as_bytes(subject.decode(subject.means[:OUTSIDERS]))
    odd = {kind: (held_out, images) for kind, images in subject.material.odd.items()}
    return {REBUILT: (rebuilt, outside), RAW: (held_out, outside)} | odd


def _imagewise(subject: Subject, images: ByteImages, log: Log) -> Imagewise:
    """A D_x against decoded prior codes."""
    dimension = subject.real.shape[1]

    def fakes(n: int, source: torch.Generator) -> Images:
        return subject.atlas.decode(
            torch.randn(n, dimension, generator=source, device=source.device)
        )

    steps, generator = subject.design.effort.image_steps, subject.generator("labelled images")
    return fit_imagewise(images, fakes, subject.atlas.config, steps, generator=generator, log=log)


def _trained(folder: Path, cell: Cell, subject: Subject) -> ImageDiscriminator:
    """The D_x that a run was left with."""
    config = subject.atlas.config
    model = VAEGAN(config.model, config.map)
    model.load_state_dict(read_tensors(StudyResults(folder).run(cell).file("model.safetensors"))[0])
    return model.image_discriminator.to(subject.device).eval().requires_grad_(False)


@torch.no_grad()
def _normaliser(pulled: DensityRatioModel, subject: Subject) -> tuple[float, float]:
    """log E_p[exp l] in nats and its standard error, by draws of the prior."""
    z = pulled.sample_boundary(10 * len(subject.real), generator=subject.generator("normaliser"))
    return log_mean_exp(pulled.logit(z))
