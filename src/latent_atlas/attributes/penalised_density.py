"""A density penalised outside a constraint: a planner on it keeps the attributes as it plans."""

import torch

from latent_atlas.attributes.constraint import Constraint
from latent_atlas.density.base import Density, DensityRatioModel, value_and_gradient
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["PenalisedDensity", "PenalisedRatio", "penalise"]

STRENGTH = 10.0


class PenalisedDensity(Density):
    r"""log q_C(z) = log q(z) - λ (sqrt(1 + |v(z)|²) - 1).

    v is the violation of C's bounds in their units.

    In C it is log q. Outside it falls, as a parabola at first and further away by λ nats per unit
    of violation, so that it is smooth and its slope bounded. It is not normalised.

    Attributes:
        density: q.
        constraint: C, with one row of bounds for all codes.
        strength: λ in nats.
    """

    def __init__(
        self, density: Density, constraint: Constraint, strength: float = STRENGTH
    ) -> None:
        """Arguments: density is q; constraint is C; strength, λ, is positive.

        Raises:
            UserError: the strength is not positive, or different codes would have different bounds.
        """
        if strength <= 0:
            raise UserError(
                f"the strength of a restriction is {strength}; choose a positive number of nats"
            )
        if len(constraint.lower) != 1:
            raise UserError(
                f"a density is restricted to one set of codes, and this constraint has "
                f"{len(constraint.lower)}; take "
                "one of its rows"
            )
        self.density = density
        self.constraint = constraint
        self.strength = strength
        self.dimension = density.dimension
        self.has_log_prob = density.has_log_prob
        self.noise_levels = density.noise_levels

    def penalty(self, latents: Latents) -> Values:
        """λ (sqrt(1 + |v(z)|²) - 1) in nats, shape (n,); 0 in C."""
        values = self.constraint.values(latents)
        squares = (self.constraint.violation(values) / self.constraint.unit).square().sum(dim=1)
        return self.strength * ((1 + squares).sqrt() - 1)

    def log_prob(self, latents: Latents) -> Values:
        """log q_C(z), shape (n,)."""
        return self.density.log_prob(latents) - self.penalty(latents)

    def score(self, latents: Latents) -> Latents:
        """grad log q(z) less the gradient of the penalty, shape (n, d)."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """log q_C(z) (n,) and its gradient (n, d)."""
        log_prob, score = self.density.log_prob_and_score(latents)
        penalty, slope = value_and_gradient(self.penalty, latents)
        return log_prob - penalty, score - slope

    def noised(self, width: float) -> "PenalisedDensity":
        """The noised density with the same penalty."""
        return penalise(self.density.noised(width), self.constraint, self.strength)

    def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float | None:
        """That of q."""
        return self.density.threshold(share, generator=generator)

    def whiten(self, latents: Latents) -> Latents:
        """That of q."""
        return self.density.whiten(latents)

    def unwhiten(self, latents: Latents) -> Latents:
        """That of q."""
        return self.density.unwhiten(latents)


class PenalisedRatio(PenalisedDensity, DensityRatioModel):
    """A restricted density with a discriminator: l_C(z) = l(z) less the same penalty, against the
    same boundary.
    """

    def __init__(
        self, density: DensityRatioModel, constraint: Constraint, strength: float = STRENGTH
    ) -> None:
        """Arguments: as for `PenalisedDensity`, density being the map."""
        super().__init__(density, constraint, strength)
        self.ratio = density

    def logit(self, latents: Latents) -> Values:
        """l(z) less the penalty, shape (n,)."""
        return self.ratio.logit(latents) - self.penalty(latents)

    def calibrated(self, logit: Values) -> Values:
        """What the map makes of a logit, shape (n,)."""
        return self.ratio.calibrated(logit)

    def sample_boundary(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes of the boundary r, shape (n, d)."""
        return self.ratio.sample_boundary(n, generator=generator)


def penalise(
    density: Density, constraint: Constraint, strength: float = STRENGTH
) -> PenalisedDensity:
    """q restricted to C: a `PenalisedRatio` if q has a discriminator."""
    if isinstance(density, DensityRatioModel):
        return PenalisedRatio(density, constraint, strength)
    return PenalisedDensity(density, constraint, strength)
