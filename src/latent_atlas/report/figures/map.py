"""Plates: one plane under every boundary, one map level by level, and whether its D_z is honest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density_ratio.calibration import Calibration, measure
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.geometry.planes import Plane, Window, chart, fit_window, plane_through
from latent_atlas.report.plots.boundaries import Against, boundaries_picture
from latent_atlas.report.plots.levels import Level, levels_picture
from latent_atlas.report.plots.reliability import Groups, reliability_picture

__all__ = ["NEAR", "draw_boundaries", "draw_levels", "draw_reliability", "fit_against"]

NEAR = 400  # real codes drawn, those nearest to the plane
FAKES = 300  # fake codes drawn, wherever they are
SINES = (
    0.0,
    0.2,
    0.4,
    0.6,
    0.8,
    0.98,
)  # sin t of the levels drawn; at 1 nothing but the boundary is left
ARROWS = 15  # along each side of a panel
DRAWS = 20_000  # codes on each side, for the reliability
LABELS = {"x_label": "along A to B", "y_label": "across, towards C"}


def fit_against(
    boundary: str,
    codes: Codes,
    held_out: Codes,
    config: MapConfig,
    *,
    seed: int = 0,
    log: Callable[[dict[str, float]], None] | None = None,
) -> LatentMap:
    """Learn a map of the same codes against another boundary, for `draw_boundaries`.

    Levels are chosen anew, since each boundary is another distance away, unless `config` insists on one. Every boundary
    gets the same seed, so that a map does not depend on which others are drawn beside it. What should be known of
    the codes is in the map's `notes`.

    Arguments:
        boundary: One of `config.BOUNDARIES`.
        codes: To learn from.
        held_out: To stop by and be judged by.
        config: Network and optimisation.
        log: Called with a record of the losses now and then.

    Raises:
        UserError: there is no such boundary, or it cannot be drawn from around these codes.
    """
    config = replace(config, boundary=boundary, levels=1 if config.levels == 1 else None, members=1)
    generator = torch.Generator(codes.means.device).manual_seed(seed)
    settings = {"config": config, "held_out": held_out, "generator": generator, "log": log}
    return LatentMap.fit(codes.means, codes.log_variances, warn=False, **settings)


def draw_boundaries(
    maps: Mapping[str, LatentMap],
    codes: Codes,
    anchors: Sequence[Tensor],
    *,
    generator: torch.Generator,
    resolution: int = 160,
) -> Figure:
    """Realness under each boundary on the plane through three codes, with real and fake codes.

    Arguments:
        maps: By boundary, all of one population.
        codes: That population; one code is drawn of each image, and the nearest to the plane are shown.
        anchors: A, B and C, shape (d,) each.
        generator: Draws real and fake codes.
        resolution: Pixels along each side of the fields.
    """
    plane, window = _place(anchors)
    real = codes.sample_each(generator=generator)
    real = real[plane.nearest(real, NEAR)]
    reach = (
        plane.distance(real).max() + 1e-4 * real.norm(dim=1).max()
    )  # where d is 2 all distances are rounding errors
    panels = []
    for name, latent_map in maps.items():
        fakes = latent_map.boundary.sample(FAKES, generator=generator)
        panels.append(
            Against(
                name,
                chart(latent_map, plane, window, resolution).fields["realness"].cpu().numpy(),
                plane.project(fakes).cpu().numpy(),
                (plane.distance(fakes) <= reach).cpu().numpy(),
                _notes(latent_map.calibration),
            )
        )
    return boundaries_picture(panels, _extent(window), plane.project(real).cpu().numpy(), **LABELS)


def draw_levels(
    latent_map: LatentMap, anchors: Sequence[Tensor], *, resolution: int = 160
) -> Figure:
    """Log-density and score from sharp to smooth on the plane through three codes; a single-level map has one panel.

    Arguments:
        latent_map: The map.
        anchors: A, B and C, shape (d,) each.
        resolution: Pixels along each side of the fields.

    Raises:
        UserError: the map's boundary has no density, and so no score.
    """
    plane, window = _place(anchors)
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
        # Where the boundary has no codes the density is 0, and D_z has learned nothing that an arrow could show.
        known = at_level.log_prob(z).isfinite()[:, None]
        slopes = torch.where(known, at_level.score(z) @ plane.axes.T, torch.nan)
        log_prob = chart(at_level, plane, window, resolution).fields["log_prob"]
        name = f"sin t = {sine:g}{', sharp' if sine == 0 else ''}"
        levels.append(
            Level(name, log_prob.cpu().numpy(), places.cpu().numpy(), slopes.cpu().numpy())
        )
    note = (
        "The population noised to z_t = cos(t) z + sin(t) eps, from sharp to where only the boundary is left. "
        if several
        else "This map has a single level; against the boundaries prior, gaussian-diagonal and gaussian it can have "
        "several, from sharp to smooth. "
    )
    note += "Arrows point along the score; their length grows with its logarithm."
    return levels_picture(levels, _extent(window), note=note, **LABELS)


def draw_reliability(
    latent_map: LatentMap, held_out: Codes, *, generator: torch.Generator
) -> Figure:
    """Said against seen on held-out codes and the boundary's, before and after the measured correction."""
    scale, shift = latent_map.calibration.scale, latent_map.calibration.shift
    drawn = (
        held_out.sample(DRAWS, generator=generator),
        latent_map.boundary.sample(DRAWS, generator=generator),
    )
    real, fake = (latent_map.logit(codes) for codes in drawn)
    before, after = measure(real, fake), measure(scale * real + shift, scale * fake + shift)
    correction = f"{scale:.2f}\u00a0l\u00a0{'+' if shift >= 0 else '−'}\u00a0{abs(shift):.2f}"
    caption = (
        f"Held-out cross-entropy {before.cross_entropy:.3f} nats as learned, {after.cross_entropy:.3f} corrected to "
        f"{correction}; {math.log(2):.3f} is a coin's. The area of a dot grows with the codes in its group."
    )
    return reliability_picture(
        [_groups("as learned", before), _groups("corrected", after)], caption
    )


def _place(anchors: Sequence[Tensor]) -> tuple[Plane, Window]:
    """The plane through three codes, and the window around them."""
    plane = plane_through(anchors[0], anchors[1], anchors[2])
    return plane, fit_window(plane.project(torch.stack(list(anchors))))


def _extent(window: Window) -> tuple[float, float, float, float]:
    return window.left, window.right, window.bottom, window.top


def _notes(calibration: Calibration) -> tuple[str, ...]:
    """What decides between boundaries, and the opening words of the verdict."""
    levels = f"{calibration.levels} level{'s' if calibration.levels > 1 else ''}"
    return (
        f"KL(q || r) {calibration.kl:.1f} nats, {levels}",
        f"held-out cross-entropy {calibration.cross_entropy:.3f} nats",
        calibration.verdict().partition(" (")[0].partition(":")[0].partition(",")[0],
    )


def _groups(name: str, measured: Calibration) -> Groups:
    curve = measured.reliability
    return Groups(name, *map(np.array, (curve.predicted, curve.observed, curve.count)))
