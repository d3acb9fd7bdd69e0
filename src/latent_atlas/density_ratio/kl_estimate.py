"""How far the codes are from a boundary, estimated before anything is trained."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.nn.spatial_discriminator import GaussianField
from latent_atlas.shapes import Latents

__all__ = ["estimate_kl", "kl_of_moments"]

NEIGHBOURS = 5
SAMPLES = 2_000  # codes whose neighbours are looked up


def estimate_kl(
    codes: Codes,
    boundary: Boundary,
    field: GaussianField | None = None,
    *,
    generator: torch.Generator,
) -> float:
    """KL(q || r) in nats: the larger of two estimates, both of which tend to be low; 0 at least.

    One is that of the Gaussian with the moments of the codes, where r is affine, or that of their
    field; the other compares distances to the k-th nearest neighbour, rho among real codes and nu
    among samples of r:

        KL(q || r) ≈ d / n Σ_i log(nu_i / rho_i) + log(n_r / (n - 1))

    References:
        Divergence Estimation for Multidimensional Densities via k-Nearest-Neighbor Distances, Wang
        et al. 2009.
    """
    real = boundary.whiten(codes.sample(min(len(codes), SAMPLES), generator=generator))
    fake = boundary.whiten(boundary.sample(SAMPLES, generator=generator))
    # Drawing with replacement repeats codes, whose distance 0 says nothing about the density.
    real = torch.unique(real, dim=0)
    by_moments = 0.0
    if field is not None:
        by_moments = kl_of_moments(field.mean, field.variances)
    elif boundary.affine:
        mean, covariance = Codes(real).moments()
        by_moments = kl_of_moments(mean, torch.linalg.eigvalsh(covariance))
    return max(_kl_of_neighbours(real, fake), by_moments, 0.0)


def _kl_of_neighbours(real: Latents, fake: Float[Tensor, "m d"]) -> float:
    k = min(NEIGHBOURS, len(real) - 1)
    # By differences: products would lose the distances of codes that are close and far from 0.
    rho, nu = (
        torch.cdist(real, others, compute_mode="donot_use_mm_for_euclid_dist")
        .kthvalue(rank, dim=1)
        .values
        for others, rank in ((real, k + 1), (fake, k))
    )
    per_dimension = (nu / rho.clamp_min(1e-30)).log().mean().item()
    return real.shape[1] * per_dimension + math.log(len(fake) / (len(real) - 1))


def kl_of_moments(mean: Tensor, variances: Tensor) -> float:
    """KL(N(m, S) || N(0, I)) = 1/2 (|m|² + tr S - d - log det S) in nats, by S's eigenvalues."""
    variances = variances.clamp_min(1e-12)
    return 0.5 * (mean.square().sum() + (variances - 1 - variances.log()).sum()).item()
