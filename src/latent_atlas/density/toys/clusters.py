"""Gaussians arranged into clusters, arcs, rings and moons."""

import math

import torch
from torch import Tensor

from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.errors import UserError

__all__ = ["arc", "clusters", "ring", "two_clusters", "two_moons"]


def two_clusters(dimension: int, distance: float, scale: float = 0.5) -> GaussianMixture:
    """Two equal clusters `distance` apart along the first axis, each N(m, scale² I)."""
    means = torch.zeros(2, dimension)
    means[0, 0], means[1, 0] = -distance / 2, distance / 2
    return GaussianMixture(torch.tensor([0.5, 0.5]), means, torch.full((2,), scale))


def clusters(
    dimension: int,
    count: int = 4,
    *,
    generator: torch.Generator,
    radius: float = 2.0,
    scale: float = 0.5,
) -> GaussianMixture:
    """Clusters of different weights and widths in random directions, `radius` from the origin.

    The directions are the axes of a random rotation and then their opposites, so any two centres
    are sqrt(2) radius apart or more. The weights grow as 1 : 2 : ... : count while the widths fall
    evenly from 1.6 scale to scale: the rarest cluster is the widest.

    Arguments:
        dimension: d, 2 or more.
        count: How many clusters, 1 to 2 d.
        generator: Draws the rotation.
        radius: Distance of every centre from the origin.
        scale: Standard deviation of the narrowest cluster.

    Raises:
        UserError: there are more clusters than directions.

    Examples:
        >>> world = clusters(8, generator=torch.Generator().manual_seed(0))
        >>> world.means.norm(dim=1)
        tensor([2.0000, 2.0000, 2.0000, 2.0000])
    """
    if not 1 <= count <= 2 * dimension:
        raise UserError(
            f"{dimension} dimensions have room for 1 to {2 * dimension} clusters, not {count}"
        )
    noise = torch.randn(dimension, dimension, generator=generator, device=generator.device)
    axes = torch.linalg.qr(noise.cpu()).Q.T  # mps has no QR
    means = radius * torch.cat([axes, -axes])[:count]
    weights = torch.arange(1.0, count + 1)
    return GaussianMixture(
        weights / weights.sum(), means, torch.linspace(1.6 * scale, scale, count)
    )


def arc(count: int = 9, radius: float = 2.0, scale: float = 0.35) -> GaussianMixture:
    """A half ring in the plane: equal Gaussians from (radius, 0) over (0, radius) to (-radius, 0).

    The straight line between two of them crosses the empty region under the arc.

    Arguments:
        count: How many Gaussians.
        radius: Of the half circle that their centres lie on.
        scale: Their standard deviation.
    """
    means = radius * _circle(torch.linspace(0, math.pi, count))
    return GaussianMixture(torch.full((count,), 1 / count), means, torch.full((count,), scale))


def ring(
    dimension: int = 2,
    count: int = 24,
    *,
    radius: float = 1.5,
    scale: float = 0.2,
    rest: float = 0.7,
) -> GaussianMixture:
    """A closed ring of `count` equal Gaussians around the origin of the first two coordinates.

    Arguments:
        dimension: d, 2 or more.
        count: How many Gaussians; it looks smooth while 2π radius / count is under 2 scale.
        radius: Of the circle that their centres lie on.
        scale: Their standard deviation in the first two coordinates.
        rest: Their standard deviation in the others.
    """
    angles = 2 * math.pi * torch.arange(count) / count
    return _in_the_plane(radius * _circle(angles), dimension, scale, rest)


def two_moons(
    dimension: int = 2,
    count: int = 32,
    *,
    radius: float = 1.5,
    scale: float = 0.15,
    rest: float = 0.7,
) -> GaussianMixture:
    """Two interleaved half rings in the first two coordinates, each of count / 2 equal Gaussians.

    The upper moon is centred at (-radius / 2, -radius / 4) and open below, the lower one is its
    image under z -> -z: each ends inside the other.

    Arguments:
        dimension: d, 2 or more.
        count: How many Gaussians, even; the moons look smooth while 2π radius / count is under
            2 scale.
        radius: Of both half rings.
        scale: Standard deviation of the Gaussians in the first two coordinates.
        rest: Their standard deviation in the others.

    Raises:
        UserError: count is odd.
    """
    if count % 2:
        raise UserError(
            f"two moons share their Gaussians evenly; choose an even count, not {count}"
        )
    upper = radius * (_circle(torch.linspace(0, math.pi, count // 2)) - torch.tensor([0.5, 0.25]))
    return _in_the_plane(torch.cat([upper, -upper]), dimension, scale, rest)


def _circle(angles: Tensor) -> Tensor:
    """Points on the unit circle at `angles` in radians, shape (k, 2)."""
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _in_the_plane(centres: Tensor, dimension: int, scale: float, rest: float) -> GaussianMixture:
    """Equal Gaussians at `centres` (k, 2), `scale` wide in the plane and N(0, rest²) elsewhere."""
    if dimension < 2:
        raise UserError(f"a plane needs 2 dimensions or more, not {dimension}")
    count = len(centres)
    means, scales = torch.zeros(count, dimension), torch.full((count, dimension), rest)
    means[:, :2], scales[:, :2] = centres, scale
    return GaussianMixture(torch.full((count,), 1 / count), means, scales)
