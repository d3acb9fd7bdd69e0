"""Metrics as HTML tables, in words and with units."""

import json
import math
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from latent_atlas.evaluation.uncertainty import Number

__all__ = ["Meaning", "meaning_of", "shown", "table"]

MOST_ITEMS = 20


class Meaning(NamedTuple):
    """A metric in words."""

    words: str
    unit: str = ""
    """"share" for numbers in [0, 1] that read better in per cent."""
    about: str = ""
    """What to compare it with."""


_MEANINGS = {
    "mse": Meaning("mean squared error per pixel"),
    "mae": Meaning("mean absolute error per pixel"),
    "l1": Meaning("mean absolute error per pixel"),
    "psnr": Meaning("peak signal-to-noise ratio", "dB", "higher is closer"),
    "ssim": Meaning("structural similarity", "", "1 is identical"),
    "kl": Meaning(
        "KL divergence of the codes from the boundary",
        "nats",
        "far above 20, one classifier saturates",
    ),
    "normalising_constant": Meaning(
        "normalising constant of the map", "", "1 if it is a normalised density"
    ),
    "normalising_constant_error": Meaning("standard error of the normalising constant"),
    "inverse_constant": Meaning("E_q[exp -l]", "", "1 if the boundary covers the codes"),
    "effective_share": Meaning("effective sample size of importance weights", "share"),
    "cross_entropy": Meaning(
        "cross-entropy of D_z on held-out codes", "nats", "0.693 where it cannot tell"
    ),
    "floor": Meaning("edge of the population", "nats", "the 5 % quantile of held-out real codes"),
    "off_manifold": Meaning("frames outside the population", "share", "real data have 5 %"),
    "distance_left": Meaning("distance left to the goal", "share", "0 % for exact arrival"),
    "length_ratio": Meaning("length of the path over the straight line", "", "1 is straight"),
    "largest_jump": Meaning("longest step between two frames", "latent units"),
    "lowest_log_prob": Meaning("least likely frame", "nats"),
    "frechet": Meaning("Fréchet distance", "", "0 is the same distribution"),
    "precision": Meaning("precision", "share"),
    "recall": Meaning("recall", "share"),
    "kernel": Meaning("kernel distance, unbiased", "", "0 is the same distribution"),
    "density": Meaning("density", "", "1 for real images"),
    "coverage": Meaning("coverage", "share"),
    "feature_distance": Meaning("feature distance", "", "0 unchanged, 1 another image"),
    "feature_jump": Meaning("largest jump in features between two frames"),
    "off_manifold mixture": Meaning(
        "frames off the population, by a mixture", "share", "real codes have 5 %"
    ),
    "log_prob": Meaning("mean log-density of held-out codes", "nats"),
    "accuracy": Meaning("accuracy", "share"),
    "kl_per_image": Meaning("KL of an image's code from the prior", "nats"),
    "active_units": Meaning("coordinates that vary with the image"),
    "prior_inside": Meaning("draws of the prior inside the population", "share"),
    "path_length": Meaning("perceptual path length"),
    "relative_path_length": Meaning("path length over the squared distance of its ends"),
    "largest_step": Meaning("largest step between neighbouring codes over the mean one"),
    "pearson": Meaning("correlation of latent with image distances (Pearson)"),
    "spearman": Meaning("correlation of latent with image distances (Spearman)"),
    "near_pearson": Meaning("correlation between near places (Pearson)"),
    "near_spearman": Meaning("correlation between near places (Spearman)"),
    "condition": Meaning("condition number of the decoder's Jacobian, median"),
    "log_spread": Meaning("spread of its log singular values"),
    "distortion": Meaning("distortion: how unequal are the changes that unit steps make"),
    "n": Meaning("images"),
    "n_train": Meaning("images learned from"),
    "n_held_out": Meaning("images held out"),
    "image_size": Meaning("side", "pixels"),
    "rejects": Meaning("files that could not be read"),
    "digest": Meaning("fingerprint", "", "changes with any pixel, label or order"),
    "seconds": Meaning("time", "s"),
}


def meaning_of(name: str) -> Meaning:
    """A metric in words; a name that is not known stands for itself, and so do those of the networks, D_x and D_z."""
    return _MEANINGS.get(name, Meaning(name if name.startswith("D_") else name.replace("_", " ")))


def shown(value: Any, unit: str = "") -> str:
    """A value as escaped text.

    Examples:
        >>> shown(0.0471, "share"), shown(-12.3456), shown(180.0), shown(None), shown("<b>"), shown(["a", 1])
        ('4.7 %', '−12.3', '180', '–', '&lt;b&gt;', 'a, 1')
    """
    if value is None:
        return "–"
    if isinstance(value, Number):
        return _with_error(value, unit)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, unit).replace("-", "−")
    if isinstance(value, list):
        more = f", … ({len(value):,} in all)" if len(value) > MOST_ITEMS else ""
        return ", ".join(shown(item) for item in value[:MOST_ITEMS]) + more
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _number(value: int | float, unit: str) -> str:
    """Three significant digits, so that a column lines up and no noise is read as signal; integers in full."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else str(value)
    if unit == "share":
        return f"{100 * value:.1f} %"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return "0" if value == 0 else f"{value:#.3g}".rstrip(".")


def _with_error(number: Number, unit: str) -> str:
    """A value with its error, in its unit.

    Examples:
        >>> _with_error(Number(-0.5, 0.02), ""), _with_error(Number(0.5, 0.02), "share")
        ('−0.500 ± 0.020', '50.0 ± 2.0 %')
    """
    if not number.error:
        return shown(number.value, unit)
    scale, sign = (100, " %") if unit == "share" else (1, "")
    return f"{Number(scale * number.value, scale * number.error)}{sign}".replace("-", "−")


def table(caption: str, numbers: Mapping[str, Any]) -> str:
    """A section of metrics as HTML.

    Arguments:
        caption: Its title; empty where a heading above says it.
        numbers: Name to number, which gives one row each; or row (a planner, a sampler) to such a mapping, which
            gives one column per metric. Both may be mixed, which gives two tables. A number may also be an object
            with its `value`, how many `samples` `of` what it is measured on, and what is `good`.
    """
    rows = {
        name: value
        for name, value in numbers.items()
        if isinstance(value, Mapping) and "good" not in value
    }
    plain = {name: value for name, value in numbers.items() if name not in rows}
    title = f"<caption>{escape(caption[:1].upper() + caption[1:])}</caption>" if caption else ""
    return (_list(title, plain) if plain else "") + (_matrix(title, rows) if rows else "")


def _list(title: str, numbers: Mapping[str, Any]) -> str:
    lines = []
    for name, given in numbers.items():
        meaning = meaning_of(name)
        value = given
        if isinstance(given, Mapping):
            value = given["value"]
            meaning = meaning._replace(
                about=f"good: {given['good']} ({given['samples']:,} {given['of']})"
            )
        unit = "" if meaning.unit == "share" else f" {escape(meaning.unit)}"
        about = f"<small>{escape(meaning.about)}</small>" if meaning.about else ""
        lines.append(
            f'<tr><th scope="row">{escape(meaning.words)}{about}</th><td>{shown(value, meaning.unit)}{unit}</td></tr>'
        )
    return f'<div class="wide list"><table>{title}<tbody>{"".join(lines)}</tbody></table></div>'


def _matrix(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = ['<th scope="col"><span class="unseen">name</span></th>']
    for name in names:
        meaning = meaning_of(name)
        notes = ", ".join(
            note for note in (meaning.unit.replace("share", ""), meaning.about) if note
        )
        small = f"<small>{escape(notes)}</small>" if notes else ""
        head.append(f'<th scope="col">{escape(meaning.words)}{small}</th>')
    lines = []
    for label, row in rows.items():
        cells = "".join(f"<td>{shown(row.get(name), meaning_of(name).unit)}</td>" for name in names)
        lines.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="matrix">{title}<thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
