"""The target of a sampler: a density with a temperature, a location and conditions."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latent_atlas.density.base import (
    Density,
    DensityRatioModel,
    ExactRatio,
    SamplableDensity,
    StandardNormal,
)
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.errors import UserError
from latent_atlas.sampling.whitened import PIECE
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats, batched

__all__ = ["LogWeight", "Target"]

LogWeight = Callable[[Tensor], Tensor]


class Target(Density):
    r"""q(z)^(1/T) · N(z; c, w² I) · g(z), up to a constant.

    Attributes:
        density: q.
        temperature: T; samples concentrate at the modes below 1 and spread above it. A Gaussian's
            covariance is multiplied by T.
        near: N(c, w² I), or None.
        where: log g, or None.
    """

    def __init__(
        self,
        density: Density,
        temperature: float = 1.0,
        near: ArrayLike | None = None,
        width: float = 0.5,
        where: LogWeight | None = None,
    ) -> None:
        """Combine the factors.

        Arguments:
            density: q, normalised or not.
            temperature: T, above 0.
            near: c, shape (d,), or None for no Gaussian factor.
            width: w, above 0, in the units of the codes.
            where: log g in nats, from codes (n, d) to (n,), or None.

        Raises:
            UserError: T or w is not above 0, or c is not a finite code of the density.
        """
        for name, value in (("temperature", temperature), ("width", width)):
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"the {name} is {value}; choose a number above 0")
        near = None if near is None else as_floats(near).detach()
        if near is not None and (near.shape != (density.dimension,) or not near.isfinite().all()):
            raise UserError(
                f"near has shape {tuple(near.shape)}; give one code of shape "
                f"({density.dimension},) with finite coordinates"
            )
        self.density = density
        self.dimension = density.dimension
        self.has_log_prob = density.has_log_prob
        self.temperature = temperature
        self.near = None if near is None else _around(near, width)
        self.where = where
        self._ratio = density if isinstance(density, DensityRatioModel) else _against_prior(density)

    @property
    def covering(self) -> SamplableDensity | None:
        """N(c, w² I) near a code, or the boundary r of a map; None where nothing is known."""
        if self.near is not None:
            return self.near
        return self.density.boundary if isinstance(self.density, DensityRatioModel) else None

    @property
    def is_density(self) -> bool:
        """Whether the target is q itself."""
        return self.temperature == 1 and self.near is None and self.where is None

    def log_prob(self, latents: Latents) -> Values:
        """log q / T + log N + log g in nats, shape (n,), up to a constant."""
        return self.density.log_prob(latents) / self.temperature + self._conditions(latents)

    def log_weight(self, latents: Latents) -> Values:
        """log target - log q in nats, shape (n,), up to a constant; 0 if the target is q.

        log q is evaluated only at a temperature other than 1, since not every map has it.
        """
        conditions = self._conditions(latents)
        if self.temperature == 1:
            return conditions
        return conditions + (1 / self.temperature - 1) * self.density.log_prob(latents)

    def score(self, latents: Latents) -> Latents:
        """The density's own score if the target is q, else by autograd."""
        return self.density.score(latents) if self.is_density else super().score(latents)

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """The density's own if the target is q."""
        if self.is_density:
            return self.density.log_prob_and_score(latents)
        return super().log_prob_and_score(latents)

    def propose(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw from a known distribution that covers the target, shape (n, d).

        It is N(c, w² I) near a code, else the boundary r of a map, else the prior N(0, I).
        """
        if self.near is not None:
            return self.near.sample(n, generator=generator)
        return self._ratio.sample_boundary(n, generator=generator)

    def log_ratio(self, latents: Latents) -> Values:
        """log target - log proposal in nats, shape (n,), up to a constant; -inf where it is NaN."""
        return batched(self._log_ratio, latents, PIECE).nan_to_num(-math.inf, None, -math.inf)

    def _log_ratio(self, latents: Latents) -> Values:
        """The same, for as many codes as fit in memory, and with NaN."""
        if self.near is not None:
            return self.log_prob(latents) - self.near.log_prob(latents)
        return self._ratio.logit(latents) + self.log_weight(latents)

    def _conditions(self, latents: Latents) -> Values:
        """log N + log g in nats, shape (n,)."""
        total = (
            latents.new_zeros(len(latents)) if self.near is None else self.near.log_prob(latents)
        )
        if self.where is None:
            return total
        weights = self.where(latents)
        if weights.shape != total.shape:
            raise UserError(
                f"where gave log-weights of shape {tuple(weights.shape)} for codes of shape "
                f"{tuple(latents.shape)}; it must give one number for each code, shape (n,)"
            )
        return total + weights


def _against_prior(density: Density) -> DensityRatioModel:
    """The density relative to N(0, I)."""
    return ExactRatio(density, StandardNormal(density.dimension))


def _around(code: Tensor, width: float) -> GaussianMixture:
    """N(c, w² I)."""
    code = code.detach().float()
    return GaussianMixture(
        code.new_ones(1), code[None], width * torch.eye(len(code), device=code.device)[None]
    )
