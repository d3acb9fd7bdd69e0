"""Z against X: membership judged by D_z, and by a discriminator of images from as many real ones."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.checkpoint import read_tensors
from latent_atlas.density import Membership
from latent_atlas.features.extractor import as_bytes
from latent_atlas.latentmap import LatentMap
from latent_atlas.mass import log_mean_exp
from latent_atlas.model import Model
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.shapes import ByteImages, Images
from latent_atlas.study.design import Cell
from latent_atlas.study.imagewise import Imagewise, fit_imagewise
from latent_atlas.study.ledger import Ledger
from latent_atlas.study.measures import cost, judged, outsiders, rank_of
from latent_atlas.study.pullback import PulledBack
from latent_atlas.study.statistics import auroc
from latent_atlas.study.subject import PROBE, Subject

__all__ = ["compare_sizes", "pulled_back"]

OUTSIDERS = 1_000
REBUILT = "outside, from reconstructions"
RAW = "outside, from images"


def compare_sizes(folder: Path, cell: Cell, subject: Subject, log: Any) -> dict[str, Any]:
    """D_z and D_x, each learned from the same `cell.size` real images against the same prior codes, decoded for D_x.

    Neither has seen any of what it is then asked to tell from held-out images.

    Returns:
        z, x: AUROC by test, `seconds` of learning, and `judge_ms`, milliseconds for 1,000 images (D_z needs E first).
    """
    del folder
    generator = subject.generator(9, cell.size)
    images = subject.material.images.train.images
    rows = torch.randperm(len(images), generator=generator, device=generator.device)[: cell.size]
    tests = _tests(subject, generator)
    config = subject.map_config("prior", "samples")
    began = time.perf_counter()
    chosen = subject.atlas.codes["train"][rows]
    d_z = LatentMap.fit(chosen.means, chosen.log_variances, config=config, generator=generator, warn=False, log=log)
    seconds = time.perf_counter() - began
    d_x = _imagewise(subject, images[rows.cpu()], generator, log)

    def by_codes(some: ByteImages) -> Any:
        return rank_of(d_z, subject.atlas.encode(some))

    def by_images(some: ByteImages) -> Any:
        return d_x.logit(some).double().numpy()

    found: dict[str, Any] = {}
    for space, judge, took in (("z", by_codes, seconds), ("x", by_images, d_x.seconds)):
        began = time.perf_counter()
        scores = {name: (judge(real), judge(odd)) for name, (real, odd) in tests.items()}
        judged_ = sum(len(real) + len(odd) for real, odd in tests.values())
        per_1000 = 1e6 * (time.perf_counter() - began) / judged_
        found[space] = {
            "auroc": {name: auroc(real, odd) for name, (real, odd) in scores.items()},
            "seconds": took,
            "judge_ms": per_1000,
        }
    return found


def pulled_back(folder: Path, cell: Cell, subject: Subject, log: Any) -> dict[str, Any]:
    """Maps of Z by a discriminator of images, with the measures of every map.

    Returns:
        fitted: D_x learned on the finished G against decoded prior codes, as the theory asks; trained: the D_x that the
        run was left with, which played against reconstructions. Each with its normaliser and cost, and D_z's beside.
    """
    generator = subject.generator(10)
    fitted = _imagewise(subject, subject.material.images.train.images, generator, log)
    maps = {"fitted": fitted.network, "trained": _trained(folder, cell, subject)}
    found: dict[str, Any] = {"fit_seconds": fitted.seconds}
    for name, network in maps.items():
        assert subject.atlas.model is not None
        pulled = PulledBack(subject.atlas.model.differentiable, network, subject.real.shape[1])
        normaliser, error = _normaliser(pulled, subject, generator)
        about = {"log_normaliser": normaliser, "log_normaliser_error": error}
        found[name] = about | cost(pulled, subject.real) | judged(pulled, subject, normaliser=normaliser)
    d_z = LatentMap.load(Ledger(folder).run(cell).file(PROBE), device=subject.device)
    return found | {"d_z": cost(d_z, subject.real)}


def _tests(subject: Subject, generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out images, and what they are to be told from, by test.

    Beside decoded codes stand held-out images as they are, which a discriminator of images may know by their sharpness
    alone, and their reconstructions, where nothing but membership is left to tell.
    """
    held_out = subject.material.images.test.images[:OUTSIDERS]
    outside = as_bytes(subject.decode(outsiders(subject, len(held_out), generator)))
    rebuilt = as_bytes(subject.decode(subject.means[:OUTSIDERS]))
    odd = {kind: (held_out, images) for kind, images in subject.material.odd.items()}
    return {REBUILT: (rebuilt, outside), RAW: (held_out, outside)} | odd


def _imagewise(subject: Subject, images: ByteImages, generator: torch.Generator, log: Any) -> Imagewise:
    """A D_x against decoded prior codes."""
    dimension = subject.real.shape[1]

    def fakes(n: int, source: torch.Generator) -> Images:
        return subject.atlas.decode(torch.randn(n, dimension, generator=source, device=source.device))

    steps = subject.design.effort.image_steps
    return fit_imagewise(images, fakes, subject.atlas.config, steps, generator=generator, log=log)


def _trained(folder: Path, cell: Cell, subject: Subject) -> ImageDiscriminator:
    """The D_x that a run was left with."""
    config = subject.atlas.config
    model = Model(config.model, config.map)
    model.load_state_dict(read_tensors(Ledger(folder).run(cell).file("model.safetensors"))[0])
    return model.image_discriminator.to(subject.device).eval().requires_grad_(False)


@torch.no_grad()
def _normaliser(pulled: Membership, subject: Subject, generator: torch.Generator) -> tuple[float, float]:
    """log E_p[exp l] in nats and its standard error, by draws of the prior."""
    z = pulled.propose(10 * len(subject.real), generator=generator)
    return log_mean_exp(pulled.logit(z))
