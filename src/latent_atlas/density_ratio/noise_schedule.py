r"""Noise levels: codes noised step by step until they are the boundary's.

Variance-preserving noise at the angle t, z_t = cos(t) z + sin(t) eps, leaves N(0, I) as it is and
turns any distribution into it as t goes from 0 to π/2. Boundaries that are affine images of N(0, I)
have the same levels in their own coordinates, where `whiten` turns them into N(0, I).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.shapes import Latents, Values

__all__ = ["NoisedCodes", "choose_levels", "noise_codes"]

PER_LEVEL = 4.0  # nats of KL(q || r) per level
FEWEST_LEVELS, MOST_LEVELS = 4, 64


@dataclass(frozen=True)
class NoisedCodes:
    """Codes z_t = cos(t) m + root · eps at some level, with the noise that made them.

    Attributes:
        latents: z_t, whitened, shape (n, d).
        noise: eps, shape (n, d).
        root: Standard deviation of z_t around cos(t) m, shape (n, 1) or (n, d), 0 or more.
    """

    latents: Latents
    noise: Latents
    root: Tensor


def noise_codes(
    codes: Codes, boundary: Boundary, angles: Values, *, generator: torch.Generator
) -> NoisedCodes:
    """Draw real codes and noise each to its own angle in radians, shape (n,).

    Where an image's posterior q(z|x) = N(mu, sigma²) stays diagonal when whitened, it counts as
    noise around m = mu: the root is sqrt(cos² sigma² + sin²), which tells of the score even at
    t = 0. Elsewhere m is a sample of the posterior.
    """
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    rows = torch.randint(len(codes), (len(angles),), generator=generator, device=generator.device)
    some = codes[rows]
    if some.log_variances is not None and boundary.diagonal:
        centres = boundary.whiten(some.means)
        spread = boundary.whiten(some.means + (0.5 * some.log_variances).exp()) - centres
        root = (cos.square() * spread.square() + sin.square()).sqrt()
    else:
        centres = boundary.whiten(some.sample_each(generator=generator))
        root = sin
    noise = torch.randn(centres.shape, generator=generator, device=generator.device)
    return NoisedCodes(cos * centres + root * noise, noise, root)


def choose_levels(kl: float) -> int:
    """The number of levels for a divergence KL(q || r) in nats: one per 4 nats, from 4 to 64.

    Examples:
        >>> choose_levels(1.0), choose_levels(61.0)
        (4, 16)
    """
    return min(max(FEWEST_LEVELS, math.ceil(kl / PER_LEVEL)), MOST_LEVELS)
