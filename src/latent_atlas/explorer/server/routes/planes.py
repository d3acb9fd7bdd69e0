"""Planes through Z: the map on every pixel, the score as arrows, and the real codes."""

from typing import Any

import numpy as np
import torch
from fastapi import APIRouter
from torch import Tensor

from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.explorer.cache import Known, window_of
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.safetensors_response import ARRAYS, Arrays
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.geometry.planes import Plane, Window, chart, fit_window, plane_through
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["routes"]

routes = APIRouter()
MEASURED = 200  # codes over which the slope of an attribute, of decoded images, is averaged
EXACT = 50_000  # codes of a part up to which their places are sent in single precision
TINY = 1e-30
LEAST = 1e-3  # sine of the angle between two directions that span a plane


@routes.post("/plane", responses=ARRAYS, response_class=Arrays)
async def plane(body: schemas.Plane, asking: Asking) -> Arrays:
    """The map on a plane.

    Arrays log_prob (nats; missing where the map has no density), realness and confusion (bits),
    these two in half precision, each (resolution, resolution), bottom row first; arrows (k, k, 2),
    the score in the plane's axes at the centres of equal cells, bottom row first; origin (d) and
    axes (2, d), orthonormal. Facts: window, and threshold, the log-density below which a code is
    off-manifold at this level.
    """
    return await asking.of(lambda known: _plane(known, body), slow=True)


@routes.post("/points", responses=ARRAYS, response_class=Arrays)
async def points(body: schemas.Points, asking: Asking) -> Arrays:
    """Real codes projected onto a plane: arrays xy (n, 2), and distance (n) from it.

    Of parts with more than 50,000 codes, xy are 16-bit numbers, of which 0 and 65,535 are the edges
    of the fact bounds, and distance bytes, of which 255 is the fact farthest. Facts: total, the
    number of all codes.
    """

    def work(known: Known) -> Arrays:
        one = _given(known, body.origin, body.axes)
        part = known.parts[body.part]
        some = part.codes(slice(body.offset, body.offset + body.count))
        xy, distance = one.project(some), one.distance(some)
        if part.total > EXACT and len(some):
            return _quantised(xy, distance, part.total)
        return Arrays({"xy": xy, "distance": distance}, {"total": part.total})

    return await asking.of(work)


@routes.post("/raster", responses=ARRAYS, response_class=Arrays)
async def raster(body: schemas.Raster, asking: Asking) -> Arrays:
    """How many of all real codes are in each cell of a window of a plane.

    Array counts (resolution, resolution) in bytes, bottom row first: square roots of the numbers,
    of which 255 is that of the fact densest. Facts: total, the number of all codes; 0, and no
    array, where `points` gives all of them, or where they are no longer at hand.
    """
    return await asking.of(lambda known: _counted(known, body), slow=True)


def _counted(known: Known, body: schemas.Raster) -> Arrays:
    one, window = _given(known, body.origin, body.axes), body.window.of_chart()
    found = known.rasters.get(body.part)
    if found is None:
        return Arrays({}, {"total": 0})
    counts = found.counts(one, window, body.resolution)
    densest = int(counts.max())
    # Rounded up, so that no cell with a code looks empty.
    roots = (255 * (counts / max(densest, 1)).sqrt()).ceil().to(torch.uint8)
    return Arrays({"counts": roots}, {"total": found.total, "densest": densest}, compressed=True)


def _quantised(xy: Tensor, distance: Tensor, total: int) -> Arrays:
    """Places in 16 bits and distances in 8: what a screen can tell apart."""
    low, high = xy.min(dim=0).values, xy.max(dim=0).values
    shares = (xy - low) / (high - low).clamp_min(TINY)
    farthest = float(distance.max())
    (left, bottom), (right, top) = low.tolist(), high.tolist()
    bounds = {"left": left, "right": right, "bottom": bottom, "top": top}
    return Arrays(
        {
            "xy": (65_535 * shares).round().cpu().numpy().astype(np.uint16),
            "distance": (255 * distance / max(farthest, TINY)).round().to(torch.uint8),
        },
        {"total": total, "bounds": bounds, "farthest": farthest},
    )


def _plane(known: Known, body: schemas.Plane) -> Arrays:
    one, usual = _chosen(known, body)
    window = usual if body.window is None else body.window.of_chart()
    level = (
        known.atlas.map
        if body.level == 0
        else known.atlas.map.noised(float(torch.tensor(body.level).tan()))
    )
    fields = chart(level, one, window, body.resolution).fields
    # Half precision does for shares and bits, and not for nats, which can be many.
    fields = {name: v if name == "log_prob" else v.half() for name, v in fields.items()}
    arrays: dict[str, Tensor] = {**fields, "origin": one.origin, "axes": one.axes}
    if body.arrows and known.has_log_prob:
        arrays["arrows"] = _arrows(level, one, window, body.arrows)
    threshold = level.threshold(OFF_MANIFOLD_SHARE) if known.has_log_prob else None
    return Arrays(arrays, {"window": vars(window), "threshold": threshold})


def _chosen(known: Known, body: schemas.Plane) -> tuple[Plane, Window]:
    """The requested plane, and its default window.

    Raises:
        UserError: the request does not define a plane.
    """
    if body.kind == "principal":
        return known.principal
    if body.kind == "through":
        if body.codes is None or len(body.codes) != 3:
            raise UserError(f"a plane goes through three codes; {len(body.codes or [])} were given")
        corners = tensor(body.codes, known.atlas)
        one = plane_through(corners[0], corners[1], corners[2])
        return one, fit_window(one.project(corners))
    if body.kind == "attributes":
        one = _of_attributes(known, body)
    elif body.origin is None or body.axes is None:
        raise UserError("a given plane is an origin and two axes; send both")
    else:
        one = _given(known, body.origin, body.axes)
    return one, window_of(one, known.parts["train"].means)


def _of_attributes(known: Known, body: schemas.Plane) -> Plane:
    """The plane through the codes' mean, or a given code, along the slopes of two attributes."""
    names = body.attributes or []
    if len(names) != 2:
        raise UserError(f"a plane of attributes takes two of them; {len(names)} were given")
    means = known.parts["train"].means
    some = means[:: max(1, len(means) // MEASURED)]
    directions = []
    for name in names:
        slopes = known.atlas.properties[name].slopes(some)
        if slopes.shape[1] != 1:
            raise UserError(
                f"'{name}' has several values, so it has no one direction; name one of its classes"
            )
        directions.append(slopes[:, 0].mean(dim=0))
    origin = means.mean(dim=0) if body.origin is None else tensor([body.origin], known.atlas)[0]
    return _spanned(origin, *directions)


def _given(known: Known, origin: list[float], axes: list[list[float]]) -> Plane:
    if len(axes) != 2:
        raise UserError(f"a plane has two axes; {len(axes)} were given")
    return _spanned(*tensor([origin, *axes], known.atlas))


def _spanned(origin: Tensor, first: Tensor, second: Tensor) -> Plane:
    """The plane of two directions, orthonormalised.

    Raises:
        UserError: they are zero or parallel.
    """
    tiny = torch.finfo(first.dtype).tiny
    x, y = first / first.norm().clamp_min(tiny), second / second.norm().clamp_min(tiny)
    across = y - (y @ x) * x
    if x.norm() < 0.5 or across.norm() < LEAST:
        raise UserError(
            "the two directions are parallel or zero, so they span no plane; choose others"
        )
    return Plane(origin, torch.stack([x, across / across.norm()]))


def _arrows(level: LatentMap, one: Plane, window: Window, count: int) -> Any:
    """The score in the plane's axes at the centres of equal cells, shape (count, count, 2)."""
    half_x = (window.right - window.left) / count / 2
    half_y = (window.top - window.bottom) / count / 2
    centres = Window(
        window.left + half_x, window.right - half_x, window.bottom + half_y, window.top - half_y
    )
    places = one.lift(centres.grid(count, count, one.origin.device))
    return (level.score(places) @ one.axes.T).unflatten(0, (count, count))
