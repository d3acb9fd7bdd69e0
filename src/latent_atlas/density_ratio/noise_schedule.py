r"""Levels: codes noised step by step until they are the boundary, and how far that is.

Variance-preserving noise at the angle t, z_t = cos(t) z + sin(t) eps, leaves N(0, I) as it is and turns any population
into it as t goes from 0 to π/2. Boundaries that are affine images of N(0, I) have the same levels in their own
coordinates, `whiten`ed to N(0, I).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.boundary.base import AffineBoundary, Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.shapes import Latents, Values

__all__ = ["Noised", "choose_levels", "measured_kl", "noised", "whitened"]

PER_LEVEL = 4.0  # nats of KL(q || r) that one more level is given for
FEWEST_LEVELS, MOST_LEVELS = 4, 64
NEIGHBOURS = 5
MEASURED = 2_000  # codes whose neighbours are looked at


@dataclass(frozen=True)
class Noised:
    """Codes z_t = cos(t) m + root · eps at some level, with the noise that made them.

    Attributes:
        latents: z_t, whitened, shape (n, d).
        noise: eps, shape (n, d).
        root: Standard deviation of z_t around cos(t) m, shape (n, 1) or (n, d), 0 or more.
    """

    latents: Latents
    noise: Latents
    root: Tensor


def whitened(boundary: Boundary, latents: Latents) -> Latents:
    """Codes in the coordinates in which an affine boundary is N(0, I); unchanged for any other boundary."""
    return boundary.whiten(latents) if isinstance(boundary, AffineBoundary) else latents


def noised(
    codes: Codes, boundary: Boundary, angles: Values, *, generator: torch.Generator
) -> Noised:
    """Draw codes of the population and noise each to its own angle in radians, shape (n,).

    Where an image's own spread q(z|x) = N(mu, sigma²) is known coordinate by coordinate, it counts as noise around
    m = mu: the root is sqrt(cos² sigma² + sin²), which tells of the score even at t = 0. Elsewhere m is the code.
    """
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    some = codes[
        torch.randint(len(codes), (len(angles),), generator=generator, device=generator.device)
    ]
    if (
        some.log_variances is not None
        and isinstance(boundary, AffineBoundary)
        and boundary.diagonal
    ):
        centres = whitened(boundary, some.means)
        spread = whitened(boundary, some.means + (0.5 * some.log_variances).exp()) - centres
        root = (cos.square() * spread.square() + sin.square()).sqrt()
    else:
        centres = whitened(boundary, some.sample_each(generator=generator))
        root = sin
    noise = torch.randn(centres.shape, generator=generator, device=generator.device)
    return Noised(cos * centres + root * noise, noise, root)


def measured_kl(codes: Codes, boundary: Boundary, *, generator: torch.Generator) -> float:
    """KL(q || r) in nats before anything is learned: the larger of two estimates, both of which tend to be low.

    One is that of the Gaussian with the population's moments, where r is affine; the other compares distances to the
    k-th nearest neighbour, rho within the population and nu among draws of r:

        KL(q || r) ≈ d / n Σ_i log(nu_i / rho_i) + log(n_r / (n - 1))

    References:
        Divergence Estimation for Multidimensional Densities via k-Nearest-Neighbor Distances, Wang et al. 2009.
    """
    real = whitened(boundary, codes.sample(min(len(codes), MEASURED), generator=generator))
    fake = whitened(boundary, boundary.sample(MEASURED, generator=generator))
    # Drawing with replacement meets a point twice: such a pair says nothing about the density.
    real = torch.unique(real, dim=0)
    k = min(NEIGHBOURS, len(real) - 1)
    # By differences: products would lose the distances of codes that are close and far from 0.
    rho, nu = (
        torch.cdist(real, others, compute_mode="donot_use_mm_for_euclid_dist")
        .kthvalue(rank, dim=1)
        .values
        for others, rank in ((real, k + 1), (fake, k))
    )
    d = real.shape[1]
    neighbours = d * (nu / rho.clamp_min(1e-30)).log().mean().item() + math.log(
        len(fake) / (len(real) - 1)
    )
    return max(
        neighbours, _kl_of_moments(real) if isinstance(boundary, AffineBoundary) else 0.0, 0.0
    )


def choose_levels(kl: float) -> int:
    """How many levels a divergence of `kl` nats is telescoped over, so that none has to bridge more than a few nats.

    Examples:
        >>> choose_levels(1.0), choose_levels(61.0)
        (4, 16)
    """
    return min(max(FEWEST_LEVELS, math.ceil(kl / PER_LEVEL)), MOST_LEVELS)


def _kl_of_moments(real: Latents) -> float:
    """KL(N(m, S) || N(0, I)) = 1/2 (|m|² + tr S - d - log det S) of the codes' mean and covariance."""
    mean, covariance = Codes(real).moments()
    variances = torch.linalg.eigvalsh(covariance).clamp_min(1e-12)
    return 0.5 * (mean.square().sum() + (variances - 1 - variances.log()).sum()).item()
