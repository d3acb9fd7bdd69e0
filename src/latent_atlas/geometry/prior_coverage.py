"""Dense: do the codes fill the prior, and do they use every coordinate?"""

import torch

from latent_atlas.codes.posterior import kl_standard_normal
from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, as_rows, batched

__all__ = ["active_units", "kl_per_image", "prior_inside"]

# Variance of a coordinate's means over images from which it is active (Burda et al. 2016).
ACTIVE = 0.01
PIECE = 4_096  # codes evaluated at a time


def kl_per_image(means: ArrayLike, log_variances: ArrayLike) -> float:
    """Mean over images of KL(q(z|x) || p(z)) in nats, p = N(0, I): what a code says of its image.

    Examples:
        >>> kl_per_image(torch.ones(3, 4), torch.zeros(3, 4))
        2.0
    """
    rows, spread = as_rows(means), as_rows(log_variances)
    if rows.shape != spread.shape:
        raise UserError(
            f"log_variances must have the shape of means, {tuple(rows.shape)}; it has "
            f"{tuple(spread.shape)}"
        )
    return kl_standard_normal(rows, spread).mean().item()


def active_units(means: ArrayLike) -> int:
    """How many coordinates have Var_x(mu_i(x)) > 0.01; the others do not change with the image.

    References:
        Importance Weighted Autoencoders, Burda et al. 2016, section 5.1.

    Examples:
        >>> active_units(torch.tensor([[1.0, 0.05], [-1.0, -0.05]]))
        1
    """
    return int((as_rows(means).var(dim=0, correction=0) > ACTIVE).sum())


@torch.no_grad()
@checked
def prior_inside(
    density: Density, threshold: float, n: int, *, generator: torch.Generator
) -> float:
    """Share of `n` prior draws z ~ N(0, I) with log q(z) of at least `threshold`, in [0, 1].

    Arguments:
        density: q.
        threshold: The log-density in nats below which a code is off-manifold.
        n: How many draws.
        generator: Source of all randomness, on the density's device.
    """
    z = StandardNormal(density.dimension).sample(n, generator=generator)
    return (batched(density.log_prob, z, PIECE) >= threshold).double().mean().item()
