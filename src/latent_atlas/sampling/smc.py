"""Samples of any density by sequential Monte Carlo."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.sampling.adaptive import FEWEST, adapted
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least, checked_codes
from latent_atlas.sampling.target import Target
from latent_atlas.shapes import ArrayLike

__all__ = ["SMC"]


@checked
@dataclass(frozen=True)
class SMC(Sampler):
    """Sequential Monte Carlo: particles that are tempered from a known density to q.

    First they explore: from the boundary of a map, or else from a Gaussian at the origin, whose
    width is doubled until the particles find no more mass and lie within it. A mixture of Student's
    t is fitted to them, and other particles are tempered from it, until half of them are effective:
    the mixture knows the clusters, and the weights say how much probability each has. A cluster
    that no particle of the first start has found is missing, and no number tells: give a `width`
    that covers everything, or codes.

    References:
        Sequential Monte Carlo samplers, Del Moral, Doucet and Jasra 2006; Adaptive importance
        sampling in general mixture classes, Cappé et al. 2008, for the fitted mixture.

    Attributes:
        particles: Number of particles, 100 or more; None is 2 n, and at least 4,000.
        moves: Hamiltonian moves at each temperature, 1 or more.
        width: Standard deviation of the Gaussian that the first particles are drawn from, in the
            units of the codes; None measures it.
        codes: Real codes that the first particles are drawn around instead, shape (m, d).
    """

    name: ClassVar[str] = "smc"
    particles: int | None = None
    moves: int = 3
    width: float | None = None
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        check_least(100, particles=self.particles)
        check_least(1, moves=self.moves)
        if self.width is not None and not (0 < self.width < math.inf):
            raise UserError(f"width is {self.width}; choose a number above 0")

    def wants_codes(self, density: Density) -> bool:
        """Codes spare the exploration."""
        return self.codes is None and self.width is None

    @torch.no_grad()
    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes.

        The info has the number of temperatures, the acceptance and step size of the moves, the
        effective sample size, and log Z of the target with its error; a warning says if few
        particles are effective.

        Raises:
            UserError: the target has no log-density, the codes do not fit it, or no particle
                reaches it.
        """
        found = adapted(
            target,
            n,
            particles=self.particles or max(2 * n, FEWEST),
            moves=self.moves,
            width=self.width,
            codes=None if self.codes is None else checked_codes(self.codes, target.dimension, 2),
            generator=generator,
        )
        effective = 1 / (1 / n + 1 / found.effective - 1 / len(found.points))
        info = SamplerInfo(
            sampler=self.name,
            acceptance=found.acceptance,
            effective_sample_size=effective,
            effective_share=effective / n,
            step_size=found.step_size,
            temperatures=found.temperatures,
            log_constant=found.log_constant,
            log_constant_error=found.error,
        )
        few = (
            f"the particles have an effective sample size of {effective:.0f} for {n} samples, so "
            "the shares of separate clusters are uncertain; give more particles, or codes"
        )
        return Samples(found.points[:n], info, () if effective >= 0.5 * n else (few,))
