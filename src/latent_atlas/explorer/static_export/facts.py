"""The facts of an atlas that the page needs besides its networks and its codes."""

import math
from typing import Any

import torch

from latent_atlas import __version__
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.attributes.directions import principal_components
from latent_atlas.config.parse import settings_of
from latent_atlas.explorer.static_export.arrays import kept
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE

__all__ = ["facts"]

COMPONENTS = 16  # principal components that can be followed
OFFERED = (
    0.0,
    0.1,
    0.2,
    0.35,
    0.5,
    0.75,
    1.0,
    1.5,
    2.5,
)  # widths of the noise levels that can be shown
PLANNED = (0.6, 0.3, 2.0, 0.25, 0.125)  # and of those that paths and projections use
SHARES = 200  # equal ones, at whose ends the quantiles of log q are known
TRAVELS = {"linear": False, "slerp": False, "walk": False, "geodesic": True}
"""Planners that the page knows itself, and whether they need a density."""

LIMITS = {"pixels": 50_000_000, "bytes": 32 * 2**20, "frames": 65, "stops": 16, "codes": 256}


def facts(
    atlas: Atlas, name: str, networks: tuple[str, ...], *, unscored: str | None = None
) -> dict[str, Any]:
    """The facts that the explorer's server gives, and under `folder` those that only the page computes with.

    Arguments:
        atlas: What is explored.
        name: What it is called.
        networks: Names of the networks that were written.
        unscored: Why photos cannot be scored there; None where they can.
    """
    has_log_prob = atlas.map.has_log_prob
    channels, height, width = atlas.image_shape if atlas.model is not None else (0, 0, 0)
    parts = {part: kept(codes) for part, codes in atlas.codes.items()}
    return {
        "name": name,
        "version": __version__,
        "dimension": atlas.map.dimension,
        "image": {"channels": channels, "height": height, "width": width} if channels else None,
        "classes": list(_classes(atlas)),
        "attributes": _attributes(atlas),
        "levels": [
            math.atan(width) for width in (OFFERED if atlas.map.noise_levels else OFFERED[:1])
        ],
        "planners": [
            _planner(name, atlas) for name, needs in TRAVELS.items() if has_log_prob or not needs
        ],
        "samplers": ["mala"] if has_log_prob else [],
        "counts": {part: len(rows) for part, rows in parts.items()},
        "has_log_prob": has_log_prob,
        "edge": atlas.map.threshold(OFF_MANIFOLD_SHARE) if has_log_prob else None,
        "spread": atlas.codes["train"].moments()[1].diagonal().mean().sqrt().item(),
        "limits": LIMITS,
        "lacks": _lacks(atlas, networks),
        "training": False,
        "demo": False,
        "notes": [*atlas.map.warnings, atlas.map.calibration.verdict(), *_left_out(atlas, parts)],
        "folder": {
            "networks": list(networks),
            "calibration": {
                "scale": atlas.map.calibration.scale,
                "shift": atlas.map.calibration.shift,
            },
            "unscored": unscored,
            "components": _components(atlas).tolist(),
            "mean": atlas.codes["train"].means.mean(dim=0).tolist(),
            "levels": _levels(atlas),
            "off_manifold_share": OFF_MANIFOLD_SHARE,
        },
    }


def _lacks(atlas: Atlas, networks: tuple[str, ...]) -> list[str]:
    """What the page offers with a server and not here."""
    photos = [] if "encode" in networks else ["photos"]
    pictures = [] if atlas.model is not None else ["png", "gif"]
    traverse = [] if atlas.map.has_log_prob else ["traverse"]
    return ["keep", "pace", "embedding", "mp4", "npz", *traverse, *photos, *pictures]


def _planner(name: str, atlas: Atlas) -> dict[str, Any]:
    """A planner's settings as the atlas completes them."""
    planner = atlas.planner(name)
    options = [
        {"name": setting, "default": getattr(planner, setting)}
        for setting in settings_of(type(planner))
    ]
    return {"name": name, "options": options}


def _classes(atlas: Atlas) -> tuple[str, ...]:
    """Names of the classes, as `AttributeSet` has them."""
    return tuple(
        name
        for name in atlas.properties.names
        if not name.startswith("component:") and name != "class"
    )


def _components(atlas: Atlas) -> torch.Tensor:
    count = min(COMPONENTS, atlas.map.dimension)
    return principal_components(atlas.codes["train"].means, count)[0]


def _attributes(atlas: Atlas) -> list[dict[str, Any]]:
    """The principal components, with the 1 % and 99 % quantiles of the codes along each."""
    values = (atlas.codes["train"].means @ _components(atlas).T).sort(dim=0).values
    low, high = (values[round(share * (len(values) - 1))].tolist() for share in (0.01, 0.99))
    return [
        {
            "name": f"component:{number}",
            "kind": "component",
            "low": low[number],
            "high": high[number],
        }
        for number in range(len(low))
    ]


def _levels(atlas: Atlas) -> list[dict[str, Any]]:
    """For each level its angle, and the quantiles of held-out codes' log-density, or logit, at equal shares."""
    widths = sorted({*OFFERED, *PLANNED}) if atlas.map.noise_levels else [0.0]
    found = []
    for width in widths:
        level = atlas.map.noised(width) if width else atlas.map
        quantiles = [level.threshold(k / SHARES) for k in range(SHARES + 1)]
        found.append({"angle": math.atan(width), "quantiles": quantiles})
    return found


def _left_out(atlas: Atlas, parts: dict[str, torch.Tensor]) -> list[str]:
    """A sentence for each part whose codes are not all there."""
    return [
        f"{len(rows):,} of {len(atlas.codes[part]):,} {part.replace('_', '-')} codes are in this folder, chosen evenly"
        for part, rows in parts.items()
        if len(rows) < len(atlas.codes[part])
    ]
