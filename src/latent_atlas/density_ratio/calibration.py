"""Whether the log-ratios are calibrated, by held-out codes, the boundary and the noise levels."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import gradient
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.density_ratio.noise_schedule import noise_codes
from latent_atlas.density_ratio.normalising_constant import LogConstant, log_mean_exp
from latent_atlas.nn.latent_discriminator import angle_of, batched_logits
from latent_atlas.sampling.weights import effective_sample_size
from latent_atlas.shapes import Latents, Values

__all__ = ["Calibration", "Reliability", "calibrate", "kl_over_levels", "measure"]

# Nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary,
# and of cross-entropy below which it is, whatever KL the classifier then estimates.
FAR, SATURATED = 20.0, 0.05
IMPRECISE = 0.3  # nats of standard error above which the normalising constant is not known
FEW_DECIDE = 0.5  # standard error of KL(q || r), as a share of it, above which it is not known
# Codes drawn on each side: four of each held-out image, within these.
SAMPLES, MOST_SAMPLES = 20_000, 200_000
BINS = 15  # of codes, by realness
QUADRATURE_LEVELS = 64  # at which the integral over levels is evaluated
PER_LEVEL = 1_024  # codes at each of them


@dataclass(frozen=True)
class Reliability:
    """Predicted against observed frequency of real codes, in bins of realness.

    Attributes:
        predicted: Mean realness of the codes in each bin.
        observed: Share of them that is real; half of all codes are.
        count: Codes in each bin; empty bins are left out.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    count: tuple[int, ...]


@dataclass(frozen=True)
class Calibration:
    """What a logit l = log q - log r must satisfy, as measured.

    Attributes:
        normalising_constant: E_r[exp l]; 1 if exp(l) r is a normalised density. A map's constant
            is set by this measurement where it is precise, so that then only its error is left.
        normalising_constant_error: Its standard error.
        inverse_constant: E_q[exp -l]; 1 if the support of q lies within the boundary's.
        inverse_constant_error: Its standard error.
        kl: E_q[l], the estimate of KL(q || r) in nats.
        kl_error: Its standard error, by the number of held-out codes.
        kl_median: Median of l over held-out codes: where it is far from `kl`, few codes decide.
        effective_share: Effective sample size of importance weights exp(l) on the boundary, as a
            share in (0, 1].
        cross_entropy: Of D_z on held-out codes against the boundary, in nats; log 2 for D_z = 1/2.
        samples: Codes drawn on each side.
        scale, shift: The logit a l + b whose cross-entropy is least on held-out codes (Platt
            scaling); 1 and 0 if l is calibrated.
        reliability: Of the logit before `scale` and `shift`.
        levels: Noise levels that the log-ratio was telescoped over.
        kl_over_levels: KL(q || r) as the integral of E|grad l|² over levels; None for one level.
        log_normalising_constant: log E_r[exp l] in nats.
        log_normalising_constant_error: Its standard error.
        kl_estimate: KL(q || r) in nats as estimated before training; None where it was not.
        generalisation_gap: Held-out loss less training loss, in nats, where training stopped; None
            where it is not known.
    """

    normalising_constant: float
    normalising_constant_error: float
    inverse_constant: float
    inverse_constant_error: float
    kl: float
    effective_share: float
    cross_entropy: float
    samples: int
    scale: float
    shift: float
    reliability: Reliability
    levels: int = 1
    kl_over_levels: float | None = None
    log_normalising_constant: float = 0.0
    log_normalising_constant_error: float = 0.0
    kl_error: float = 0.0
    kl_median: float | None = None
    kl_estimate: float | None = None
    generalisation_gap: float | None = None

    def numbers(self) -> dict[str, float]:
        """The single numbers by name; what was not measured is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reliability"}
        return {name: value for name, value in values.items() if value is not None}

    def as_json(self) -> dict[str, Any]:
        """Everything, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Calibration":
        """Rebuild from what `as_json` gave.

        Raises:
            TypeError, ValueError: there are other values than those.
        """
        bins = {name: tuple(part) for name, part in values["reliability"].items()}
        numbers = {name: value for name, value in values.items() if name != "reliability"}
        found = cls(reliability=Reliability(**bins), **numbers)
        TypeAdapter(cls).validate_python(values)
        return found

    def verdict(self) -> str:
        """One sentence: whether the map is calibrated, and if not, what to do."""
        several = self.levels > 1 and self.kl > FAR
        more = f"; a single level would saturate, {self.levels} levels do not" if several else ""
        return self.fault() or f"the map is calibrated: {self._measured()}{more}"

    def fault(self) -> str | None:
        """One sentence: why the map is not calibrated, and what to do; None if it is."""
        measured = self._measured()
        if not all(map(math.isfinite, self.numbers().values())):
            return "the fit failed: its numbers are not finite; lower map.learning_rate"
        if self.kl_median is not None and self.kl_error > max(1.0, FEW_DECIDE * abs(self.kl)):
            return (
                f"the map is not calibrated: a few held-out codes decide KL(q || r), {self.kl:.1f} "
                f"nats with a standard error of {self.kl_error:.1f} and a median of "
                f"{self.kl_median:z.1f}; they lie where no code to learn from does, so do not "
                "trust the log-density there, and give D_z more codes"
            )
        if self.levels == 1 and (self.kl > FAR or self.cross_entropy < SATURATED):
            return (
                f"a single level saturates here ({measured}): do not trust the log-density, least "
                "of all far from the codes; use several levels, or a boundary fitted to the codes"
            )
        if self.log_normalising_constant_error > IMPRECISE:
            return (
                f"the normalising constant cannot be measured ({measured}): too few boundary "
                "samples lie where the codes are"
            )
        if self._levels_disagree():
            return (
                f"the levels disagree ({measured}, but {self.kl_over_levels:.1f} nats by their "
                "gradients): do not trust the log-density; give D_z more steps or codes, or let it "
                "begin at a mixture of Gaussians (map.reference=mixture)"
            )
        if abs(self.log_normalising_constant) > max(0.2, 3 * self.log_normalising_constant_error):
            return f"the map is not normalised ({measured}, which should be 1): give D_z more codes"
        # Where q and r are the same, any scale of the rest of the logit does as well, and 0 best.
        if self.scale < 0.8 and abs(self.cross_entropy - math.log(2)) > 0.01:
            return (
                f"the map is overconfident (its logits are best scaled by {self.scale:.2f}; "
                f"{measured}): more codes would help; realness and confusion are corrected for it"
            )
        if self.kl_estimate is not None and self.kl < 0.7 * self.kl_estimate - 0.3:
            return (
                f"the map is underfitted ({measured}, where the distances between codes show at "
                f"least {self.kl_estimate:.1f}): give D_z more codes, or, where it does not "
                "overfit, more steps or width"
            )
        return None

    def _measured(self) -> str:
        z = math.exp(min(self.log_normalising_constant, 700.0))
        return f"KL(q || r) about {self.kl:z.1f} nats, E_r[exp l] = {z:.2f}"

    def _levels_disagree(self) -> bool:
        """Whether the two estimates of KL(q || r) differ by over 10 %, and by over 1 nat."""
        if self.kl_over_levels is None:
            return False
        return abs(self.kl - self.kl_over_levels) > max(1.0, 0.1 * self.kl)


def calibrate(
    network: nn.Module,
    held_out: Codes,
    boundary: Boundary,
    constant: LogConstant,
    *,
    levels: int = 1,
    generator: torch.Generator,
) -> tuple[Calibration, Latents]:
    """Compare the logit of D_z with held-out codes.

    Arguments:
        network: D_z in whitened coordinates.
        held_out: Codes it was not trained on.
        boundary: r.
        constant: log E_r[exp l], by `log_mean_ratio`.
        levels: How many levels it was telescoped over.
        generator: Source of all randomness.

    Returns:
        The calibration, and the held-out codes drawn for it, shape (n, d).
    """
    count = min(max(4 * len(held_out), SAMPLES), MOST_SAMPLES)
    real = held_out.sample(count, generator=generator)
    fake = boundary.sample(count, generator=generator)
    found = measure(*(batched_logits(network, boundary.whiten(some)) for some in (real, fake)))
    value = math.exp(min(constant.nats, 700.0))
    found = replace(
        found,
        kl_error=found.kl_error * (count / min(count, len(held_out))) ** 0.5,
        normalising_constant=value,
        normalising_constant_error=constant.error * value,
        log_normalising_constant=constant.nats,
        log_normalising_constant_error=constant.error,
        levels=levels,
    )
    if levels > 1:
        kl = kl_over_levels(network, held_out, boundary, generator=generator)
        found = replace(found, kl_over_levels=kl)
    return found, real


def measure(real: Values, fake: Values) -> Calibration:
    """Calibration by the logits of as many held-out real codes as boundary codes, (n,) each."""
    constant = log_mean_exp(fake)
    inverse, inverse_error = _mean_exp(-real)
    value, error = _mean_exp(fake)
    scale, shift = _platt_scaling(real, fake)
    return Calibration(
        normalising_constant=value,
        normalising_constant_error=error,
        inverse_constant=inverse,
        inverse_constant_error=inverse_error,
        kl=real.mean().item(),
        kl_error=(real.std(correction=0) / len(real) ** 0.5).item(),
        kl_median=real.median().item(),
        effective_share=effective_sample_size(fake) / len(fake),
        cross_entropy=latent_discriminator(real, fake).item(),
        samples=len(fake),
        scale=scale,
        shift=shift,
        reliability=reliability(real, fake),
        log_normalising_constant=constant.nats,
        log_normalising_constant_error=constant.error,
    )


def reliability(real: Values, fake: Values) -> Reliability:
    """Group codes by the realness of their logits, and count how many of each bin are real."""
    predicted = torch.sigmoid(torch.cat([real, fake]).double())
    is_real = torch.cat([torch.ones_like(real), torch.zeros_like(fake)]).double()
    bins = (predicted * BINS).long().clamp(max=BINS - 1)
    count = torch.bincount(bins, minlength=BINS)
    filled = count > 0
    means = [
        torch.bincount(bins, weights=values, minlength=BINS)[filled] / count[filled]
        for values in (predicted, is_real)
    ]
    return Reliability(
        tuple(means[0].tolist()), tuple(means[1].tolist()), tuple(count[filled].tolist())
    )


def kl_over_levels(
    network: nn.Module, codes: Codes, boundary: Boundary, *, generator: torch.Generator
) -> float:
    r"""KL(q || r) in nats by the gradients of the logit alone, independent of its mean.

    KL(q || r) is the integral over s = -log cos t from 0 to infinity of E_q_t |grad l*|², l* being
    exact. Of a learned l it is E[2 <grad l, grad l*> - |grad l|²] that is integrated, which falls
    short by the mean of |grad l - grad l*|²; in expectation grad l* is z_t - eps / root. By the
    trapezium rule over levels; beyond the last one the integrand falls as exp(-2 s).
    """
    places = torch.linspace(
        0, 1 - 1 / QUADRATURE_LEVELS, QUADRATURE_LEVELS, device=generator.device
    )
    angles = angle_of(places)
    depths = -angles.cos().log()
    gains = []
    for angle in angles:
        drawn = noise_codes(codes, boundary, angle.expand(PER_LEVEL), generator=generator)
        slope = gradient(lambda z, angle=angle: network(z, angle.expand(1)), drawn.latents)
        exact = drawn.latents - drawn.noise / drawn.root.clamp_min(angles[1].sin().item())
        gains.append((slope * (2 * exact - slope)).sum(dim=1).mean())
    values = torch.stack(gains)
    return (torch.trapezoid(values, depths) + 0.5 * values[-1]).item()


def _platt_scaling(real: Values, fake: Values, steps: int = 50) -> tuple[float, float]:
    """The a > 0 and b for which a l + b has the least cross-entropy, by Newton's method.

    Where the two hardly overlap any large a would do, so a weak penalty keeps (a, b) near (1, 0).

    References:
        Probabilistic Outputs for Support Vector Machines, Platt 1999.
    """
    logits = torch.cat([real, fake]).double().clamp(-50, 50)
    signs = torch.cat([torch.ones_like(real), -torch.ones_like(fake)]).double()
    inputs = torch.stack([logits, torch.ones_like(logits)], dim=1)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device)
    penalty = 1e-3 * torch.eye(2, dtype=torch.float64, device=logits.device)
    answer = start.clone()
    for _ in range(steps):
        wrong = torch.sigmoid(-signs * (inputs @ answer))
        slope = -(inputs * (signs * wrong)[:, None]).mean(dim=0) + penalty @ (answer - start)
        curvature = (inputs * (wrong * (1 - wrong))[:, None]).T @ inputs / len(inputs) + penalty
        step = torch.linalg.solve(curvature, slope)
        answer = answer - step.clamp(-0.5, 0.5)
    return max(answer[0].item(), 1e-3), answer[1].item()


def _mean_exp(values: Values) -> tuple[float, float]:
    """Mean of exp(values) and its standard error."""
    weights = values.exp()
    return weights.mean().item(), (weights.std() / len(weights) ** 0.5).item()
