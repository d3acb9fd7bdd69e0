"""One plane of the latent space under several boundaries."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from matplotlib.figure import Figure
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density_ratio.calibration import Calibration
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.geometry.planes import chart
from latent_atlas.report.figures.map import LABELS, NEAR, extent, place
from latent_atlas.report.plots.boundaries import Against, boundaries_picture

__all__ = ["draw_boundaries", "fit_against"]

FAKES = 300  # fake codes drawn, at any distance from the plane


def fit_against(
    boundary: str,
    codes: Codes,
    held_out: Codes,
    config: MapConfig,
    *,
    seed: int = 0,
) -> LatentMap:
    """Fit a map of the same codes against another boundary, for `draw_boundaries`.

    The number of levels is chosen for each boundary, since their distances differ, unless
    `config.levels` is 1. Every boundary gets the same seed, so that a map does not depend on the
    others beside it.

    Arguments:
        boundary: One of `config.BOUNDARIES`.
        codes: Training codes.
        held_out: Codes for early stopping and calibration.
        config: Network and optimisation.

    Raises:
        UserError: there is no such boundary, or it cannot be drawn from around these codes.
    """
    config = replace(
        config, boundary=boundary, levels=1 if config.levels == 1 else None, ensemble_size=1
    )
    generator = torch.Generator(codes.means.device).manual_seed(seed)
    settings = {"config": config, "held_out": held_out, "generator": generator}
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
        maps: By boundary, all of the same codes.
        codes: These; one is sampled for each image, and those nearest to the plane are drawn.
        anchors: A, B and C, shape (d,) each.
        generator: Draws real and fake codes.
        resolution: Pixels along each side of the fields.
    """
    plane, window = place(anchors)
    real = codes.sample_each(generator=generator)
    real = real[plane.nearest(real, NEAR)]
    # In two dimensions all distances are rounding errors.
    reach = plane.distance(real).max() + 1e-4 * real.norm(dim=1).max()
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
    return boundaries_picture(panels, extent(window), plane.project(real).cpu().numpy(), **LABELS)


def _notes(calibration: Calibration) -> tuple[str, ...]:
    """The numbers that decide between boundaries, and the first words of the verdict."""
    levels = f"{calibration.levels} level{'s' if calibration.levels > 1 else ''}"
    return (
        f"KL(q || r) {calibration.kl:.1f} nats, {levels}",
        f"held-out cross-entropy {calibration.cross_entropy:.3f} nats",
        calibration.verdict().partition(" (")[0].partition(":")[0].partition(",")[0],
    )
