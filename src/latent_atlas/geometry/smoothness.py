"""Continuous: does a small step in Z change the image a little?"""

from collections.abc import Callable

import torch
from torch import Tensor

from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Values, as_rows

__all__ = ["See", "largest_steps", "path_lengths"]

See = Callable[[Tensor], Tensor]
"""Codes (n, d) to features of their images, (n, ...)."""

# Share of a path over which its speed is measured; 1e-4 as in Karras et al. shows float32 rounding.
STEP = 1e-3


def distances(see: See, one: Latents, other: Latents) -> Values:
    """|f(G(z)) - f(G(z'))| for each pair of codes, shape (n,)."""
    return (see(one) - see(other)).flatten(1).norm(dim=1)


@torch.no_grad()
@checked
def path_lengths(
    see: See, start: ArrayLike, end: ArrayLike, *, generator: torch.Generator
) -> Values:
    """|f(G(z_t)) - f(G(z_{t + h}))|² / h² at a random t of z_t = (1 - t) z_A + t z_B, shape (n,).

    The mean over t and over pairs is the perceptual path length. It is at least the mean of
    |f(G(z_B)) - f(G(z_A))|², and equal to it where features move straight and evenly from one end
    to the other.

    References:
        A Style-Based Generator Architecture for Generative Adversarial Networks, Karras et al.
        2019, section 4.1.

    Arguments:
        see: Codes to features.
        start, end: z_A and z_B, shape (n, d).
        generator: Chooses t, on the codes' device.
    """
    start, end = _pairs(start, end)
    t = (1 - STEP) * torch.rand(len(start), 1, generator=generator, device=start.device)
    t = t.to(start)
    return (distances(see, start.lerp(end, t), start.lerp(end, t + STEP)) / STEP).square()


@torch.no_grad()
@checked
def largest_steps(see: See, start: ArrayLike, end: ArrayLike, steps: int) -> Values:
    """The largest of `steps` equal steps from z_A to z_B, in features, over their mean, shape (n,).

    1 where features change evenly, `steps` where all their change is in one of the steps; 1 where
    nothing changes.

    Arguments:
        see: Codes to features.
        start, end: z_A and z_B, shape (n, d).
        steps: How many, 1 or more.
    """
    start, end = _pairs(start, end)
    share = torch.linspace(0, 1, steps + 1, device=start.device)[:, None, None].to(start)
    seen = (
        see(start.lerp(end, share).flatten(0, 1)).flatten(1).unflatten(0, (steps + 1, len(start)))
    )
    lengths = seen.diff(dim=0).norm(dim=2)
    mean = lengths.mean(dim=0)
    return torch.where(mean > 0, lengths.amax(dim=0) / mean, 1.0)


def _pairs(start: ArrayLike, end: ArrayLike) -> tuple[Latents, Latents]:
    """Both as rows (n, d); a UserError if they are not as many codes of one dimension."""
    one = as_rows(start).detach()
    other = as_rows(end).detach().to(one)
    if one.shape != other.shape:
        raise UserError(
            f"start and end must have one shape (n, d); they have {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
    return one, other
