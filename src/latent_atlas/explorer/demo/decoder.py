"""A synthetic decoder that draws a shape, and an encoder that finds the code of a drawing.

A code has six coordinates of order one: two of the colour, whose angle is the hue and whose length
the saturation; the kind, from star over circle to square; the size; and the position, across and
up.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Images, Latents, Values

__all__ = ["DIMENSION", "SIDE", "draw", "recognise"]

DIMENSION = 6
SIDE = 32  # pixels
SOFT = 0.06  # width of an edge, in half sides
PAPER = 0.06  # brightness around a shape
STARTS = (-1.5, 0.0, 1.5)  # kinds that the encoder starts from
HUES = 6
STEPS = 120


def draw(latents: Latents) -> Images:
    """G(z): the drawing of each code, shape (n, 3, 32, 32), in [0, 1], differentiable.

    A shape is where |x / s|^p + |y / s|^p < 1, with p = 2^(1 + kind): 2 for a circle, more for
    squares, less for stars.
    """
    colour, kind, size, across, up = _coordinates(latents)
    ticks = (torch.arange(SIDE, device=latents.device) + 0.5) / SIDE * 2 - 1
    radius = size[:, None, None]
    x = (ticks[None, None, :] - across[:, None, None]).abs().clamp_min(1e-4) / radius
    y = (-ticks[None, :, None] - up[:, None, None]).abs().clamp_min(1e-4) / radius
    p = torch.exp2(1 + kind)[:, None, None]
    length = torch.logaddexp(p * x.log(), p * y.log()).div(p).exp()
    inside = torch.sigmoid((1 - length) * radius / SOFT * 2)[:, None]
    return PAPER + (colour[:, :, None, None] - PAPER) * inside


@torch.no_grad()
def recognise(images: Images) -> Latents:
    """The codes whose drawings are nearest to images, shape (n, 6), by least squares.

    Each of several starts has the position and the size of the bright pixels, and one kind and hue.
    """
    starts = torch.stack(
        [_start(images, kind, hue) for kind in STARTS for hue in range(HUES)], dim=1
    )  # (n, k, 6)
    n, k, _ = starts.shape
    z, wanted = starts.flatten(0, 1), images.repeat_interleave(k, dim=0)
    with torch.inference_mode(False), torch.enable_grad():
        wanted = wanted.clone()
        z = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            optimizer.zero_grad()
            _errors(z, wanted).sum().backward()
            optimizer.step()
            schedule.step()
    z = z.detach()
    best = _errors(z, wanted).unflatten(0, (n, k)).argmin(dim=1)
    return z.unflatten(0, (n, k))[torch.arange(n, device=z.device), best]


def _errors(latents: Latents, images: Images) -> Values:
    return (draw(latents) - images).square().flatten(1).sum(dim=1)


def _coordinates(latents: Latents) -> tuple[Float[Tensor, "n 3"], Values, Values, Values, Values]:
    """Colour, kind, size and place, each in its own unit."""
    u, v, kind, size, across, up = latents.unbind(dim=1)
    thirds = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3], device=latents.device)
    # The colour circle is a circle: its middle is grey, and every hue is as far from it.
    swing = 0.2 * (u[:, None] * thirds.cos() + v[:, None] * thirds.sin())
    return (
        (0.5 + swing).clamp(0, 1),
        1.5 * torch.tanh(kind / 1.5),
        0.34 * torch.exp(0.25 * torch.tanh(size)),
        0.42 * torch.tanh(across / 2),
        0.42 * torch.tanh(up / 2),
    )


def _start(images: Images, kind: float, hue: int) -> Latents:
    """A code to begin with: the brightest middle, and a kind and a hue."""
    weight = (images - PAPER).abs().sum(dim=1).clamp_min(1e-6)
    weight = weight / weight.sum(dim=(1, 2), keepdim=True)
    ticks = (torch.arange(SIDE, device=images.device) + 0.5) / SIDE * 2 - 1
    across = (weight.sum(dim=1) * ticks).sum(dim=1)
    up = (weight.sum(dim=2) * -ticks).sum(dim=1)
    angle = 2 * math.pi * hue / HUES
    places = [2 * torch.atanh((one / 0.42).clamp(-0.95, 0.95)) for one in (across, up)]
    rest = [
        torch.full_like(across, value)
        for value in (2.0 * math.cos(angle), 2.0 * math.sin(angle), kind, 0.0)
    ]
    return torch.stack([*rest, *places], dim=1)
