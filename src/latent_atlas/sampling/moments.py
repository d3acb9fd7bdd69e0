r"""Weights that give draws the mean and the covariance of real codes, and otherwise leave them as they are.

Of all reweighted draws with these moments, those of least divergence from the draws have the weights

    w_i ∝ exp(a · φ(z_i)),    φ(z) = (z, z zᵀ),    a = argmin log Σ_i exp(a · (φ(z_i) - E φ)),

an exponential tilt, which is the maximum-likelihood fit of such a tilt of the density to the codes.

References:
    Entropy Balancing for Causal Effects, Hainmueller 2012.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Latents, Values

__all__ = ["Codes", "enough", "matching"]

NEWTON, SHORTEST = 30, 1e-3  # steps, and the share of one that is taken if nothing longer helps
EXACT = 1e-6  # of a moment of standardised codes
DRAWS_PER_MOMENT = 8  # fewer, and the weights would follow the draws' own chance

Codes = Float[Tensor, "m d"]
Moments = Float[Tensor, "n p"]


def enough(n: int, dimension: int) -> bool:
    """Whether n draws tell moments from chance: 8 or more for each of d + d (d + 1) / 2 moments."""
    return n >= DRAWS_PER_MOMENT * (dimension + dimension * (dimension + 1) // 2)


@torch.no_grad()
def matching(points: Latents, codes: Codes) -> Values | None:
    """Log-weights of draws, shape (n,), under which their mean and covariance are those of the codes.

    Arguments:
        points: Draws, shape (n, d); see `enough`.
        codes: Real ones, shape (m, d).

    Returns:
        The log-weights up to a constant, on the draws' device; or None where no weights do it, as where some moment of
        the codes is beyond that of every draw.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> draws, codes = (torch.randn(4_000, 2, generator=generator) + shift for shift in (0.0, 0.3))
        >>> shares = matching(draws, codes).softmax(0)
        >>> bool(((shares @ draws - codes.mean(dim=0)).abs() < 1e-4).all())
        True
    """
    draws, real = (z.cpu().double() for z in (points, codes))  # not every device has double precision
    scale, mean = torch.std_mean(real, dim=0)
    seen, wanted = (_moments((z - mean) / scale.clamp_min(1e-12)) for z in (draws, real))
    away = seen - wanted.mean(dim=0)
    tilt = away.new_zeros(away.shape[1])
    for _ in range(NEWTON):
        shares = (away @ tilt).softmax(dim=0)
        slope = shares @ away
        if slope.abs().max() < EXACT:
            return (away @ tilt).to(points)
        curvature = (away * shares[:, None]).T @ away - torch.outer(slope, slope)
        direction, failed = torch.linalg.solve_ex(curvature, slope)
        if failed or not direction.isfinite().all():
            break
        tilt = _lower(away, tilt, direction)
    return None


def _moments(standard: Latents) -> Moments:
    """φ(z): coordinates and their products, each once, shape (n, d + d (d + 1) / 2)."""
    i, j = torch.triu_indices(standard.shape[1], standard.shape[1])
    return torch.cat([standard, standard[:, i] * standard[:, j]], dim=1)


def _lower(away: Moments, tilt: Tensor, direction: Tensor) -> Tensor:
    """Newton's step, halved until log Σ exp(a · (φ - E φ)) falls."""
    before, share = (away @ tilt).logsumexp(dim=0), 1.0
    while share > SHORTEST and (away @ (tilt - share * direction)).logsumexp(dim=0) >= before:
        share /= 2
    return tilt - share * direction
