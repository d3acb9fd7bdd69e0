"""Draw the travel table: the frontier of Fréchet distance and largest step, and film strips of twelve unchosen pairs.

It reads what `travel.py` recorded and kept, and writes docs/pictures/planners.html with a picture of the frontier and one
of film strips for each collection. The pairs are the first twelve, of the first run of each collection.

    python benchmarks/travel_page.py
    python benchmarks/travel_page.py --name travel-more --out /tmp/pictures
"""

import argparse
import html
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from latent_atlas.display import grid, tile
from latent_atlas.files import write_bytes, write_text
from latent_atlas.report.plots.style import (
    INK,
    LINES,
    MARGIN,
    SOFT,
    blank,
    drawable,
    fonts,
    label_axes,
    paste,
    place,
    png,
    write,
    write_title,
)
from travel_kept import FOLDER, slug

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
REAL, ON_THE_WAY = "real codes", "real codes nearest to the line"
PANEL, SPACE = 620, 190  # pixels of a frontier's side, and around it
SHOWN = 9  # frames of a strip
COLUMNS = 2  # of panels, and of pairs on a picture of film strips
NAMES = 190  # pixels for the planners' names
GAP = 26  # pixels between pairs
COLOURS = 128  # of a picture of film strips, which makes it a third as large

Table = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="travel", help="name of the result")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder for page and pictures")
    given = parser.parse_args()
    found = json.loads((RESULTS / f"{given.name}.json").read_text())
    tables = found["results"]
    given.out.mkdir(parents=True, exist_ok=True)
    write_bytes(given.out / "planners-frontier.png", frontier(tables))
    pictures = {"": "planners-frontier.png"}
    for collection, table in tables.items():
        picture = f"planners-{slug(collection)}.png"
        write_bytes(given.out / picture, strips(collection, table))
        pictures[collection] = picture
    write_text(given.out / "planners.html", page(tables, pictures, found["settings"]))
    print(given.out / "planners.html")


def frontier(tables: dict[str, Table]) -> bytes:
    """One panel a collection, one point a planner; bars are standard deviations over runs."""
    down, across = math.ceil(len(tables) / COLUMNS), min(COLUMNS, len(tables))
    figure = blank(SPACE + across * (PANEL + SPACE), 80 + down * (PANEL + SPACE))
    write_title(figure, "Frontier: lower left is better")
    for index, (collection, table) in enumerate(tables.items()):
        row, column = divmod(index, COLUMNS)
        left, top = SPACE + column * (PANEL + SPACE), 130 + row * (PANEL + SPACE)
        draw_frontier(place(figure, left, top, PANEL, PANEL), table["rows"])
        runs = f", {table['runs']} runs" if table["runs"] > 1 else ""
        write(figure, left, top - 40, f"{collection}{runs}", size=9, weight="bold")
    return png(figure)


def draw_frontier(axes: Axes, rows: dict[str, dict[str, float]]) -> None:
    """The planners of one collection, and the distances of real codes as horizontal lines."""
    label_axes(axes, "largest step / straight line's", "Fréchet distance")
    text = {"fontsize": 7.5, "fontfamily": fonts(), "parse_math": False}
    planners = {row: numbers for row, numbers in rows.items() if "jump p50" in numbers}
    for row in rows.keys() - planners.keys():
        y = rows[row]["frechet"]
        axes.axhline(y, color=SOFT, linewidth=0.8, linestyle=":")
        where = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(row.removeprefix("real codes "), (0.99, y), color=SOFT, **where, **text)
    for style, (row, numbers) in zip(itertools.cycle(LINES), planners.items()):
        axes.errorbar(
            numbers["jump p50"],
            numbers["frechet"],
            xerr=numbers.get("jump p50, spread"),
            yerr=numbers.get("frechet, spread"),
            fmt=style.marker,
            markersize=5,
            color=style.color,
            elinewidth=1,
            label=drawable(row),
        )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.15)
    axes.legend(frameon=False, labelcolor=INK, prop={"size": 7.5, "family": fonts()})


def strips(collection: str, table: Table) -> bytes:
    """Film strips of twelve pairs, every planner below the other, as a PNG of few colours."""
    run = next(iter(table["judges"]))
    planners = [row for row in table["rows"] if (FOLDER / run / f"{slug(row)}.npz").exists()]
    films = {row: np.load(FOLDER / run / f"{slug(row)}.npz")["strips"] for row in planners}
    blocks = [
        block([films[row][pair] for row in planners]) for pair in range(len(films[planners[0]]))
    ]
    height, width = blocks[0].shape[:2]
    across = NAMES + COLUMNS * (width + GAP)
    down = MARGIN + 80 + math.ceil(len(blocks) / COLUMNS) * (height + GAP)
    figure = blank(across, down)
    title = f"{collection}: {len(blocks)} pairs as drawn"
    write(figure, MARGIN, MARGIN - 4, title, size=9.5, weight="bold")
    for index, canvas in enumerate(blocks):
        row, column = divmod(index, COLUMNS)
        top = MARGIN + 60 + row * (height + GAP)
        paste(figure, NAMES + column * (width + GAP), top, canvas)
        for line, name in enumerate(planners if column == 0 else []):
            middle = top + (line + 0.5) * height / len(planners)
            write(figure, NAMES - 12, middle, name, size=7, ha="right", va="center", color=SOFT)
    image = Image.open(io.BytesIO(png(figure))).convert("RGB").quantize(COLOURS)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def block(films: list[np.ndarray]) -> np.ndarray:
    """Some frames of several films between one pair, one below the other, each (frames, c, h, w) in 0..255."""
    frames = np.linspace(0, len(films[0]) - 1, SHOWN).round().astype(int)
    images = np.concatenate([film[frames] for film in films]) / 255.0
    return grid(tile(images, 2 * images.shape[-1]), SHOWN, 2)


def page(tables: dict[str, Table], pictures: dict[str, str], settings: dict[str, Any]) -> str:
    """The page that shows all pictures."""
    pairs = settings["pairs"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Planners between held-out images</title>",
        "<style>body{font:16px/1.5 system-ui;max-width:1100px;margin:2em auto;padding:0 1em}img{width:100%}</style>",
        "<h1>Planners between held-out images</h1>",
        f"<p>Fréchet distance of the frames of up to {pairs} paths to reconstructions of real images, in features, beside the "
        "largest step of a path. A planner lowers the distance by cutting from one image to another, which the step "
        "shows. Dotted lines are real codes, which have the distance of real images, and the real codes nearest to the "
        "straight line. Then film strips between twelve pairs that nobody chose: the first of each collection.</p>",
    ]
    for collection, picture in pictures.items():
        name = html.escape(collection or "Frontier")
        about = ""
        if collection:
            about = f"<p>{html.escape(tables[collection]['features'])}.</p>"
        parts.append(f"<h2>{name}</h2>{about}<img src='{picture}' alt='{name}'>")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
