"""From codes to a D_z that is trained against its boundary and calibrated."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, cast

import torch

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.gaussian import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.boundary.registry import fit_boundary
from latent_atlas.codes.posterior import WIDE, Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.gaussian_mixture import (
    GaussianMixture,
    fit_gaussian_mixture,
    fit_scale_mixture,
)
from latent_atlas.density_ratio.calibration import IMPRECISE, Calibration, calibrate, measure
from latent_atlas.density_ratio.kl_estimate import estimate_kl, kl_of_moments
from latent_atlas.density_ratio.leading import Leading, describe_leading, principal_axes
from latent_atlas.density_ratio.noise_schedule import choose_levels
from latent_atlas.density_ratio.normalising_constant import (
    PRECISE,
    LogConstant,
    log_mean_ratio,
    samples_for,
)
from latent_atlas.density_ratio.train import Training, train_discriminator
from latent_atlas.errors import UserError, counted
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator, batched_logits
from latent_atlas.nn.mixture_reference import MixtureReference
from latent_atlas.nn.spatial_discriminator import (
    Discriminator,
    GaussianField,
    SpatialDiscriminator,
    is_spatial,
)
from latent_atlas.nn.wide_discriminator import WideDiscriminator
from latent_atlas.progress import doing
from latent_atlas.shapes import Latents, batched

__all__ = ["FittedRatio", "calibrated_ratio", "fit_density_ratio", "preview"]

# Nats of KL(q || r) from which score matching has ten times the weight.
FAR, FAR_WEIGHT = 20.0, 10.0
# Dimensions; in fewer, score matching, a sum over them, has more weight, or a thin ridge would be
# learned last.
MANY = 16
ROUGH = 0.2  # nats of error of the constant that is enough where D_z was told a mixture
LEARNED = 32  # leading coordinates of wide codes in which D_z learns beyond a mixture
MOST_SAMPLES = 200_000  # real codes that a boundary is fitted to
OUTLINE_SAMPLES = 20_000  # real codes from which their outline is fitted
BETTER = 1.0  # nats by which a mixture must exceed D_z for D_z to begin there
BATCH = 4_096  # codes at a time
KEPT = 5_000  # held-out codes that typicality is measured by
# Where the prior is out of reach: nats of KL(q || r) by moments, from which errors of the levels
# exceed those of a fit to a Gaussian (root mean square errors of log q in four dimensions: 0.41
# nats at 19, 0.59 at 61, 1.2 at 263, against 0.37); variance of all coordinates below the finest
# noise; and the least variance as a share of the largest.
REACH, NARROW, LEAST_RATIO = 50.0, 1e-4, 1e-6
PREVIEW_SAMPLES = 1_000  # the same of a map that is still being trained


class FittedRatio(NamedTuple):
    """The parts of a map.

    Attributes:
        network: D_z, one discriminator or several.
        boundary: r.
        held_out: Real codes it was not trained on, shape (n, d), at most 5,000.
        calibration: How the logit compares with held-out codes.
        warnings: What should be known of the boundary and of the training, in sentences.
    """

    network: Ensemble
    boundary: Boundary
    held_out: Latents
    calibration: Calibration
    warnings: tuple[str, ...] = ()


def fit_density_ratio(
    train: Codes,
    test: Codes,
    config: MapConfig,
    *,
    shape: tuple[int, ...] = (),
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
    watch: Callable[[FittedRatio], None] | None = None,
) -> FittedRatio:
    """Fit the boundary, choose the levels, train D_z, set its constant, and calibrate it.

    D_z of maps is a `SpatialDiscriminator`, if r has levels in which they stay maps: the prior and
    `gaussian-diagonal`. That of other codes of over 64 coordinates which are compared with a
    Gaussian is a `WideDiscriminator`.

    Arguments:
        train: Codes to train on, on the generator's device.
        test: Held-out codes, for early stopping and calibration.
        config: Network, boundary and optimisation.
        shape: Of one code, such as (c, h, w).
        generator: Source of all randomness.
        log: Called with a record of the losses at each check.
        watch: Called before it with a `preview` of what has been learned by then.

    Raises:
        UserError: levels were asked for that the boundary does not have, or D_z diverged.
    """
    doing("fitting the boundary")
    if config.z_real == "means":
        train, test = train.points(), test.points()
    # With replacement, unless a covariance needs each of the codes that there are.
    each = train.log_variances is None and train.means.shape[1] > WIDE
    count = min(max(len(train), 10_000), MOST_SAMPLES)
    real = train.means[:count] if each else train.sample(count, generator=generator)
    spatial = is_spatial(shape) and config.levels != 1
    boundary = fit_boundary(config, real, generator=generator)
    if isinstance(boundary, PriorBoundary):
        boundary = _within_reach(boundary, real, config, generator, spatial=spatial)
    if isinstance(boundary, GaussianBoundary) and boundary.dimension > WIDE and config.levels != 1:
        return _of_wide_codes(train, test, boundary, config, generator, log, watch)
    field = None
    if spatial and boundary.affine and boundary.diagonal:
        field = GaussianField.fit(boundary.whiten(real), shape, len(train))
    return _of_codes(train, test, boundary, config, generator, log, watch, field=field)


def _of_codes(
    train: Codes,
    test: Codes,
    boundary: Boundary,
    config: MapConfig,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None,
    watch: Callable[[FittedRatio], None] | None,
    *,
    mixture: GaussianMixture | None = None,
    field: GaussianField | None = None,
) -> FittedRatio:
    """A D_z that learns in all coordinates; it begins at the mixture or the field, if given one.

    Otherwise it is trained again, from a mixture, where this alone would be the better map.
    """
    given = train, test, boundary, config, generator
    first, outline = _trained(*given, log, watch, mixture=mixture, field=field)
    if outline is None:
        return first
    known = _gain(outline, boundary.whiten(first.held_out))
    if _gain_of_map(first.calibration) > known - BETTER:
        return first
    doing("fitting the map again: a mixture of Gaussians describes held-out codes better")

    def log_again(entry: dict[str, float]) -> None:
        if log is not None:
            log({"steps": 2 * config.steps, **entry, "step": config.steps + entry["step"]})

    try:
        again, _ = _trained(*given, log_again, watch, mixture=outline)
    except UserError:  # it diverged
        return first
    if _gain_of_map(again.calibration) <= _gain_of_map(first.calibration):
        return first
    components = counted(len(outline.weights), "Gaussian")
    note = (
        f"D_z was trained twice: at first it described held-out codes less well than {components} "
        "fitted to the codes, where it began again"
    )
    return again._replace(warnings=(*again.warnings, note))


def _trained(
    train: Codes,
    test: Codes,
    boundary: Boundary,
    config: MapConfig,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None,
    watch: Callable[[FittedRatio], None] | None,
    *,
    mixture: GaussianMixture | None = None,
    field: GaussianField | None = None,
) -> tuple[FittedRatio, GaussianMixture | None]:
    """As `_of_codes`, trained once; and a mixture to compare it with, if its start was its own."""
    doing("choosing the noise levels")
    kl = estimate_kl(train, boundary, field, generator=generator)
    levels, score_weight = _levels(config, boundary, kl)
    given, outline, alternative = mixture is not None, mixture, None
    if outline is None:
        reference = config.reference if field is None and levels > 1 else "none"
        if reference is None and boundary.dimension > WIDE:
            reference = "gaussian"  # each step of so many coordinates takes long at a mixture
        mixture, alternative, outline = _starts(train, test, boundary, reference, generator)
    rough = outline if alternative is not None else None
    networks: list[Discriminator] = []
    trainings: list[Training] = []

    def look(average: Discriminator) -> None:
        if watch is not None:
            so_far = copy.deepcopy(Ensemble([*networks, average]))
            watch(preview(so_far, test, boundary, levels=levels))

    for _ in range(config.ensemble_size):
        network = _initial(boundary.dimension, field, config, generator)
        trainings.append(
            train_discriminator(
                network,
                train,
                test,
                boundary,
                config,
                levels=levels,
                score_weight=score_weight,
                mixture=mixture,
                alternative=alternative,
                generator=generator,
                log=log,
                watch=look,
            )
        )
        networks.append(network)
        if alternative is not None:  # all begin where the first one did
            mixture = None if network.mixture is None else alternative
            alternative = None
    ensemble = Ensemble(networks)
    doing("measuring the constant of the map")
    constant = log_mean_ratio(
        ensemble,
        boundary,
        mixture or outline,
        samples_for(test),
        precise=ROUGH if given else PRECISE,
        generator=generator,
    )
    if constant.error < IMPRECISE:
        # Gradients do not determine the constant: set it so that E_r[exp l] is 1.
        for network in networks:
            network.lower(constant.nats)
        constant = LogConstant(0.0, constant.error)
    doing("calibrating the map")
    calibration, drawn = calibrate(
        ensemble, test, boundary, constant, levels=levels, generator=generator
    )
    gap = trainings[0].held_out_loss - trainings[0].loss
    calibration = replace(calibration, kl_estimate=kl, generalisation_gap=gap)
    overfitted = (training.overfitted(config.check_every) for training in trainings)
    found = [boundary.warning, next(filter(None, overfitted), None)]
    notes = tuple(sentence for sentence in found if sentence)
    return FittedRatio(ensemble, boundary, drawn[:KEPT], calibration, notes), rough


def _starts(
    train: Codes,
    test: Codes,
    boundary: Boundary,
    reference: str | None,
    generator: torch.Generator,
) -> tuple[GaussianMixture | None, GaussianMixture | None, GaussianMixture]:
    """Of whitened codes: where D_z begins, where it may begin again, and a rough density."""
    real = boundary.whiten(train.sample(OUTLINE_SAMPLES, generator=generator))
    if reference == "scale-mixture":
        mixture = fit_scale_mixture(real)
        return mixture, None, mixture
    if reference == "mixture":
        others = boundary.whiten(test.sample(OUTLINE_SAMPLES, generator=generator))
        mixture = fit_gaussian_mixture(real, held_out=others, generator=generator)
        if len(mixture.weights) > 1:
            return mixture, None, mixture
    alternative = fit_scale_mixture(real) if reference is None else None
    return None, alternative, fit_gaussian_mixture(real, generator=generator)


def _gain(known: GaussianMixture, whitened: Latents) -> float:
    """Mean log-ratio of a density to N(0, I) at whitened codes (n, d), in nats."""
    log_r = StandardNormal(known.dimension).log_prob(whitened)
    return (batched(known.log_prob, whitened, BATCH) - log_r).mean().item()


def _gain_of_map(found: Calibration) -> float:
    """The same of a map, less what its constant may take from it."""
    lost = max(found.log_normalising_constant, 0.0) + found.log_normalising_constant_error
    return found.kl - lost if math.isfinite(found.kl - lost) else -math.inf


def _of_wide_codes(
    train: Codes,
    test: Codes,
    boundary: GaussianBoundary,
    config: MapConfig,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None,
    watch: Callable[[FittedRatio], None] | None,
) -> FittedRatio:
    """A D_z that is a mixture in leading coordinates, to which it adds what it can learn."""
    real, others = (part.sample_each(generator=generator)[:MOST_SAMPLES] for part in (train, test))
    axes = principal_axes(real, boundary)
    real, others = boundary.whiten(real), boundary.whiten(others)
    leading, mixture = describe_leading(real, others, axes, generator=generator)
    if config.reference in ("gaussian", "none"):
        mixture = _standard_normal(mixture)

    def look(so_far: FittedRatio) -> None:
        if watch is not None:
            levels = so_far.calibration.levels
            watch(
                preview(_widened(so_far.network, mixture, leading), test, boundary, levels=levels)
            )

    k = min(mixture.dimension, LEARNED)
    steps = min(config.steps, max(1, config.passes * len(real) // config.batch_size))
    judges = leading.coordinates(others)[:, :k]
    inner = _of_codes(
        Codes(leading.coordinates(real, fitted=True)[:, :k]),
        Codes(judges),
        PriorBoundary(k),
        replace(config, steps=steps),
        generator,
        log,
        watch and look,
        mixture=mixture.leading(k),
    )
    found, note = inner.calibration, f"D_z adds to it in the {k} leading ones"
    known = mixture.leading(k).log_prob(judges) - StandardNormal(k).log_prob(judges)
    gains = batched_logits(inner.network, judges) - known
    lost = max(found.log_normalising_constant, 0) + found.log_normalising_constant_error
    if gains.mean() <= lost:
        for member in inner.network.members:
            cast(LatentDiscriminator, member).forget()
        note = "D_z learned nothing more that held-out codes confirm"
        found = replace(found, log_normalising_constant=0.0, log_normalising_constant_error=0.0)
    network = _widened(inner.network, mixture, leading)
    doing("calibrating the map")
    # Where the boundary is N(0, I) already, the codes of each level need no whitening.
    calibration, _ = calibrate(
        network,
        Codes(others),
        PriorBoundary(boundary.dimension),
        LogConstant(found.log_normalising_constant, found.log_normalising_constant_error),
        levels=found.levels,
        generator=generator,
    )
    calibration = replace(calibration, generalisation_gap=found.generalisation_gap)
    note = (
        f"codes of {boundary.dimension} coordinates: a mixture of "
        f"{counted(len(mixture.weights), 'Gaussian')} describes the {mixture.dimension} leading "
        f"ones{', divided by the scale of the rest' * leading.shared_scale}, and one "
        f"distribution of its length the rest; {note}"
    )
    notes = tuple(filter(None, (boundary.warning, note, *inner.warnings)))
    held_out = test.sample(KEPT, generator=generator)
    return FittedRatio(network, boundary, held_out, calibration, notes)


def _widened(learned: Ensemble, mixture: GaussianMixture, leading: Leading) -> Ensemble:
    """D_z in all coordinates, of discriminators that began at the mixture in the first ones."""
    known = MixtureReference(mixture.dimension, len(mixture.weights))
    known.set(mixture)
    members: list[WideDiscriminator] = []
    for one in cast(list[LatentDiscriminator], list(copy.deepcopy(learned).members)):
        one.drop_reference()
        shared = leading.shared_scale
        member = WideDiscriminator(one, known, leading.rest, *leading.axes, shared_scale=shared)
        members.append(member.to(leading.axes.leading.device))
    return Ensemble(members)


def _standard_normal(like: GaussianMixture) -> GaussianMixture:
    """N(0, I) of the same dimension."""
    d = like.dimension
    return GaussianMixture(torch.ones(1), torch.zeros(1, d), torch.eye(d)[None])


def calibrated_ratio(
    network: Ensemble, test: Codes, boundary: Boundary, *, generator: torch.Generator
) -> FittedRatio:
    """Calibrate a single-level D_z that was trained elsewhere, on held-out codes."""
    real = boundary.whiten(test.sample(OUTLINE_SAMPLES, generator=generator))
    outline = fit_gaussian_mixture(real, generator=generator)
    constant = log_mean_ratio(network, boundary, outline, samples_for(test), generator=generator)
    calibration, drawn = calibrate(network, test, boundary, constant, generator=generator)
    return FittedRatio(network, boundary, drawn[:KEPT], calibration)


def preview(network: Ensemble, test: Codes, boundary: Boundary, *, levels: int = 1) -> FittedRatio:
    """A D_z that is still being trained, measured on few samples.

    They are the same at each preview, and come from a generator of their own, so that training is
    not changed by being watched.
    """
    generator = torch.Generator(test.means.device).manual_seed(0)
    real = test.sample(PREVIEW_SAMPLES, generator=generator)
    fake = boundary.sample(PREVIEW_SAMPLES, generator=generator)
    logits = (batched_logits(network, boundary.whiten(some)) for some in (real, fake))
    return FittedRatio(network, boundary, real, replace(measure(*logits), levels=levels))


def _within_reach(
    boundary: PriorBoundary,
    real: Latents,
    config: MapConfig,
    generator: torch.Generator,
    *,
    spatial: bool,
) -> Boundary:
    """The prior, or a Gaussian if the codes are out of the prior's reach.

    The log-ratio to the prior is then so many nats that rounding and errors of training hide the
    density of the codes; the one to a Gaussian with their moments is the same at any scale. Maps
    stay maps where this Gaussian has independent coordinates; how these depend on each other is in
    closed form in the `GaussianField` that D_z starts from.
    """
    mean = real.double().mean(dim=0)
    if spatial:
        kind, variances = DiagonalBoundary, real.double().var(dim=0, correction=0)
    else:
        kind, variances = GaussianBoundary, torch.linalg.eigvalsh(Codes(real).moments()[1])
    kl, widest = kl_of_moments(mean, variances), variances.max().item()
    if kl <= REACH and widest >= NARROW and variances.min().item() >= LEAST_RATIO * widest:
        return boundary
    fitted = kind.fit(real, config, generator=generator)
    fitted.warning = (
        f"the codes are far from N(0, I): their mean has the length {mean.norm().item():.2g} and "
        f"their standard deviations go up to {widest**0.5:.2g}; so the boundary is a Gaussian "
        f"fitted to them and not the prior, as boundary='{kind.name}' also says"
    )
    return fitted


def _initial(
    dimension: int, field: GaussianField | None, config: MapConfig, generator: torch.Generator
) -> Discriminator:
    """A discriminator with random weights, on the generator's device."""
    # A seed of its own: the generator's would repeat the random numbers of the split.
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    size = {"width": config.width, "depth": config.depth}
    with initial_weights(seed):
        network = (
            LatentDiscriminator(dimension, **size)
            if field is None
            else SpatialDiscriminator(copy.deepcopy(field), **size)
        )
    return network.to(generator.device)


def _levels(config: MapConfig, boundary: Boundary, kl: float) -> tuple[int, float]:
    """The number of levels and the weight of score matching, for KL(q || r) of `kl` nats.

    Raises:
        UserError: levels were asked for that this boundary does not have.
    """
    if not boundary.affine:
        if config.levels not in (None, 1):
            raise UserError(
                f"boundary '{boundary.name}' has a single level, since noise would change it; "
                "choose levels=1, or one of the boundaries prior, gaussian-diagonal, gaussian"
            )
        return 1, 0.0
    levels = config.levels or choose_levels(kl)
    if levels == 1:
        return 1, 0.0
    if config.score_weight is not None:
        return levels, config.score_weight
    return levels, FAR_WEIGHT if kl > FAR else max(1.0, MANY / boundary.dimension)
