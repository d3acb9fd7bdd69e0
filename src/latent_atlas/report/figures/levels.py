"""One plane of the latent space at noise levels from sharp to smooth."""

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.geometry.planes import Window, chart
from latent_atlas.report.figures.map import LABELS, extent, place
from latent_atlas.report.plots.levels import Level, levels_picture

__all__ = ["draw_levels"]

SINES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.98)
"""sin t of the levels drawn; at 1 only the boundary is left."""
ARROWS = 15  # along each side of a panel


def draw_levels(
    latent_map: LatentMap, anchors: Sequence[Tensor], *, resolution: int = 160
) -> Figure:
    """Log-density and score on the plane through three codes, one panel for each noise level.

    Arguments:
        latent_map: The map.
        anchors: A, B and C, shape (d,) each.
        resolution: Pixels along each side of the fields.

    Raises:
        UserError: the map's boundary has no density, and so no score.
    """
    plane, window = place(anchors)
    side_x, side_y = (
        (window.right - window.left) / ARROWS / 2,
        (window.top - window.bottom) / ARROWS / 2,
    )
    inner = Window(
        window.left + side_x, window.right - side_x, window.bottom + side_y, window.top - side_y
    )
    places = inner.grid(ARROWS, ARROWS, latent_map.device)
    several = latent_map.calibration.levels > 1
    levels = []
    for sine in SINES if several else SINES[:1]:
        at_level = latent_map.at(math.asin(sine))
        z = plane.lift(places)
        # Where the boundary has no codes the density is 0, and D_z was never trained.
        known = at_level.log_prob(z).isfinite()[:, None]
        slopes = torch.where(known, at_level.score(z) @ plane.axes.T, torch.nan)
        log_prob = chart(at_level, plane, window, resolution).fields["log_prob"]
        name = f"sin t = {sine:g}{', sharp' if sine == 0 else ''}"
        levels.append(
            Level(name, log_prob.cpu().numpy(), places.cpu().numpy(), slopes.cpu().numpy())
        )
    note = (
        "The data distribution noised to z_t = cos(t) z + sin(t) eps, up to where only the "
        "boundary is left. "
        if several
        else "This map has a single level; with the boundaries prior, gaussian-diagonal and "
        "gaussian it can have several. "
    )
    note += "Arrows point along the score; their length grows with its logarithm."
    return levels_picture(levels, extent(window), note=note, **LABELS)
