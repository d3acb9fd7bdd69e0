"""The work of each kind of cell: it returns named numbers, and writes the runs that others need."""

import time
from pathlib import Path
from typing import Any

import torch

from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.device import device_name
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.reconstruction import reconstruction_numbers
from latent_atlas.geometry.prior_coverage import active_units, kl_per_image
from latent_atlas.study.decay_profile import realness_decay
from latent_atlas.study.design import Cell
from latent_atlas.study.fixtures import load_shared_data
from latent_atlas.study.latent_vs_image import compare_energies, compare_sizes
from latent_atlas.study.metrics import calibration_metrics, log_density_metrics, map_metrics
from latent_atlas.study.results import StudyResults
from latent_atlas.study.trained_run import PROBE, Log, TrainedRun, load_trained_run
from latent_atlas.training.loop import train

__all__ = ["run_cell"]

PROBED = ("prior", "samples")
"""Boundary and z_real of the fresh probe, the same for all training modes."""


def run_cell(folder: Path, cell: Cell, device: str, log: Log | None = None) -> dict[str, Any]:
    """Run one cell and return its numbers, with the `seconds` that it took and the `device`.

    Raises:
        UserError: the cell cannot be run; the message says why.
    """
    began = time.perf_counter()
    listen = log or (lambda entry: None)
    if cell.kind == "run":
        _train(folder, cell, device, listen)
    trained = load_trained_run(folder, cell.run, device)
    work = {"run": _run, "map": _map, "sizes": compare_sizes, "pullback": compare_energies}[
        cell.kind
    ]
    numbers = work(folder, cell, trained, listen)
    return numbers | {"seconds": time.perf_counter() - began, "device": device_name(trained.device)}


def _train(folder: Path, cell: Cell, device: str, log: Log) -> None:
    """Train the run of a cell, or resume it."""
    study, shared = StudyResults(folder), load_shared_data(folder)
    run, config = study.run(cell), study.design().run_config(cell, device)
    if run.file("map.safetensors").is_file():
        return
    with run.hold():
        resume = run.file("config.json").is_file()
        if not resume:
            run.begin(config)
        train(shared.images, config, run, log=log, resume=resume)


def _run(folder: Path, cell: Cell, trained: TrainedRun, log: Log) -> dict[str, Any]:
    """Numbers of the trained networks, of the run's own D_z, and of the fresh probe."""
    atlas, shared, n = trained.atlas, trained.shared, trained.design.effort.draws
    generator = trained.generator("draws")
    held_out = atlas.codes["held_out"]
    images = shared.images.test
    rebuilt = reconstruction_numbers(images.as_float(), trained.decode(held_out.means))
    prior = torch.randn(n, trained.real.shape[1], generator=generator, device=trained.device)
    real = atlas.codes["train"].sample(n, generator=generator)
    probe = trained.fit(trained.learn, *PROBED, "probe", log=log)
    probe.save(StudyResults(folder).run(cell).file(PROBE))
    fake = prior[: len(trained.real)]
    assert held_out.log_variances is not None
    return {
        **{name: rebuilt[name] for name in ("mse", "psnr")},
        "kl_per_image": kl_per_image(held_out.means, held_out.log_variances),
        "active_units": active_units(held_out.means),
        "frechet_prior": frechet_distance(trained.features(prior), shared.reference),
        "frechet_codes": frechet_distance(trained.features(real), shared.reference),
        "own": _own(atlas.map, trained),
        "probe": log_density_metrics(probe, trained, probe.calibration.log_normalising_constant)
        | calibration_metrics(probe, trained.real, fake),
        "features": shared.features_note,
    }


def _own(own: LatentMap, trained: TrainedRun) -> dict[str, Any]:
    """Numbers of the run's own D_z, which the joint modes train beside the encoder."""
    fake = own.sample_boundary(len(trained.real), generator=trained.generator("fakes"))
    log_constant = own.calibration.log_normalising_constant
    return (
        log_density_metrics(own, trained, log_constant)
        | calibration_metrics(own, trained.real, fake)
        | {"log_normaliser": log_constant}
    )


def _map(folder: Path, cell: Cell, trained: TrainedRun, log: Log) -> dict[str, Any]:
    """Numbers of a D_z trained against one boundary on one kind of real codes."""
    probe = LatentMap.load(StudyResults(folder).run(cell).file(PROBE), device=trained.device)
    began = time.perf_counter()
    latent_map = trained.fit(trained.learn, cell.boundary, cell.z_real, "map", log=log)
    took = time.perf_counter() - began
    calibration = latent_map.calibration
    about = {
        "levels": calibration.levels,
        "log_normaliser": calibration.log_normalising_constant,
        "log_normaliser_error": calibration.log_normalising_constant_error,
        "fit_seconds": took,
        "notes": list(latent_map.warnings),
    }
    moving = realness_decay(
        latent_map, probe.normalised(), trained.real, generator=trained.generator("moves")
    )
    return (
        about
        | map_metrics(latent_map, trained, log_constant=calibration.log_normalising_constant)
        | {"decay": moving}
    )
