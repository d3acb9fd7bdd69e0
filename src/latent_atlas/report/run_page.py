"""The page itself, section by section."""

from html import escape
from pathlib import Path
from typing import Any

from latent_atlas.config.model import ModelConfig
from latent_atlas.report.captions import PICTURES, TERMS
from latent_atlas.report.frame import figure, framed, section
from latent_atlas.report.plots.lines import curves_picture
from latent_atlas.report.plots.style import png
from latent_atlas.report.run_contents import Folder
from latent_atlas.report.tables import meaning_of, shown, table
from latent_atlas.report.training_curves import progress

__all__ = ["write_report"]

FIRST_REJECTS = 10
CHANNELS = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGB and alpha"}
KEY_METRICS = ("psnr", "mse", "kl", "normalising_constant")
ARRIVED = 0.01  # distance left, as a share of the whole, below which a journey has arrived


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, from whatever the folder holds.

    Arguments:
        run: The folder; only its config.json is needed, all else that is missing is named on the page.

    Returns:
        The page's path.

    Raises:
        UserError: the folder holds no run, or one of its JSON files is damaged.
    """
    folder = Folder.read(run)
    page = run / "report.html"
    page.write_text(_page(folder), encoding="utf-8")
    return page


def _page(folder: Folder) -> str:
    parts = (_key_numbers, _pictures, _metrics, _training, _data, _missing, _terms, _configuration)
    heading = folder.config.data.source or folder.path.name
    content = "".join(part(folder) for part in parts)
    return framed("Latent Atlas, report of a run", heading, _lead(folder), content)


def _lead(folder: Folder) -> str:
    model, made = folder.config.model, folder.made
    return (
        f"{_size(model)}, latent dimension {model.latent_dim}, training mode {escape(folder.config.train.mode)}; run "
        f'<code>{escape(folder.path.name)}</code> of <time datetime="{made.isoformat(timespec="minutes")}">'
        f"{made.day} {made:%B %Y, %H:%M}</time>"
    )


def _size(model: ModelConfig) -> str:
    return f"{model.image_size} × {model.image_size} pixels, {CHANNELS[model.channels]}"


def _key_numbers(folder: Folder) -> str:
    """What to know of a run at a glance."""
    found: list[tuple[str, str, str]] = []
    if "n" in folder.manifest:
        found.append(("images", shown(folder.manifest["n"]), ""))
    steps = [
        record["step"]
        for record in folder.records
        if record.get("phase") == "model" and "step" in record
    ]
    if steps:
        found.append(("training steps", shown(steps[-1]), f"of {shown(folder.config.train.steps)}"))
    for name in KEY_METRICS:
        values = [
            part[name]
            for part in folder.metrics.values()
            if isinstance(part, dict) and name in part
        ]
        if values:
            meaning = meaning_of(name)
            found.append((meaning.words, shown(values[0], meaning.unit), meaning.unit))
    found += _best_planner(folder.metrics.get("travel"))
    if not found:
        return ""
    cells = "".join(
        f"<div><dt>{escape(words)}</dt><dd>{value} <span>{escape(unit)}</span></dd></div>"
        for words, value, unit in found
    )
    return f'<dl class="numbers">{cells}</dl>\n'


def _best_planner(travel: Any) -> list[tuple[str, str, str]]:
    """Of the planners that arrive, the one with the fewest frames outside: whoever stops short risks less."""
    rows = (
        {name: row for name, row in travel.items() if isinstance(row, dict)}
        if isinstance(travel, dict)
        else {}
    )
    shares = [
        (row["off_manifold"], planner)
        for planner, row in rows.items()
        if isinstance(row.get("off_manifold"), int | float)
        and (row.get("distance_left") or 0) < ARRIVED
    ]
    if not shares:
        return []
    share, planner = min(shares)
    return [
        (
            f"of frames outside the population, best planner that arrives: {planner}",
            shown(share, "share"),
            "",
        )
    ]


def _pictures(folder: Folder) -> str:
    """The expected pictures in their order, then all others under their names."""
    expected = [name for name in PICTURES if name in folder.pictures]
    others = [name for name in folder.pictures if name not in PICTURES]
    shown_ = []
    for name in expected:
        words = PICTURES[name]
        caption = f"<strong>{escape(words.title)}.</strong> {escape(words.caption)}"
        shown_.append(figure(folder.pictures[name], words.alt, caption))
    for name in others:
        shown_.append(
            figure(folder.pictures[name], f"Picture {name}", f"<strong>{escape(name)}</strong>")
        )
    return section("Pictures", "".join(shown_))


def _metrics(folder: Folder) -> str:
    parts = {
        name: part if isinstance(part, dict) else {name: part}
        for name, part in folder.metrics.items()
        if part != {}
    }
    return section(
        "Metrics", "".join(table(name.replace("_", " "), part) for name, part in parts.items())
    )


def _training(folder: Folder) -> str:
    panels = progress(folder.records)
    if not panels:
        return ""
    caption = (
        "<strong>Training curves.</strong> Look for a reconstruction error that has stopped falling, for "
        "discriminators whose loss has not gone to 0, and for a held-out loss that has not turned upwards."
    )
    alt = "Curves against training steps: " + ", ".join(panel.name for panel in panels) + "."
    return section("Training", figure(png(curves_picture(panels)), alt, caption))


def _data(folder: Folder) -> str:
    """What the images are, and which files were no images."""
    content = ""
    if folder.manifest:
        content += table("images", folder.manifest)
    if folder.rejects:
        first = folder.rejects[:FIRST_REJECTS]
        lines = "".join(
            f"<li>{' – '.join(shown(value) for value in reject.values())}</li>" for reject in first
        )
        count = len(folder.rejects)
        files_ = "1 file" if count == 1 else f"{count:,} files"
        which = "" if count <= FIRST_REJECTS else f", the first {FIRST_REJECTS} of them"
        content += f"<details><summary>{files_} could not be read{which}</summary><ul>{lines}</ul></details>\n"
    return section("Data", content)


def _missing(folder: Folder) -> str:
    """One sentence per thing the folder does not hold, naming the command that makes it."""
    commands = {
        **{
            words.title: words.command
            for name, words in PICTURES.items()
            if name not in folder.pictures and not words.optional
        },
        **({} if folder.metrics else {"Metrics": "latent-atlas report RUN"}),
        **({} if folder.records else {"Training curves": "latent-atlas train SOURCE --out RUN"}),
    }
    lines = "".join(
        f"<li>{escape(name)}: <code>{escape(command)}</code> makes this part.</li>"
        for name, command in commands.items()
    )
    return section("Not in this run yet", f'<ul class="missing">{lines}</ul>\n' if lines else "")


def _terms(folder: Folder) -> str:
    del folder
    lines = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>" for term, words in TERMS.items()
    )
    return section("Terms", f'<dl class="terms">{lines}</dl>\n')


def _configuration(folder: Folder) -> str:
    text = escape(folder.config.to_json())
    return section(
        "Configuration", f"<details><summary>config.json</summary><pre>{text}</pre></details>\n"
    )
