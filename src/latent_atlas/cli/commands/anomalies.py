"""The command `anomalies`: a table of anomaly scores, and a picture of the extremes.

Of a large source it writes tables in a folder, shard by shard.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import (
    add_device,
    add_run,
    add_workers,
    file_to_write,
    load_atlas,
    seed,
)
from latent_atlas.cli.console import Console
from latent_atlas.cli.images import say_if_seen
from latent_atlas.cli.shards import Report, report_job
from latent_atlas.errors import UserError, printable, require
from latent_atlas.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

    from latent_atlas.anomaly.result import AnomalyTable
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.data.imageset import ImageSet

__all__ = ["add_arguments", "anomalies"]

SHOWN = 5  # images printed; the files name all
SUFFIXES = (".csv", ".json")
FORMATS = ("csv", "parquet")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `anomalies`."""
    add_run(parser)
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        help="image files, folders, archives, arrays or named sets; for a run of codes, one file "
        "of codes; none: the run's own images, from the rarest to the most typical",
    )
    parser.add_argument(
        "--false-alarm-rate",
        type=float,
        metavar="A",
        default=0.05,
        help="largest share of real images called outliers (default: 0.05)",
    )
    parser.add_argument(
        "--held-out",
        metavar="SOURCE",
        help="real images to calibrate with instead of those that the run held out",
    )
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="draw N images and test whether they copy training images",
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", default=0, help="random seed of --samples (default: 0)"
    )
    parser.add_argument(
        "--out",
        metavar="OUT",
        help="a .csv or .json file, and pictures are saved beside it (default: RUN/anomalies.csv); "
        "or a folder to create or to go on with, where a source of any size is scored shard by "
        "shard",
    )
    parser.add_argument(
        "--to", choices=FORMATS, help="file format of the tables in a folder (default: csv)"
    )
    add_workers(parser)
    add_device(parser)


def anomalies(given: Namespace, console: Console) -> None:
    """Write anomaly scores of images or codes, or the rarity of the run's own; compare samples."""
    if given.samples is not None and given.samples < 1:
        raise UserError(f"--samples is {given.samples}; choose 1 or more")
    say_if_seen(given.folder, given.images, console)
    if _is_folder(given.out):
        _by_shards(given, console)
        return
    for flag in ("ray", "to"):
        require(
            getattr(given, flag) is None,
            f"--{flag} is for sources that are scored shard by shard; give a folder, as in --out "
            "SCORES",
        )
    atlas = load_atlas(given)
    out = file_to_write(given, "anomalies.csv", SUFFIXES)
    numbers: dict[str, Any] = {}
    lines: list[str] = []
    if given.images:
        numbers, lines = _scored(given, atlas, out, console)
    elif given.samples is None:
        with console.waiting("ranking the images of the run"):
            numbers, lines = _own(atlas, out)
    if given.samples is not None:
        more, rest = _copies(given, atlas, out, console)
        numbers, lines = numbers | more, lines + rest
    console.result(numbers, "\n".join(lines))


def _is_folder(out: str | None) -> bool:
    """Whether --out names a folder: one that is there, or a name without a suffix."""
    return out is not None and (not Path(out).suffix or Path(out).is_dir())


def _by_shards(given: Namespace, console: Console) -> None:
    """Write tables of anomaly scores into a folder, shard by shard."""
    from latent_atlas.data.shards import shards_of
    from latent_atlas.distributed.csv_table import CsvWriter
    from latent_atlas.distributed.jobs import Job
    from latent_atlas.distributed.parquet import ParquetWriter
    from latent_atlas.distributed.scoring import Scoring

    require(
        given.samples is None,
        f"--samples writes no tables into a folder; give --out FILE.csv, not {given.out}",
    )
    require(
        len(given.images) == 1,
        f"a folder takes the anomaly scores of one source, not of {len(given.images)}; put the "
        "images into one folder, or give --out FILE.csv",
    )
    work = Scoring.by(
        Path(given.folder),
        false_alarm_rate=given.false_alarm_rate,
        held_out=given.held_out,
        device=given.device or "auto",
    )
    shards = shards_of(given.images[0])
    writer = ParquetWriter() if given.to == "parquet" else CsvWriter()
    next_step = f"the tables are in {given.out}"
    report_job(Job(work, writer, Path(given.out)), shards, given, console, next_step, _of_all)


def _of_all(manifest: dict[str, Any]) -> Report:
    """What a job on shards has found."""
    from latent_atlas.anomaly.result import verdict

    names = ("outliers", "false_alarm_rate", "calibrated_on")
    numbers = {name: manifest[name] for name in names}
    first = manifest["most_anomalous"][:SHOWN]
    lines = [verdict(manifest["rows"], **numbers), *_most_anomalous(first)]
    return numbers | {"most_anomalous": [one["name"] for one in first]}, lines


def _most_anomalous(rows: list[dict[str, Any]]) -> list[str]:
    """Lines on the images with the highest scores."""
    belongs = "membership" in (rows[0] if rows else {})
    return ["most anomalous      score   p-value" + ("  membership" if belongs else "")] + [
        f"  {printable(row['name']):16} {row['anomaly_score']:6.1f} {row['p_value']:9.4f}"
        + (f" {row['membership']:11.4f}" if belongs else "")
        for row in rows
    ]


def _scored(given: Namespace, atlas: "Atlas", out: Path, console: Console) -> Report:
    """Write the anomaly scores of what was given, and draw the extremes of images."""
    from latent_atlas.cli.images import read_given
    from latent_atlas.report.figures.run import draw_extremes
    from latent_atlas.report.plots.style import save

    seen = read_given(given, given.images, atlas, console)
    held_out = _real_images(given, atlas, console)
    with console.waiting(f"scoring {len(seen.names):,} images or codes"):
        table = atlas.anomaly(
            seen.places,
            false_alarm_rate=given.false_alarm_rate,
            held_out=held_out,
            names=seen.names,
        )
    numbers, lines = _written(table, out)
    if seen.pictures is None:
        return numbers, lines
    extremes = draw_extremes(atlas, seen.places, seen.pictures, table.order())
    picture = save(extremes, out.with_suffix(".png"))
    rejects = [vars(reject) for reject in seen.rejects]
    return numbers | {"picture": str(picture), "rejects": rejects}, [*lines, f"look at {picture}"]


def _own(atlas: "Atlas", out: Path) -> Report:
    """The run's own images, from the rarest to the most typical."""
    import csv
    import io

    from latent_atlas.atlas.overview import ranked
    from latent_atlas.report.figures.run import draw_lists
    from latent_atlas.report.plots.style import save

    _, names = atlas.real_images
    rarity = atlas.rarity()
    order = rarity.argsort(descending=True)
    table = [
        {"name": printable(names[row]), "rarity": value}
        for row, value in zip(order.tolist(), rarity[order].tolist(), strict=True)
    ]
    if out.suffix.lower() == ".json":
        text = json.dumps({"images": len(table), "rows": table}, indent=2) + "\n"
    else:
        file = io.StringIO()
        writer = csv.DictWriter(file, ["name", "rarity"])
        writer.writeheader()
        writer.writerows(table)
        text = file.getvalue()
    write_text(out, text)
    numbers: dict[str, Any] = {"file": str(out), "images": len(table)}
    lines, section = [str(out)], ranked(atlas, rarity)
    for one in section.lists:
        numbers[one.title.replace(" ", "_")] = list(one.names[:SHOWN])
        first = zip(one.values[:SHOWN], one.names[:SHOWN], strict=True)
        lines += [one.title, *(f"  {value:8.3g}  {name}" for value, name in first)]
    if (figure := draw_lists(section)) is not None:
        picture = save(figure, out.with_suffix(".png"))
        numbers["picture"] = str(picture)
        lines.append(f"look at {picture}")
    return numbers, lines


def _written(table: "AnomalyTable", out: Path) -> Report:
    """Write the table, and summarise it."""
    table.write(out)
    first = table.order()[:SHOWN].tolist()
    rows = table.rows()
    lines = [str(out), table.sentence(), *_most_anomalous([rows[i] for i in first])]
    names = [table.names[i] for i in first]
    return {"file": str(out), **table.about(), "most_anomalous": names}, lines


def _copies(given: Namespace, atlas: "Atlas", out: Path, console: Console) -> Report:
    """Draw samples, compare them with the training images, and draw the nearest pairs."""
    import torch

    from latent_atlas.evaluation.memorisation import nearest_pairs, sample_and_compare
    from latent_atlas.report.plots.image_grid import comparison_sheet
    from latent_atlas.report.plots.style import save

    _ = atlas.image_shape  # raises before images are read if there is no decoder
    train = _source_again(given, atlas, console).train.images[:]
    generator = torch.Generator(atlas.device).manual_seed(given.seed)
    with console.waiting(f"drawing {given.samples:,} images and comparing them"):
        found, samples = sample_and_compare(atlas, train, given.samples, generator=generator)
    rows = {name: part.numpy() for name, part in nearest_pairs(found, samples, train).items()}
    picture = save(comparison_sheet(rows), out.with_name(f"{out.stem}-nearest.png"))
    numbers = {"verdict": found.verdict(), "picture": str(picture), **found.numbers()}
    return {"memorisation": numbers}, [found.verdict(), f"look at {picture}"]


def _real_images(given: Namespace, atlas: "Atlas", console: Console) -> "Tensor | None":
    """Real images or codes to calibrate with; None for those that the run held out."""
    from latent_atlas.cli.images import read_given

    if given.held_out:
        return read_given(given, [given.held_out], atlas, console).places
    if atlas.model is None or atlas.collection is not None or atlas.errors is not None:
        return None
    console.say(
        "this run was written by an older version: its held-out images are read and reconstructed"
    )
    try:
        return _source_again(given, atlas, console).test.images[:]
    except UserError as error:
        raise UserError(f"{error}; or name other real images with --held-out") from None


def _source_again(given: Namespace, atlas: "Atlas", console: Console) -> "ImageSet":
    """The images that the run was trained on.

    Raises:
        UserError: they are missing, or have changed.
    """
    from latent_atlas.data.load import load_images
    from latent_atlas.runs import Run

    config = atlas.config
    with console.progress() as advance:
        images = load_images(
            config.data,
            config.model.image_size,
            config.model.channels,
            progress=lambda done, total, _: advance("the run's images", done, total, ""),
        )
    made_of = Run(Path(given.folder)).read_json("manifest.json") or {}
    if images.manifest()["digest"] != made_of.get("digest"):
        raise UserError(
            f"'{config.data.source}' does not have the images that the run was trained on; restore "
            "them"
        )
    return images
