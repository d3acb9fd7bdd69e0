"""The log of a run as curves."""

from typing import Any, NamedTuple

import numpy as np

from latent_atlas.report.plots.lines import Curves

__all__ = ["progress"]


class _Panel(NamedTuple):
    phase: str
    name: str
    unit: str
    series: dict[str, str]
    """Key in the log to name in the legend."""
    logarithmic: bool = False


_PANELS = (
    _Panel(
        "model",
        "Reconstruction",
        "mean error per pixel",
        {"reconstruction": "reconstruction"},
        True,
    ),
    _Panel("model", "KL to the prior", "nats per image", {"kl": "kl"}),
    _Panel(
        "model",
        "Image discriminator",
        "loss",
        {
            "image_discriminator": "D_x",
            "discriminator": "D_x",
            "image_generator": "G",
            "generator": "G",
        },
    ),
    _Panel("model", "Gradient penalties", "squared norm", {"r1": "R1", "r2": "R2"}, True),
    _Panel(
        "model",
        "Feature matching",
        "error in D_x's features",
        {"feature_matching": "feature matching"},
    ),
    _Panel("model", "Isometry of G", "relative variance of |Jv|²", {"isometry": "isometry"}, True),
    _Panel(
        "model",
        "Latent discriminator",
        "nats",
        {"latent_discriminator": "D_z", "latent_fooling": "E against D_z"},
    ),
    _Panel(
        "map",
        "Map: latent discriminator",
        "nats",
        {"loss": "training", "held_out_loss": "held out"},
    ),
    _Panel("model", "Speed", "images per second", {"images_per_second": "speed"}),
)

_NO_QUANTITY = {"phase", "step", "steps"}


def progress(records: list[dict[str, Any]]) -> list[Curves]:
    """Panels of training curves.

    Arguments:
        records: The log: each with a phase, a step, and the losses of that training mode. Unknown
            quantities get a panel of their own, under their names.
    """
    logged = [r for r in records if _is_number(r.get("step"))]
    known = {(panel.phase, key) for panel in _PANELS for key in panel.series}
    found = {
        (str(r.get("phase", "")), key)
        for r in logged
        for key in r
        if key not in _NO_QUANTITY and _is_number(r[key])
    }
    others = [
        _Panel(phase, _words(phase, key), "", {key: key}) for phase, key in sorted(found - known)
    ]
    drawn = (_curves(panel, logged) for panel in (*_PANELS, *others))
    return [curves for curves in drawn if curves.series]


def _curves(panel: _Panel, logged: list[dict[str, Any]]) -> Curves:
    series = {}
    for key, name in panel.series.items():
        pairs = [
            (r["step"], r[key])
            for r in logged
            if r.get("phase", "") == panel.phase and _is_number(r.get(key))
        ]
        if pairs:
            steps, values = zip(*pairs, strict=True)
            series[name] = np.array(steps, np.int64), np.array(values, np.float64)
    return Curves(panel.name, panel.unit, series, panel.logarithmic)


def _words(phase: str, key: str) -> str:
    words = key.replace("_", " ")
    return words if phase == "model" else f"{phase}: {words}"


def _is_number(value: object) -> bool:
    """Whether it can be drawn: finite, and no larger than NumPy's integers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
