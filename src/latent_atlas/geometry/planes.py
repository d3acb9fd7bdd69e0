"""Two-dimensional windows on the latent space: planes, grids - numbers only.

Every point of a plane is a code, so the map is exact on every pixel of a chart.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import DensityRatioModel, entropy
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import Latents, Values, batched

__all__ = ["Chart", "Plane", "Window", "chart", "fit_window", "plane_through"]

PIECE = 4_096  # codes at a time: their activations stay in the cache, four times as fast
Places = Float[Tensor, "n 2"]  # coordinates on a plane


@dataclass(frozen=True)
class Plane:
    """A plane in Z with an origin and two orthonormal axes.

    Attributes:
        origin: Shape (d,).
        axes: Shape (2, d).
    """

    origin: Tensor
    axes: Tensor

    def project(self, latents: Latents) -> Places:
        """Coordinates (n, 2) of the nearest points of the plane."""
        return (latents - self.origin) @ self.axes.T

    def lift(self, coordinates: Places) -> Latents:
        """The codes (n, d) at coordinates (n, 2)."""
        return self.origin + coordinates @ self.axes

    def distance(self, latents: Latents) -> Values:
        """Distance of each code from the plane, shape (n,)."""
        return (latents - self.lift(self.project(latents))).norm(dim=1)

    def nearest(self, latents: Latents, count: int) -> Tensor:
        """Numbers of the `count` codes nearest to the plane, or of all if there are fewer, (k,).

        Codes in the plane are equally near, and taken in their order: by rounding errors alone,
            those around the origin
        would come first.
        """
        distance = self.distance(latents)
        rounding = 1e-5 * (latents - self.origin).norm(dim=1)
        return torch.where(distance > rounding, distance, 0).argsort(stable=True)[:count]


@dataclass(frozen=True)
class Window:
    """A rectangle of a plane: left < right, bottom < top, in latent units."""

    left: float
    right: float
    bottom: float
    top: float

    def grid(self, columns: int, rows: int, device: torch.device) -> Places:
        """Coordinates (rows · columns, 2) of a grid over the window, bottom row first."""
        x = torch.linspace(self.left, self.right, columns, device=device)
        y = torch.linspace(self.bottom, self.top, rows, device=device)
        return torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=1)


@dataclass(frozen=True)
class Chart:
    """The map's quantities over a window of a plane.

    Attributes:
        plane, window: Where.
        fields: By name, shape (rows, columns), bottom row first: realness, confusion (bits), and
            log_prob (nats) unless the boundary has no density.
    """

    plane: Plane
    window: Window
    fields: dict[str, Tensor]


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> Plane:
    """The plane through three codes (d,): A at the origin, B along the first axis, C above it.

    Raises:
        UserError: the three lie on one line.
    """
    first = b - a
    second = c - a
    x = first / first.norm().clamp_min(torch.finfo(a.dtype).tiny)
    y = second - (second @ x) * x
    if first.norm() == 0 or y.norm() < 1e-4 * second.norm().clamp_min(1e-4):
        raise UserError(
            "the three codes lie on one line, so they span no plane; choose a third one off it"
        )
    return Plane(a, torch.stack([x, y / y.norm()]))


def fit_window(coordinates: Places, margin: float = 0.35) -> Window:
    """The square window around coordinates (n, 2), enlarged on each side by a `margin` of it."""
    low, high = coordinates.min(dim=0).values, coordinates.max(dim=0).values
    centre, half = (low + high) / 2, (high - low).max() * (0.5 + margin)
    (left, bottom), (right, top) = (centre - half).tolist(), (centre + half).tolist()
    return Window(left, right, bottom, top)


@checked
@torch.no_grad()
def chart(ratio: DensityRatioModel, plane: Plane, window: Window, resolution: int = 256) -> Chart:
    """Evaluate the map on every pixel of a square window, `resolution` pixels a side."""
    z = plane.lift(window.grid(resolution, resolution, plane.origin.device))
    quantities: dict[str, Tensor] = {}
    if ratio.has_log_prob:
        both = [ratio.logit_and_log_prob(part) for part in z.split(PIECE)]
        logit, quantities["log_prob"] = (torch.cat(parts) for parts in zip(*both, strict=True))
    else:
        logit = batched(ratio.logit, z, PIECE)
    calibrated = ratio.calibrated(logit)
    quantities |= {"realness": torch.sigmoid(calibrated), "confusion": entropy(calibrated)}
    fields = {
        name: values.unflatten(0, (resolution, resolution)) for name, values in quantities.items()
    }
    return Chart(plane, window, fields)
