"""What each kind of cell does: it leaves named numbers, and a run or a probe where others need one."""

import time
from pathlib import Path
from typing import Any

import torch

from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import device_name
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.reconstruction import reconstruction_numbers
from latent_atlas.geometry.prior_coverage import active_units, kl_per_image
from latent_atlas.study.decay_profile import profile
from latent_atlas.study.design import Cell
from latent_atlas.study.fixtures import material_of
from latent_atlas.study.latent_vs_image import compare_sizes, pulled_back
from latent_atlas.study.metrics import calibrated, judged, knowledge
from latent_atlas.study.results import StudyResults
from latent_atlas.study.trained_run import PROBE, Log, Subject, subject_of
from latent_atlas.training.loop import train

__all__ = ["work_on"]

PROBED = ("prior", "samples")
"""Boundary and z_real of the fresh probe, the same for all arms."""


def work_on(folder: Path, cell: Cell, device: str, log: Log | None = None) -> dict[str, Any]:
    """Do one cell of the study in `folder` and return what it measured, with the `seconds` it took and on what.

    Raises:
        UserError: it cannot be done; the sentence says why.
    """
    began = time.perf_counter()
    listen = log or (lambda entry: None)
    if cell.kind == "run":
        _train(folder, cell, device, listen)
    subject = subject_of(folder, cell.run, device)
    work = {"run": _run, "map": _map, "sizes": compare_sizes, "pullback": pulled_back}[cell.kind]
    numbers = work(folder, cell, subject, listen)
    return numbers | {"seconds": time.perf_counter() - began, "device": device_name(subject.device)}


def _train(folder: Path, cell: Cell, device: str, log: Log) -> None:
    """Train the run of a cell, or finish it."""
    ledger, material = StudyResults(folder), material_of(folder)
    run, config = ledger.run(cell), ledger.design().run_config(cell, device)
    if run.file("map.safetensors").is_file():
        return
    resume = run.file("config.json").is_file()
    if not resume:
        run.claim()
        run.begin(config)
    train(material.images, config, run, log=log, resume=resume)


def _run(folder: Path, cell: Cell, subject: Subject, log: Log) -> dict[str, Any]:
    """What is measured of a trained E, G, D_x: before any map, by its own D_z, and by the fresh probe."""
    atlas, material, n = subject.atlas, subject.material, subject.design.effort.draws
    generator = subject.generator("draws")
    held_out = atlas.codes["held_out"]
    images = material.images.test
    rebuilt = reconstruction_numbers(images.as_float(), subject.decode(held_out.means))
    prior = torch.randn(n, subject.real.shape[1], generator=generator, device=subject.device)
    real = atlas.codes["train"].sample(n, generator=generator)
    probe = subject.fit(subject.learn, *PROBED, "probe", log=log)
    probe.save(StudyResults(folder).run(cell).file(PROBE))
    fake = prior[: len(subject.real)]
    assert held_out.log_variances is not None
    return {
        **{name: rebuilt[name] for name in ("mse", "psnr")},
        "kl_per_image": kl_per_image(held_out.means, held_out.log_variances),
        "active_units": active_units(held_out.means),
        "frechet_prior": frechet_distance(subject.features(prior), material.reference),
        "frechet_codes": frechet_distance(subject.features(real), material.reference),
        "own": _own(atlas.map, subject),
        "probe": knowledge(probe, subject, probe.calibration.log_normalising_constant)
        | calibrated(probe, subject.real, fake),
        "judge": material.judge,
    }


def _own(own: LatentMap, subject: Subject) -> dict[str, Any]:
    """The D_z that the run was left with; in the joint arms it learned beside the encoder."""
    fake = own.sample_boundary(len(subject.real), generator=subject.generator("fakes"))
    normaliser = own.calibration.log_normalising_constant
    return (
        knowledge(own, subject, normaliser)
        | calibrated(own, subject.real, fake)
        | {"log_normaliser": normaliser}
    )


def _map(folder: Path, cell: Cell, subject: Subject, log: Log) -> dict[str, Any]:
    """What is measured of a D_z against one boundary, from samples or from means."""
    probe = LatentMap.load(StudyResults(folder).run(cell).file(PROBE), device=subject.device)
    began = time.perf_counter()
    latent_map = subject.fit(subject.learn, cell.boundary, cell.z_real, "map", log=log)
    took = time.perf_counter() - began
    calibration = latent_map.calibration
    about = {
        "levels": calibration.levels,
        "log_normaliser": calibration.log_normalising_constant,
        "log_normaliser_error": calibration.log_normalising_constant_error,
        "fit_seconds": took,
        "notes": list(latent_map.warnings),
    }
    moving = profile(
        latent_map, probe.normalised(), subject.real, generator=subject.generator("moves")
    )
    return (
        about
        | judged(latent_map, subject, normaliser=calibration.log_normalising_constant)
        | {"moving": moving}
    )
