"""The report of a run: one page of everything that the run folder holds."""

from pathlib import Path
from typing import Any, NamedTuple

from latent_atlas.files import write_text
from latent_atlas.report.captions import PICTURES, TERMS, TRAINING_CURVES
from latent_atlas.report.html import Picture, render
from latent_atlas.report.plots.lines import curves_picture
from latent_atlas.report.plots.style import png
from latent_atlas.report.run_contents import RunContents
from latent_atlas.report.tables import Table, meaning_of, shown, tables
from latent_atlas.report.training_curves import progress

__all__ = ["write_report"]

FIRST_REJECTS = 10
CHANNELS = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGB and alpha"}
KEY_METRICS = ("psnr", "mse", "kl", "normalising_constant")
ARRIVED = 0.01  # distance left, as a share of the whole, below which a path has arrived


class KeyNumber(NamedTuple):
    """A number at the head of the page."""

    words: str
    value: str
    unit: str = ""


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, from whatever the folder holds.

    Arguments:
        run: The folder; only its config.json is needed. The page names everything that is missing.

    Returns:
        The page's path.

    Raises:
        UserError: the folder holds no run, or one of its JSON files is damaged.
    """
    contents = RunContents.read(run)
    page = run / "report.html"
    write_text(page, _page(contents))
    return page


def _page(run: RunContents) -> str:
    return render(
        "run.html",
        heading=run.config.data.source or run.path.name,
        name=run.path.name,
        made=run.made,
        lead=_lead(run),
        key_numbers=[*_counts(run), *_key_metrics(run), *_best_planner(run.metrics.get("travel"))],
        warnings=[*run.damage, *_warnings(run.metrics.get("map"))],
        pictures=_pictures(run),
        metrics=_metrics(run),
        curves=_training_curves(run),
        data=tables("images", run.manifest),
        rejects=[" – ".join(map(shown, reject.values())) for reject in run.rejects],
        first_rejects=FIRST_REJECTS,
        missing=_missing(run),
        meanings=TERMS,
        config=run.config,
    )


def _lead(run: RunContents) -> str:
    """What the images are, and what made their codes."""
    model, embedder = run.config.model, run.manifest.get("embedder")
    size = f"{model.image_size} × {model.image_size} pixels, {CHANNELS[model.channels]}"
    if embedder:
        return f"{size}, embedded by {embedder.get('model')}"
    return f"{size}, latent dimension {model.latent_dim}, training mode {run.config.train.mode}"


def _counts(run: RunContents) -> list[KeyNumber]:
    """How many images there are, and how many steps the networks have taken."""
    found = []
    if "n" in run.manifest:
        found.append(KeyNumber("images", shown(run.manifest["n"])))
    steps = [r["step"] for r in run.records if r.get("phase") == "model" and "step" in r]
    if steps:
        of = f"of {shown(run.config.train.steps)}"
        found.append(KeyNumber("training steps", shown(steps[-1]), of))
    return found


def _key_metrics(run: RunContents) -> list[KeyNumber]:
    """The first value of each key metric, whichever section has it."""
    sections = [part for part in run.metrics.values() if isinstance(part, dict)]
    found = []
    for name in KEY_METRICS:
        values = [part[name] for part in sections if name in part]
        if values:
            meaning = meaning_of(name)
            found.append(KeyNumber(meaning.words, shown(values[0], meaning.unit), meaning.unit))
    return found


def _best_planner(travel: Any) -> list[KeyNumber]:
    """Of the planners that arrive, the one with the fewest frames off-manifold.

    A planner that stops short of the goal would win too easily.
    """
    rows = travel if isinstance(travel, dict) else {}
    shares = [
        (row["off_manifold"], planner)
        for planner, row in rows.items()
        if isinstance(row, dict)
        and isinstance(row.get("off_manifold"), int | float)
        and (row.get("distance_left") or 0) < ARRIVED
    ]
    if not shares:
        return []
    share, planner = min(shares)
    words = f"of frames off-manifold, best planner that arrives: {planner}"
    return [KeyNumber(words, shown(share, "share"))]


def _warnings(map: Any) -> list[str]:
    """Why the map should not be trusted, in sentences."""
    found = map.get("warnings") if isinstance(map, dict) else None
    return [shown(one) for one in found] if isinstance(found, list) else []


def _pictures(run: RunContents) -> list[Picture]:
    """The expected pictures in their order, then all others under their names."""
    expected = [
        Picture(run.pictures[name], words.alt, words.caption, words.title)
        for name, words in PICTURES.items()
        if name in run.pictures
    ]
    others = [
        Picture(content, f"Picture {name}", title=name)
        for name, content in run.pictures.items()
        if name not in PICTURES
    ]
    return expected + others


def _metrics(run: RunContents) -> list[Table]:
    found = []
    for name, part in run.metrics.items():
        if part != {}:
            numbers = part if isinstance(part, dict) else {name: part}
            numbers = {key: value for key, value in numbers.items() if key != "warnings"}
            found += tables(name.replace("_", " "), numbers)
    return found


def _training_curves(run: RunContents) -> Picture | None:
    panels = progress(run.records)
    if not panels:
        return None
    alt = "Curves against training steps: " + ", ".join(panel.name for panel in panels) + "."
    return Picture(png(curves_picture(panels)), alt, TRAINING_CURVES, "Training curves")


def _missing(run: RunContents) -> dict[str, str]:
    """The parts that the folder does not hold, each with the command that makes it."""
    commands = {
        words.title: words.command
        for name, words in PICTURES.items()
        if name not in run.pictures
        and not words.optional
        and not (words.decoded and "embedder" in run.manifest)
    }
    if not run.metrics:
        commands["Metrics"] = "latent-atlas report RUN"
    if not run.records:
        commands["Training curves"] = "latent-atlas train SOURCE --out RUN"
    return commands
