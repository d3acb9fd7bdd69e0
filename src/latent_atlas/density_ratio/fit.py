"""From codes to a D_z that has learned against its boundary and been measured."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch

from latent_atlas.boundary.base import AffineBoundary, Boundary
from latent_atlas.boundary.gaussian_mixture import Gaussians, fit_gaussians
from latent_atlas.boundary.registry import fit_boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density_ratio.calibration import UNMEASURED, Calibration, calibrate, measure
from latent_atlas.density_ratio.noise_schedule import choose_levels, measured_kl, whitened
from latent_atlas.density_ratio.normalising_constant import log_mean_ratio, meetings
from latent_atlas.density_ratio.train import Fit, batched_logits, fit_ratio
from latent_atlas.errors import UserError
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator
from latent_atlas.shapes import Latents

__all__ = ["Survey", "glance", "measured", "survey"]

FAR, FAR_WEIGHT = (
    20.0,
    10.0,
)  # nats of KL(q || r) from which the gradient's loss has ten times the weight
MANY = 16  # dimensions; in fewer that loss, a sum over them, has more weight, or a thin ridge would be learned last
DRAWS = 20_000  # from the population, for its outline
KEPT = 5_000  # held-out codes that tell what is typical
GLANCED = 1_000  # the same of a map that is still learned


class Survey(NamedTuple):
    """What a map is made of.

    Attributes:
        network: D_z, one member or several.
        boundary: r.
        held_out: Real codes it has not learned from, shape (n, d), at most 5,000.
        calibration: What held-out codes said of the logit.
    """

    network: Ensemble
    boundary: Boundary
    held_out: Latents
    calibration: Calibration


def survey(
    train: Codes,
    test: Codes,
    config: MapConfig,
    *,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
    watch: Callable[[Survey], None] | None = None,
) -> Survey:
    """Fit the boundary, measure how far it is, choose the levels, teach D_z, set its constant, and calibrate it.

    Arguments:
        train: Codes to learn from, on the generator's device.
        test: Codes to stop by and to be judged by.
        config: Network, boundary and optimisation.
        generator: Source of all randomness.
        log: Called with a record of the losses now and then.
        watch: Called before it with what has been learned by then, of a glance.

    Raises:
        UserError: levels were asked for that the boundary does not have, or D_z diverged.
    """
    if config.z_real == "means":
        train, test = train.points(), test.points()
    boundary = fit_boundary(
        config, train.sample(max(len(train), 10_000), generator=generator), generator=generator
    )
    distance = measured_kl(train, boundary, generator=generator)
    levels, score_weight = _plan(config, boundary, distance)
    population = _outline(train, boundary, generator)
    members: list[LatentDiscriminator] = []
    fits: list[Fit] = []

    def look(average: LatentDiscriminator) -> None:
        if watch is not None:
            watch(glance(Ensemble([*members, average]), test, boundary, levels=levels))

    for _ in range(config.members):
        # A seed of its own: the generator's would repeat the random numbers of the split.
        with initial_weights(
            int(torch.randint(2**62, (), generator=generator, device=generator.device))
        ):
            network = LatentDiscriminator(
                boundary.dimension, width=config.width, depth=config.depth
            )
        network.to(generator.device)
        settings = {
            "levels": levels,
            "score_weight": score_weight,
            "generator": generator,
            "log": log,
            "watch": look,
        }
        fits.append(fit_ratio(network, train, test, boundary, config, **settings))
        members.append(network)
    ensemble = Ensemble(members)
    nats, error = log_mean_ratio(
        ensemble, boundary, population, meetings(test), generator=generator
    )
    if (
        error < UNMEASURED
    ):  # the constant is what gradients cannot teach: set it so that E_r[exp l] is 1
        for network in members:
            network.lower(nats)
    about = {"levels": levels, "fit": fits[0], "distance": distance}
    return measured(ensemble, test, boundary, population=population, **about, generator=generator)


def measured(
    network: Ensemble,
    test: Codes,
    boundary: Boundary,
    *,
    population: Gaussians | None = None,
    levels: int = 1,
    fit: Fit | None = None,
    distance: float | None = None,
    generator: torch.Generator,
) -> Survey:
    """Calibrate a D_z that has learned, with the arguments of `calibrate`; the population's outline may be left out."""
    population = population or _outline(test, boundary, generator)
    about = {"levels": levels, "fit": fit, "distance": distance}
    calibration, drawn = calibrate(
        network, test, boundary, population, **about, generator=generator
    )
    return Survey(network, boundary, drawn[:KEPT], calibration)


def glance(network: Ensemble, test: Codes, boundary: Boundary, *, levels: int = 1) -> Survey:
    """Measure a D_z that still learns, by a few draws: the same at each glance, and none that teaching would miss."""
    generator = torch.Generator(test.means.device).manual_seed(0)
    real, fake = (
        test.sample(GLANCED, generator=generator),
        boundary.sample(GLANCED, generator=generator),
    )
    logits = (batched_logits(network, whitened(boundary, some)) for some in (real, fake))
    return Survey(network, boundary, real, replace(measure(*logits), levels=levels))


def _outline(codes: Codes, boundary: Boundary, generator: torch.Generator) -> Gaussians:
    """Roughly the population, in whitened coordinates: where `log_mean_ratio` looks for it."""
    return fit_gaussians(
        whitened(boundary, codes.sample(DRAWS, generator=generator)), generator=generator
    )


def _plan(config: MapConfig, boundary: Boundary, distance: float) -> tuple[int, float]:
    """How many levels, and the weight of score matching, for a measured KL(q || r) of `distance` nats.

    Raises:
        UserError: levels were asked for that this boundary does not have.
    """
    if not isinstance(boundary, AffineBoundary):
        if config.levels not in (None, 1):
            raise UserError(
                f"boundary '{boundary.name}' has a single level, since noise would change it; choose levels=1, or one "
                "of the boundaries prior, gaussian-diagonal, gaussian"
            )
        return 1, 0.0
    levels = config.levels or choose_levels(distance)
    if levels == 1:
        return 1, 0.0
    if config.score_weight is not None:
        return levels, config.score_weight
    return levels, FAR_WEIGHT if distance > FAR else max(1.0, MANY / boundary.dimension)
