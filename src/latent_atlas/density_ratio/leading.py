"""The leading principal coordinates of wide codes, and the mixture that describes them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.codes.posterior import FLAT, Codes
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.shapes import Latents

__all__ = ["Axes", "leading_mixture", "principal_axes"]

LADDER = (8, 32, 128)  # coordinates that are tried
PER_COORDINATE = 20  # codes at least for each: two Gaussians have a covariance each
TRIED = 10_000  # codes that choose


class Axes(NamedTuple):
    """Orthonormal columns in whitened coordinates w.

    Attributes:
        leading: A (d, k): Aᵀw are the principal coordinates of largest variance, in descending
            order, each with variance 1.
        null: B (d, m): Bᵀw is 0 for all codes, since they span d - m dimensions.
    """

    leading: Tensor
    null: Tensor


def principal_axes(real: Latents, boundary: GaussianBoundary) -> Axes:
    """The leading axes of codes (n, d), and those they have no extent in, where n > d shows it.

    `boundary` is the Gaussian that whitens them.
    """
    n, d = real.shape
    variances, basis = torch.linalg.eigh(Codes(real).moments()[1])
    spanned = variances > FLAT * variances.max() if n > d else torch.ones(d, dtype=torch.bool)
    # Codes m + V c have w = L⁻¹ V c: an orthonormal basis of it, largest variances first.
    span = basis[:, spanned].flip(1) * variances[spanned].flip(0).sqrt()
    factor = boundary.factor.double().to(span)
    white = torch.linalg.solve_triangular(factor, span, upper=False)
    turned = torch.linalg.qr(white, mode="complete").Q.to(real)
    r = span.shape[1]
    return Axes(turned[:, : min(r, LADDER[-1])].contiguous(), turned[:, r:].contiguous())


def leading_mixture(
    leading: Latents, held_out: Float[Tensor, "m d"], *, generator: torch.Generator
) -> GaussianMixture:
    """A mixture of the k leading coordinates whose joint density differs most from a Gaussian.

    Gaussian mixtures are fitted to the first 8, 32 and 128 coordinates. The nats by which held-out
    codes are likelier under one than under N(0, I) are what would be lost if these coordinates were
    left to the rest; k is taken where they are most, as far as there are 20 codes a coordinate. A
    gain below its standard error is none.

    Arguments:
        leading: Codes (n, k) in coordinates of variance 1, in descending order of variance.
        held_out: Others, which judge, shape (m, k).
        generator: Of the mixtures.
    """
    real = leading[torch.randperm(len(leading), generator=generator, device=leading.device)[:TRIED]]
    fewest = min(LADDER[0], leading.shape[1])  # codes may span fewer
    best, most = None, torch.full_like(held_out[:, 0], -torch.inf)
    for k in (fewest, *LADDER[1:]):
        if k > fewest and (k > leading.shape[1] or len(real) < PER_COORDINATE * k):
            break
        mixture = fit_gaussian_mixture(real[:, :k], held_out=held_out[:, :k], generator=generator)
        some = held_out[:, :k]
        gain = mixture.log_prob(some) - StandardNormal(k).log_prob(some)
        more = gain - most
        if best is not None and more.mean() <= more.std() / len(more) ** 0.5:
            break
        best, most = mixture, gain
    assert best is not None
    return best
