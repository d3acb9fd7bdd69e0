"""The leading principal coordinates of wide codes, in which D_z learns."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.gaussian_mixture import fit_gaussian_mixture
from latent_atlas.shapes import Latents

__all__ = ["leading_axes", "leading_dimension"]

LADDER = (8, 16, 32, 64, 128)  # coordinates that are tried
PER_COORDINATE = 20  # codes at least for each: two Gaussians have a covariance each
TRIED = 10_000  # codes that choose


def leading_axes(real: Latents, boundary: GaussianBoundary) -> Tensor:
    """Orthonormal columns A, (d, k), for which Aᵀw are the principal coordinates of whitened codes.

    They are those of largest variance in z, in descending order, each with variance 1.

    Arguments:
        real: Codes, shape (n, d).
        boundary: The Gaussian that whitens them: z = m + L w.
    """
    factor = boundary.factor.double()
    variances, basis = torch.linalg.eigh(factor @ factor.T)
    order = variances.argsort(descending=True)[: LADDER[-1]]
    # The columns of Lᵀ V are orthogonal, since V diagonalises L Lᵀ.
    return (factor.T @ basis[:, order] / variances[order].sqrt()).to(real)


def leading_dimension(
    leading: Latents, held_out: Float[Tensor, "m d"], *, generator: torch.Generator
) -> int:
    """The number k of leading coordinates whose joint density differs most from a Gaussian.

    A Gaussian mixture is fitted to the first 8, 16, 32, ... coordinates. The nats by which held-out
    codes are likelier under it than under N(0, I) are what would be lost if these coordinates were
    left to the rest; k is taken where they are most, as far as there are 20 codes a coordinate.

    Arguments:
        leading: Codes (n, k) in coordinates of variance 1, in descending order of variance.
        held_out: Others, which judge, shape (m, k).
        generator: Of the mixtures.
    """
    real = leading[torch.randperm(len(leading), generator=generator, device=leading.device)[:TRIED]]
    best, most = LADDER[0], -math.inf
    for k in LADDER:
        if k > LADDER[0] and (k > leading.shape[1] or len(real) < PER_COORDINATE * k):
            break
        mixture = fit_gaussian_mixture(real[:, :k], held_out=held_out[:, :k], generator=generator)
        some = held_out[:, :k]
        gain = (mixture.log_prob(some) - StandardNormal(k).log_prob(some)).mean().item()
        if gain <= most:
            break
        best, most = k, gain
    return best
