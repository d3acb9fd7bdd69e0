"""The facts of an atlas that the page computes with, where there is no server."""

import math
from typing import Any

from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.config.parse import settings_of
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.facts import WIDTHS, facts_of
from latent_atlas.explorer.static_export.arrays import kept
from latent_atlas.sampling.whitened import round_coordinates
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["facts"]

PLANNED = (0.6, 0.4, 0.3, 2.0, 0.25, 0.125)  # noise widths that planners and projections use
SHARES = 200  # equal ones, at whose ends the quantiles of log q are known
TRAVELS = {"linear": False, "slerp": False, "walk": False, "typical": True, "geodesic": True}
"""Planners that the page knows itself, and whether they need a density."""

LIMITS = {"pixels": 50_000_000, "bytes": 32 * 2**20, "frames": 65, "waypoints": 16, "codes": 256}


def facts(
    atlas: Atlas,
    name: str,
    networks: tuple[str, ...],
    *,
    unscored: str | None = None,
    light: bool = False,
) -> dict[str, Any]:
    """The facts in the server's form; `folder` has what only the page itself computes with.

    Arguments:
        atlas: What is explored.
        name: What the page calls it.
        networks: Names of the networks that were written.
        unscored: Why photos get no anomaly scores there; None where they do.
        light: Whether fewer codes were written.
    """
    known = Known(atlas, lambda: None)
    told = facts_of(known, name, LIMITS).model_dump()
    parts = {part: kept(atlas, part, light=light) for part in atlas.codes}
    planners = [
        _planner(name, atlas)
        for name, needs_density in TRAVELS.items()
        if known.has_log_prob or not needs_density
    ]
    return told | {
        "attributes": [one for one in told["attributes"] if one["kind"] == "component"],
        "planners": planners,
        "samplers": ["mala"] if known.has_log_prob else [],
        "counts": {part: len(rows) for part, rows in parts.items()},
        "lacks": _lacks(known, networks),
        "warnings": [*told["warnings"], *_left_out(atlas, parts)],
        "folder": {
            "networks": list(networks),
            "calibration": {
                "scale": atlas.map.calibration.scale,
                "shift": atlas.map.calibration.shift,
            },
            "unscored": unscored,
            "components": known.components.tolist(),
            "mean": atlas.codes["train"].means.mean(dim=0).tolist(),
            "middle": _middle(atlas),
            "levels": _levels(atlas),
            "off_manifold_share": OFF_MANIFOLD_SHARE,
        },
    }


def _lacks(known: Known, networks: tuple[str, ...]) -> list[str]:
    """What the page offers with a server, and cannot do here."""
    photos = [] if "encode" in networks else ["photos"]
    pictures = [] if known.atlas.shown_shape is not None else ["png", "gif"]
    traverse = [] if known.has_log_prob else ["traverse"]
    lacks = ["keep", "pace", "membership", "embedding", "mp4", "npz"]
    return [*lacks, *traverse, *photos, *pictures]


def _planner(name: str, atlas: Atlas) -> dict[str, Any]:
    """A planner's settings as the atlas completes them."""
    planner = atlas.planner(name)
    options = [
        {"name": setting, "default": getattr(planner, setting)}
        for setting in settings_of(type(planner))
    ]
    return {"name": name, "options": options}


def _middle(atlas: Atlas) -> dict[str, Any]:
    """The mean that typical paths turn round, and the sum of the codes' variances."""
    middle = round_coordinates(atlas.map, atlas.device)
    return {"mean": middle.mean.tolist(), "spread": middle.factor.square().sum().item()}


def _levels(atlas: Atlas) -> list[dict[str, Any]]:
    """For each level its angle, and quantiles of held-out codes' log-density or logit."""
    widths = sorted({*WIDTHS, *PLANNED}) if atlas.map.noise_levels else [0.0]
    found = []
    for width in widths:
        level = atlas.map.noised(width) if width else atlas.map
        quantiles = [level.threshold(k / SHARES) for k in range(SHARES + 1)]
        found.append({"angle": math.atan(width), "quantiles": quantiles})
    return found


def _left_out(atlas: Atlas, parts: dict[str, Tensor]) -> list[str]:
    """A sentence for each part whose codes are not all there."""
    return [
        f"this folder has {len(rows):,} of {len(atlas.codes[part]):,} "
        f"{part.replace('_', '-')} codes, chosen evenly"
        for part, rows in parts.items()
        if len(rows) < len(atlas.codes[part])
    ]
