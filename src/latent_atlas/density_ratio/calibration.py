"""Are the log-ratios honest? What held-out codes, the boundary and the levels between them say of a logit."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.gaussian_mixture import Gaussians
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density, gradient
from latent_atlas.density_ratio.noise_schedule import noised, whitened
from latent_atlas.density_ratio.normalising_constant import log_mean_exp, log_mean_ratio, meetings
from latent_atlas.density_ratio.train import Fit, batched_logits
from latent_atlas.nn.latent_discriminator import angle_of
from latent_atlas.sampling.ais import effective_sample_size
from latent_atlas.shapes import Latents, Values

__all__ = [
    "Calibration",
    "Reliability",
    "calibrate",
    "kl_over_levels",
    "log_density",
    "measure",
]

CHASM = 20.0  # nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary
UNMEASURED = 0.3  # nats of standard error above which the normaliser is not known
SATURATED = (
    0.05  # nats of cross-entropy below which it is, whatever KL the classifier then estimates
)
DRAWS = 20_000  # codes drawn on each side, or four of each held-out image if that is more
GROUPS = 15  # of codes, by realness
RUNGS = 64  # levels at which sums and integrals over levels are taken
PER_RUNG = 1_024


@dataclass(frozen=True)
class Reliability:
    """Said against seen: codes, half of them real, grouped by the realness D_z gives them.

    Attributes:
        said: Mean realness of each group.
        seen: Share of each group that is real.
        count: Codes in each group; empty groups are left out.
    """

    said: tuple[float, ...]
    seen: tuple[float, ...]
    count: tuple[int, ...]


@dataclass(frozen=True)
class Calibration:
    """What a logit l = log q - log r must satisfy, as measured.

    Attributes:
        normaliser: E_r[exp l]; 1 if exp(l) r is a normalised density; see `log_mean_ratio`.
        normaliser_error: Standard error of `normaliser`.
        inverse: E_q[exp -l]; 1 if the population's support lies within the boundary's.
        inverse_error: Standard error of `inverse`.
        kl: E_q[l], the estimate of KL(q || r) in nats.
        effective_share: Effective sample size of importance weights exp(l) on the boundary, as a share in (0, 1].
        cross_entropy: Of D_z on held-out codes against the boundary, in nats; log 2 where it cannot tell.
        samples: How many codes were drawn on each side.
        scale, shift: The logit a l + b whose cross-entropy is least on held-out codes; 1 and 0 if l is honest.
        reliability: Said against seen, of the logit before `scale` and `shift`.
        levels: How many levels the log-ratio was telescoped over.
        kl_over_levels: The same divergence as the integral of E|grad l|² over levels; None for a single level.
        log_normaliser: log E_r[exp l] in nats.
        log_normaliser_error: Its standard error.
        distance: KL(q || r) in nats as it was measured before anything was learned; None where it was not.
        gap: Held-out loss less training loss, in nats, where learning stopped; None where that is not known.
    """

    normaliser: float
    normaliser_error: float
    inverse: float
    inverse_error: float
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
    log_normaliser_error: float = 0.0
    distance: float | None = None
    gap: float | None = None

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
            TypeError: there are other values than those.
        """
        groups = Reliability(**{name: tuple(part) for name, part in values["reliability"].items()})
        return cls(
            reliability=groups,
            **{name: value for name, value in values.items() if name != "reliability"},
        )

    def verdict(self) -> str:
        """One sentence a user can act on."""
        z = math.exp(min(self.log_normalising_constant, 700.0))
        measured = f"KL(q || r) about {self.kl:z.1f} nats, E_r[exp l] = {z:.2f}"
        if not all(map(math.isfinite, self.numbers().values())):
            return "the fit failed: its numbers are not finite; lower map.learning_rate"
        if self.levels == 1 and (self.kl > CHASM or self.cross_entropy < SATURATED):
            return (
                f"a single level saturates here ({measured}): distrust the log-density, above all far away; several "
                "levels, or a boundary fitted to the codes, would bridge the gap"
            )
        if self.log_normaliser_error > UNMEASURED:
            return f"whether the map is normalised cannot be measured ({measured}): too few draws meet the population"
        if self.kl_over_levels is not None and abs(self.kl - self.kl_over_levels) > max(
            1.0, 0.1 * self.kl
        ):
            return (
                f"the levels disagree ({measured}, but {self.kl_over_levels:.1f} nats by their gradients): distrust "
                "the log-density, and give D_z more steps or codes"
            )
        if abs(self.log_normalising_constant) > max(0.2, 3 * self.log_normaliser_error):
            return f"the map is not normalised ({measured}, which should be 1): give D_z more codes"
        # Where q and r are the same, any scale of what is left of the logit does as well, and 0 does best.
        if self.scale < 0.8 and abs(self.cross_entropy - math.log(2)) > 0.01:
            return (
                f"the map is overconfident (its logits are best scaled by {self.scale:.2f}; {measured}): more codes "
                "would help; realness and confusion are corrected for it"
            )
        if self.distance is not None and self.kl < 0.7 * self.distance - 0.3:
            return (
                f"the map has not learned all there is ({measured}, where the distances between codes show at least "
                f"{self.distance:.1f}): give D_z more steps or width"
            )
        if self.levels > 1 and self.kl > CHASM:
            return f"the map is honest: {measured}; a single level would saturate, {self.levels} levels bridge it"
        return f"the map is honest: {measured}"


def calibrate(
    network: nn.Module,
    held_out: Codes,
    boundary: Boundary,
    population: Gaussians,
    *,
    levels: int,
    fit: Fit | None = None,
    distance: float | None = None,
    generator: torch.Generator,
) -> tuple[Calibration, Latents]:
    """Measure D_z on held-out codes.

    Arguments:
        network: D_z in whitened coordinates.
        held_out: Codes it has not learned from.
        boundary: r.
        population: Roughly q, in whitened coordinates; see `log_mean_ratio`.
        levels: How many levels it was telescoped over.
        fit: How learning ended, if it is known.
        distance: `measured_kl`, if it is known.
        generator: Source of all randomness.

    Returns:
        The calibration, and the held-out codes drawn for it, shape (n, d).
    """
    count = max(4 * len(held_out), DRAWS)
    real = held_out.sample(count, generator=generator)
    logits = batched_logits(network, whitened(boundary, real))
    fake = batched_logits(network, whitened(boundary, boundary.sample(count, generator=generator)))
    gap = fit and fit.held_out_loss - fit.loss
    log_z, error = log_mean_ratio(
        network, boundary, population, meetings(held_out), generator=generator
    )
    calibration = replace(
        measure(logits, fake),
        normaliser=math.exp(min(log_z, 700.0)),
        normaliser_error=error * math.exp(min(log_z, 700.0)),
        log_normalising_constant=log_z,
        log_normaliser_error=error,
        levels=levels,
        distance=distance,
        gap=gap,
    )
    if levels > 1:
        kl = kl_over_levels(network, held_out, boundary, generator=generator)
        calibration = replace(calibration, kl_over_levels=kl)
    return calibration, real


def log_density(boundary: Boundary) -> Density | None:
    """r as a density that turns a logit into log q; None where it has none, or none where the population is."""
    return boundary.density if boundary.covers else None


def measure(real: Values, fake: Values) -> Calibration:
    """What a logit says of itself on as many held-out real codes as boundary codes, each of shape (n,), in nats."""
    log_z, log_z_error = log_mean_exp(fake)
    inverse, inverse_error = _mean_exp(-real)
    normaliser, normaliser_error = _mean_exp(fake)
    scale, shift = _least_cross_entropy(real, fake)
    return Calibration(
        normaliser=normaliser,
        normaliser_error=normaliser_error,
        inverse=inverse,
        inverse_error=inverse_error,
        kl=real.mean().item(),
        effective_share=effective_sample_size(fake) / len(fake),
        cross_entropy=(0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())).item(),
        samples=len(fake),
        scale=scale,
        shift=shift,
        reliability=reliability(real, fake),
        log_normalising_constant=log_z,
        log_normaliser_error=log_z_error,
    )


def reliability(real: Values, fake: Values) -> Reliability:
    """Group as many real as fake codes by the realness of their logits, and count how many of each group are real."""
    said = torch.sigmoid(torch.cat([real, fake]).double())
    is_real = torch.cat([torch.ones_like(real), torch.zeros_like(fake)]).double()
    groups = (said * GROUPS).long().clamp(max=GROUPS - 1)
    count = torch.bincount(groups, minlength=GROUPS)
    met = count > 0
    mean_said, mean_seen = (
        torch.bincount(groups, weights=values, minlength=GROUPS)[met] / count[met]
        for values in (said, is_real)
    )
    return Reliability(
        tuple(mean_said.tolist()), tuple(mean_seen.tolist()), tuple(count[met].tolist())
    )


def kl_over_levels(
    network: nn.Module, codes: Codes, boundary: Boundary, *, generator: torch.Generator
) -> float:
    r"""KL(q || r) in nats by the gradients of the logit alone, an estimate apart from the mean logit.

    KL(q || r) is the integral over s = -log cos t from 0 to infinity of E_q_t |grad l*|², l* being exact. Of a learned
    l it is E[2 <grad l, grad l*> - |grad l|²] that is integrated, which falls short by the mean of |grad l - grad l*|²;
    in expectation grad l* is z_t - eps / root. By the trapezium rule over levels; beyond the last one the integrand
    falls as exp(-2 s).
    """
    angles = angle_of(torch.linspace(0, 1 - 1 / RUNGS, RUNGS, device=generator.device))
    depths = -angles.cos().log()
    gains = []
    for angle in angles:
        drawn = noised(codes, boundary, angle.expand(PER_RUNG), generator=generator)
        slope = gradient(lambda z, angle=angle: network(z, angle.expand(1)), drawn.latents)
        exact = drawn.latents - drawn.noise / drawn.root.clamp_min(angles[1].sin().item())
        gains.append((slope * (2 * exact - slope)).sum(dim=1).mean())
    values = torch.stack(gains)
    return (torch.trapezoid(values, depths) + 0.5 * values[-1]).item()


def _least_cross_entropy(real: Values, fake: Values, steps: int = 50) -> tuple[float, float]:
    """The a > 0 and b for which a l + b has the least cross-entropy on held-out codes, by Newton's method.

    Where the two hardly overlap any large a would do, so a weak pull keeps (a, b) near (1, 0).

    References:
        Probabilistic Outputs for Support Vector Machines, Platt 1999.
    """
    logits = torch.cat([real, fake]).double().clamp(-50, 50)
    signs = torch.cat([torch.ones_like(real), -torch.ones_like(fake)]).double()
    inputs = torch.stack([logits, torch.ones_like(logits)], dim=1)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device)
    pull = 1e-3 * torch.eye(2, dtype=torch.float64, device=logits.device)
    answer = start.clone()
    for _ in range(steps):
        wrong = torch.sigmoid(-signs * (inputs @ answer))
        slope = -(inputs * (signs * wrong)[:, None]).mean(dim=0) + pull @ (answer - start)
        curvature = (inputs * (wrong * (1 - wrong))[:, None]).T @ inputs / len(inputs) + pull
        step = torch.linalg.solve(curvature, slope)
        answer = answer - step.clamp(-0.5, 0.5)
    return max(answer[0].item(), 1e-3), answer[1].item()


def _mean_exp(values: Values) -> tuple[float, float]:
    """Mean of exp(values) and its standard error."""
    weights = values.exp()
    return weights.mean().item(), (weights.std() / len(weights) ** 0.5).item()
