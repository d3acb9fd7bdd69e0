"""The map: one plane of the latent space with real codes, anchors and paths."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.collection import Collection
from latent_atlas.errors import checked
from latent_atlas.geometry.planes import Plane, Window, chart, fit_window, plane_through
from latent_atlas.report.plots.heatmap import Field, Kind
from latent_atlas.report.plots.map import map_picture
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE
from latent_atlas.travel.path import LatentPath

__all__ = ["LABELS", "NEAR", "draw_map", "extent", "place"]

NEAR = 400  # real codes drawn, those nearest to the plane
LATTICE = 13  # decoded images along each side of the map's lattice
LABELS = {"x_label": "along A to B", "y_label": "across, towards C"}
"""Names of a plane's axes."""
PANELS: tuple[tuple[str, str, Kind], ...] = (
    ("Confusion", "bits", "confusion"),
    ("Realness", "probability", "realness"),
    ("Log-density", "nats", "log_prob"),
)


def place(anchors: Sequence[Tensor]) -> tuple[Plane, Window]:
    """The plane through three codes, shape (d,) each, and the window around them."""
    plane = plane_through(anchors[0], anchors[1], anchors[2])
    return plane, fit_window(plane.project(torch.stack(list(anchors))))


def extent(window: Window) -> tuple[float, float, float, float]:
    """Left, right, bottom and top, as matplotlib takes them."""
    return window.left, window.right, window.bottom, window.top


@checked
def draw_map(
    atlas: Atlas,
    anchors: Sequence[Tensor],
    paths: Mapping[str, LatentPath],
    *,
    resolution: int = 256,
) -> Figure:
    """The map on the plane through three codes, with real codes and paths on it.

    Arguments:
        atlas: The map, and the model, without which no images are drawn.
        anchors: A, B and C, shape (d,) each.
        paths: By name; they are projected onto the plane.
        resolution: Pixels along each side of the fields.
    """
    plane, window = place(anchors)
    corners = plane.project(torch.stack(list(anchors)))
    panels = _panels(atlas, chart(atlas.map, plane, window, resolution).fields)
    thumbnails = {}
    if atlas.shown_shape is not None:
        images = atlas.pictures(torch.stack(list(anchors))).cpu().numpy()
        thumbnails = dict(zip("ABC", zip(corners.cpu().numpy(), images, strict=True), strict=True))
    codes, labels = _codes_near(atlas, plane)
    lattice, lattice_name = _lattice(atlas, plane, window)
    return map_picture(
        panels,
        extent(window),
        threshold=atlas.map.threshold(OFF_MANIFOLD_SHARE),
        codes=codes,
        code_labels=labels,
        label_names=atlas.label_names,
        anchors=thumbnails,
        paths={row: plane.project(path.points[:, 0]).cpu().numpy() for row, path in paths.items()},
        lattice=lattice,
        lattice_name=lattice_name,
        title=None if atlas.collection is None else "A, B and C as the nearest real images",
        **LABELS,
    )


def _panels(atlas: Atlas, fields: Mapping[str, Tensor]) -> list[Field]:
    """The fields as they are drawn; of wide codes typicality in place of realness.

    Far from wide codes the heavy tails of their rest are likelier than the boundary, a Gaussian
    fitted to them, so realness is 1 there.
    """
    panels = [
        Field(name, unit, fields[kind].cpu().numpy(), kind)
        for name, unit, kind in PANELS
        if kind in fields  # without log_prob, where the boundary has no density
    ]
    if "log_prob" not in fields or atlas.map.of_rest(atlas.codes["train"].means[:1]) is None:
        return panels
    ranks = atlas.map.rank(fields["log_prob"].flatten()).view_as(fields["log_prob"])
    typicality = Field("Typicality", "held-out codes below", ranks.cpu().numpy(), "realness")
    return [typicality if one.kind == "realness" else one for one in panels]


def _codes_near(atlas: Atlas, plane: Plane) -> tuple[np.ndarray, np.ndarray | None]:
    """The real codes nearest to the plane, projected onto it, and their class numbers."""
    means = torch.cat([atlas.codes["train"].means, atlas.codes["held_out"].means])
    near = plane.nearest(means, NEAR)
    labels = None
    if len(atlas.labels) == 2:
        labels = torch.cat([atlas.labels["train"], atlas.labels["held_out"]])[near].cpu().numpy()
    return plane.project(means[near]).cpu().numpy(), labels


def _lattice(atlas: Atlas, plane: Plane, window: Window) -> tuple[np.ndarray | None, str]:
    """The images of equal cells of the window, and what they are."""
    if atlas.model is not None:
        return _decoded(atlas, plane, window), "What each place decodes to"
    if atlas.collection is None:
        return None, ""
    return _in_cells(atlas, atlas.collection, plane, window), "Real images at their places"


def _in_cells(atlas: Atlas, collection: Collection, plane: Plane, window: Window) -> np.ndarray:
    """For each cell, of the real images that the plane shows there the one nearest to the plane.

    Cells without any are white.
    """
    means = torch.cat([some.means for some in atlas.codes.values()])
    rows = torch.cat([*collection.rows.values()])
    order = plane.distance(means).argsort(descending=True)  # the nearest overwrites the others
    places = plane.project(means[order])
    sides = torch.tensor([window.right - window.left, window.top - window.bottom]).to(places)
    start = torch.tensor([window.left, window.bottom]).to(places)
    cells = ((places - start) / sides * LATTICE).floor().long()
    inside = ((cells >= 0) & (cells < LATTICE)).all(dim=1).cpu().numpy()
    shown = np.full((LATTICE, LATTICE), -1)
    column, row = cells.cpu().numpy()[inside].T
    shown[row, column] = rows[order].cpu().numpy()[inside]
    images = np.ones((LATTICE, LATTICE, *collection.image_shape), np.float32)
    images[shown >= 0] = collection.thumbnails(torch.from_numpy(shown[shown >= 0])).numpy()
    return images


def _decoded(atlas: Atlas, plane: Plane, window: Window) -> np.ndarray:
    """Images decoded at the centres of equal cells of the window, the lowest row first."""
    half_x = (window.right - window.left) / LATTICE / 2
    half_y = (window.top - window.bottom) / LATTICE / 2
    centres = Window(
        window.left + half_x, window.right - half_x, window.bottom + half_y, window.top - half_y
    )
    images = atlas.decode(plane.lift(centres.grid(LATTICE, LATTICE, atlas.device)))
    return images.unflatten(0, (LATTICE, LATTICE)).cpu().numpy()
