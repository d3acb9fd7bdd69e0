"""Paths between held-out images, evaluated with models that did not plan them, and paths on toy distributions.

The held-out images are halved. One half gives the pairs and every threshold; paths go from mean to mean, so thresholds are
quantiles of means. The judges (`travel_judges.py`) are fitted to the other half, whose reconstructions frames are compared
with: a neural spline flow and a Gaussian mixture of codes, and a classifier of images that tells decoded real codes
from decoded points between them, whose share of frames is the column `ghosts`. They share no image with D_z's training, though
D_z stopped by both halves and was calibrated on them, and the run's membership (`non_members`) is fitted to both. Features are
those of a classifier trained here, or of EfficientNet where images are few or have no labels; transparent images are seen on
white. Two rows are no paths: real codes, of which 5 % are rejected by construction; and real codes nearest to the line, where
each frame of the straight line is replaced by its nearest real code. Such frames are all real, so their distance to the
reconstructions is the price of being between two others, and no planner of short paths can be expected to have less.

A Fréchet distance can be lowered by cutting, since the data have nothing between kinds, so the largest step in features
stands beside it, relative to the straight line's. Near pairs are an image and its fifth neighbour.

Runs of one collection and several seeds make one table of means and standard deviations. Each row is kept in runs/kept
once it is computed: a restart goes on where it stopped, and what has changed, run, planner or setting, is computed anew.

    python benchmarks/travel_runs.py                               # trains the runs of four collections, about an hour
    python benchmarks/travel.py runs/travel/*                      # about three minutes a run on one CPU core
    python benchmarks/travel_page.py                               # frontier plots and film strips
    python benchmarks/travel.py runs/travel/icons-* --rows auto --add     # one row more in a recorded table
    python benchmarks/travel.py runs/travel/fashion-16-0 --rows linear graph auto string --name travel-more

The pull-back through the decoder takes up to three seconds a path, and so does the string method at a temperature. Paths of
an atlas are planned with the density threshold of held-out means, as `Atlas.travel` plans them.

With --exact the density is known, and it both plans and evaluates: the least likely point of each path is compared with
the best possible. With --steps a learned map plans instead.

    python benchmarks/travel.py --exact --pairs 100
    python benchmarks/travel.py --exact --pairs 100 --steps 2000
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.config import DataConfig
from latent_atlas.data import load_images
from latent_atlas.evaluation import COMPARED, plan_rows
from latent_atlas.evaluation.features import Classifier, Extractor, efficientnet, train_classifier
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import Images, Latents
from latent_atlas.travel import Geodesic, Pullback, StringMethod
from latent_atlas.travel.planners.base import Resources
from latent_atlas.travel.planners.baselines import linear
from record import record
from tables import read
from travel_exact import DIMENSIONS, on_world, staged
from travel_ghosts import as_seen
from travel_judges import Judges, Numbers, near_numbers, path_numbers, real_numbers
from travel_kept import FOLDER, STRIPS, Kept, collected, slug

ROWS = {
    **COMPARED,
    "geodesic, strength 3": Geodesic(strength=3.0),
    "string": StringMethod(),
    "string, temperature 1": StringMethod(temperature=1.0),
    "pullback": Pullback(),
}
USUAL = ("linear", "slerp", "walk, rule 2", "geodesic", "typical", "flow")
EXTRACTORS = ("auto", "classifier", "efficientnet")
REAL, ON_THE_WAY = "real codes", "real codes nearest to the line"
NEAR = 5  # the neighbour of an image that is its near one
NEAR_PAIRS = 60
MANY = 10_000  # images from which a classifier of their own is a better extractor
SIDE = 64  # pixels of images that EfficientNet sees: five times as fast as 112


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument(
        "--exact", action="store_true", help="toy distributions whose density is known"
    )
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), metavar="ROW")
    parser.add_argument("--pairs", type=int, default=500, help="or as many as a run has")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="fitting time of each density that evaluates"
    )
    parser.add_argument(
        "--features",
        default="auto",
        choices=EXTRACTORS,
        help="feature extractor; auto is a classifier where many images have labels",
    )
    parser.add_argument("--epochs", type=int, default=12, help="of the classifier of features")
    parser.add_argument(
        "--steps",
        type=int,
        default=0,
        help="steps of D_z with --exact; 0 plans on the exact density",
    )
    parser.add_argument("--seed", type=int, default=0, help="of pairs and judges")
    parser.add_argument("--again", action="store_true", help="compute rows that are kept, too")
    parser.add_argument(
        "--name", default="travel", help="name of the result; an earlier one is replaced"
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="add rows to the recorded tables, or replace these, and keep the others",
    )
    given = parser.parse_args()
    if not given.runs and not given.exact:
        parser.error("give a run folder, or --exact")
    if given.exact:
        on_worlds(given)
    asked = {name: getattr(given, name) for name in ("pairs", "frames", "seconds", "seed")}
    earlier = read(given.name) if given.add else {"results": {}, "command": ""}
    folders = []
    for run in given.runs:
        folders.append(on_run(run, given, asked))
        tables = added(earlier["results"], collected(folders))
        record(given.name, tables, after=earlier["command"], **asked)


def added(tables: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The tables with the planners of others; of a table that is there, judges and real codes stay."""
    joined = {name: {**table, "rows": {**table["rows"]}} for name, table in tables.items()}
    for name, table in more.items():
        rows = joined.setdefault(name, {**table, "rows": {}})["rows"]
        rows.update(
            {row: one for row, one in table["rows"].items() if row in ROWS or row not in rows}
        )
    return joined


def on_worlds(given: argparse.Namespace) -> None:
    """The tables of toy distributions."""
    worlds = []
    for dimension in DIMENSIONS:
        for name, (world, plane) in staged(dimension).items():
            rows = {row: ROWS[row] for row in given.rows or ROWS}
            worlds.append({"d": dimension, "world": name, **on_world(world, plane, rows, given)})
            show(f"d = {dimension}, {name}", worlds[-1]["rows"])
    settings = {name: getattr(given, name) for name in ("steps", "pairs", "frames", "seed")}
    record("travel_exact", {"worlds": worlds}, **settings)


def on_run(run: Path, given: argparse.Namespace, asked: dict[str, Any]) -> Kept:
    """Compute the rows of one run that are not kept yet."""
    atlas = Atlas.load(run, device="cpu")
    data = atlas.config.data
    kept = Kept(
        run,
        collection=f"{Path(data.source).name}, d = {atlas.map.dimension}",
        asked={**asked, "features": extractor_name(atlas, given.features)},
    )
    rows = {row: ROWS[row] for row in given.rows or USUAL}
    missing = [row for row in rows if given.again or not kept.has(row, repr(rows[row]))]
    kept.rows = [REAL, ON_THE_WAY, *rows]
    if not missing:
        return kept
    table = Table(atlas, decoder(run), given)
    kept.write_about(table.judges.about)
    for row in (REAL, ON_THE_WAY):
        kept.write(row, "", table.real(row))
        show(kept.collection, {row: kept.read(row)})
    for row in missing:
        numbers, images = table.planned(row)
        kept.write(row, repr(rows[row]), numbers, images)
        show(kept.collection, {row: numbers})
    return kept


class Table:
    """The pairs and judges of one run, from which any row of its table is computed."""

    def __init__(
        self, atlas: Atlas, decode: Callable[[Tensor], Tensor], given: argparse.Namespace
    ) -> None:
        """Halve the held-out codes, choose the pairs and fit the judges; `decode` is differentiable."""
        self.atlas, self.frames, self.seed = atlas, given.frames, given.seed
        generator = torch.Generator().manual_seed(given.seed)
        held_out = atlas.codes["held_out"]
        self.mine, theirs = held_out.split(0.5, generator=generator)
        self.known = Resources(
            atlas.codes["train"].means, held_out.means, decode, lambda: atlas.membership
        )
        pairs = min(given.pairs, len(self.mine) // 2)
        self.pairs = self.mine.means[: 2 * pairs].chunk(2)  # the halves are in random order
        self.near_pairs = near_pairs(self.mine.means)
        self.judges = Judges.of(
            atlas,
            make_extractor(atlas, given),
            self.mine,
            theirs,
            frames=pairs * (given.frames - 2),
            seconds=given.seconds,
            generator=generator,
        )
        self.straight = self.judges.seen(linear(*self.pairs, self.frames))
        self.near_straight = self.judges.seen(linear(*self.near_pairs, self.frames))

    def real(self, row: str) -> Numbers:
        """The numbers of a row of real codes, which are no paths."""
        if row == REAL:
            return real_numbers(self.mine.means, self.judges)
        inner = linear(*self.pairs, self.frames)[1:-1].flatten(0, 1)
        return real_numbers(nearest(inner, self.atlas.codes["train"].means), self.judges)

    def planned(self, row: str) -> tuple[Numbers, Images]:
        """The numbers of a planner, and the decoded frames of its first paths."""
        density = self.atlas.map
        rows = {row: ROWS[row].completed(density, self.known)}
        generator = torch.Generator().manual_seed(self.seed)  # whatever was computed before
        path, near = (
            plan_rows(density, *ends, rows, frames=self.frames, generator=generator)[row]
            for ends in (self.pairs, self.near_pairs)
        )
        seen, near_seen = self.judges.seen(path.points), self.judges.seen(near.points)
        first = path.points[:, :STRIPS]
        images = self.atlas.decode(first.flatten(0, 1)).unflatten(0, first.shape[:2])
        return (
            path_numbers(path, seen, self.straight, self.judges)
            | near_numbers(near, near_seen, self.near_straight)
        ), images


def near_pairs(codes: Latents) -> tuple[Latents, Latents]:
    """The first codes, and the fifth neighbour of each."""
    start = codes[:NEAR_PAIRS]
    nearest = torch.cdist(start, codes).topk(NEAR + 1, largest=False).indices  # the first is itself
    return start, codes[nearest[:, NEAR]]


def nearest(latents: Latents, codes: Tensor) -> Latents:
    """The code next to each of `latents`, shape (n, d)."""
    return codes[torch.cat([torch.cdist(part, codes).argmin(dim=1) for part in latents.split(500)])]


def decoder(run: Path) -> Callable[[Tensor], Tensor]:
    """The decoder of a run with gradients, which `Atlas.decode` does without."""
    folder = Run(run)
    config = folder.config()
    model = VAEGAN(config.model, config.map)
    model.load_state_dict(read_tensors(folder.file("model.safetensors"))[0])
    return model.eval().requires_grad_(False).decode


def extractor_name(atlas: Atlas, asked: str) -> str:
    """The name of the extractor in place of auto."""
    if asked != "auto":
        return asked
    many = len(atlas.codes["train"]) >= MANY and "train" in atlas.labels
    return "classifier" if many else "efficientnet"


def make_extractor(atlas: Atlas, given: argparse.Namespace) -> Extractor:
    """A classifier of the collection, or a network trained on ImageNet where labels say little."""
    if extractor_name(atlas, given.features) == "efficientnet":
        return efficientnet(SIDE)
    return make_classifier(atlas.config.data, atlas.image_shape, given.epochs)


def make_classifier(data: DataConfig, image_shape: tuple[int, ...], epochs: int) -> Classifier:
    """The classifier of features, trained on the training images; one for all runs of a collection."""
    place = FOLDER / f"classifier-{slug(Path(data.source).name)}-{image_shape[1]}-{epochs}.pt"
    if place.exists():
        return torch.load(place, weights_only=False)
    images = load_images(data, image_shape[1], image_shape[0])
    learning, test = images.train, images.test
    if learning.labels is None or test.labels is None:
        raise SystemExit(
            f"'{data.source}' has no labels for a classifier to learn; choose --features efficientnet"
        )
    classifier = train_classifier(
        as_seen(learning.as_float()),
        learning.labels,
        (as_seen(test.as_float()), test.labels),
        epochs=epochs,
        generator=torch.Generator().manual_seed(1),
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(classifier, place)
    return classifier


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    """One line per row."""
    print(title)
    for row, numbers in table.items():
        print(
            f"    {row:22}",
            "  ".join(f"{name} {value:.3g}" for name, value in numbers.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
