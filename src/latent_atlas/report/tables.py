"""Metrics as tables of plain text, in words and with units."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from latent_atlas.evaluation.uncertainty import Number

__all__ = ["Heading", "Meaning", "Row", "Table", "meaning_of", "shown", "tables"]

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
        "far above 20, a single classifier saturates",
    ),
    "kl_error": Meaning("its standard error", "nats"),
    "kl_median": Meaning("median log-ratio of held-out codes", "nats"),
    "normalising_constant": Meaning(
        "normalising constant of the map", "", "1 if it is a normalised density"
    ),
    "normalising_constant_error": Meaning("standard error of the normalising constant"),
    "inverse_constant": Meaning("E_q[exp -l]", "", "1 if the boundary covers the codes"),
    "effective_share": Meaning("effective sample size of importance weights", "share"),
    "cross_entropy": Meaning(
        "cross-entropy of D_z on held-out codes", "nats", "0.693 for guessing"
    ),
    "threshold": Meaning("density threshold", "nats", "5 % quantile of held-out real codes"),
    "off_manifold": Meaning("frames off-manifold", "share", "real codes: 5 %"),
    "non_members": Meaning("frames unlike real codes", "share", "real codes: 5 % by construction"),
    "distance_left": Meaning("distance left to the goal", "share", "0 % for an exact arrival"),
    "length_ratio": Meaning("length of the path over the straight line", "", "1 is straight"),
    "largest_jump": Meaning("longest step between two frames", "latent units"),
    "lowest_log_prob": Meaning("lowest log-density of a frame", "nats"),
    "frechet": Meaning("Fréchet distance", "", "0 is the same distribution"),
    "precision": Meaning("precision", "share"),
    "recall": Meaning("recall", "share"),
    "kernel": Meaning("kernel distance, unbiased", "", "0 is the same distribution"),
    "density": Meaning("density", "", "1 for real images"),
    "coverage": Meaning("coverage", "share"),
    "feature_distance": Meaning("feature distance", "", "0 unchanged, 1 another image"),
    "feature_jump": Meaning("largest jump in features between two frames"),
    "off_manifold mixture": Meaning(
        "frames off-manifold, by a Gaussian mixture", "share", "real codes: 5 %"
    ),
    "log_prob": Meaning("mean log-density of held-out codes", "nats"),
    "accuracy": Meaning("accuracy", "share"),
    "kl_per_image": Meaning("KL divergence of an image's code from the prior", "nats"),
    "active_units": Meaning("coordinates that vary with the image"),
    "prior_inside": Meaning("prior samples above the density threshold", "share"),
    "path_length": Meaning("perceptual path length"),
    "relative_path_length": Meaning("path length over the squared distance of its ends"),
    "largest_step": Meaning("largest step between neighbouring codes over the mean one"),
    "pearson": Meaning("correlation of latent with image distances (Pearson)"),
    "spearman": Meaning("correlation of latent with image distances (Spearman)"),
    "near_pearson": Meaning("the same correlation between near codes (Pearson)"),
    "near_spearman": Meaning("the same correlation between near codes (Spearman)"),
    "condition": Meaning("median condition number of the decoder's Jacobian"),
    "log_spread": Meaning("spread of its log singular values"),
    "distortion": Meaning("distortion: relative variance of the change per unit step"),
    "n": Meaning("images"),
    "n_train": Meaning("training images"),
    "n_held_out": Meaning("held-out images"),
    "image_size": Meaning("side", "pixels"),
    "rejects": Meaning("files that could not be read"),
    "digest": Meaning("fingerprint", "", "changes with any pixel, label or order"),
    "seconds": Meaning("time", "s"),
}


def meaning_of(name: str) -> Meaning:
    """A metric in words; a name that is not known stands for itself, such as D_x and D_z."""
    return _MEANINGS.get(name, Meaning(name if name.startswith("D_") else name.replace("_", " ")))


def shown(value: Any, unit: str = "") -> str:
    """A value as plain text, with the sign of a percentage but no other unit.

    Examples:
        >>> shown(0.0471, "share"), shown(-12.3456), shown(180.0), shown(None), shown(["a", 1])
        ('4.7 %', '−12.3', '180', '–', 'a, 1')
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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: int | float, unit: str) -> str:
    """Three significant digits, so that no noise is read as signal; integers in full."""
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


class Heading(NamedTuple):
    """The heading of a row or of a column."""

    words: str
    about: str = ""
    """What to know of it, in small print: its unit, what to compare it with."""


class Row(NamedTuple):
    """One line of a table, all of plain text."""

    heading: Heading
    cells: tuple[str, ...]


class Table(NamedTuple):
    """A table of plain text; without columns it is a list of names and values."""

    caption: str
    columns: tuple[Heading, ...]
    rows: tuple[Row, ...]


def tables(caption: str, numbers: Mapping[str, Any]) -> list[Table]:
    """A section of metrics as tables, at most two.

    Arguments:
        caption: Their title; empty where a heading above says it.
        numbers: Name to number, which gives one row each; or row (a planner, a sampler) to such a
            mapping, which gives one column per metric. Both may be mixed, which gives two tables. A
            number may also be an object with its `value`, how many `samples` `of` what it is
            measured on, and what is `good`.
    """
    rows = {
        name: value
        for name, value in numbers.items()
        if isinstance(value, Mapping) and "good" not in value
    }
    plain = {name: value for name, value in numbers.items() if name not in rows}
    title = caption[:1].upper() + caption[1:]
    found = []
    if plain:
        lines = tuple(_line(name, given) for name, given in plain.items())
        found.append(Table(title, (), lines))
    if rows:
        found.append(_matrix(title, rows))
    return found


def _line(name: str, given: Any) -> Row:
    """A metric's words, and its value with its unit."""
    meaning, value = meaning_of(name), given
    if isinstance(given, Mapping):
        value = given["value"]
        about = f"good: {given['good']} ({given['samples']:,} {given['of']})"
        meaning = meaning._replace(about=about)
    unit = "" if meaning.unit in ("", "share") else f" {meaning.unit}"
    return Row(Heading(meaning.words, meaning.about), (shown(value, meaning.unit) + unit,))


def _matrix(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    meanings = {name: meaning_of(name) for row in rows.values() for name in row}
    columns = tuple(
        Heading(words, ", ".join(note for note in (unit.replace("share", ""), about) if note))
        for words, unit, about in meanings.values()
    )
    lines = (
        Row(
            Heading(label),
            tuple(shown(row.get(name), meaning.unit) for name, meaning in meanings.items()),
        )
        for label, row in rows.items()
    )
    return Table(title, columns, tuple(lines))
