"""The command `score`: images in; a table of how odd they are, and pictures of the extremes, out."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import file_to_write, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.anomaly.result import AnomalyTable
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.data.imageset import ImageSet
    from latent_atlas.shapes import ByteImages

__all__ = ["score"]

TOLD = 5  # images and rejects named on the screen; the files name all

Told = tuple[dict[str, Any], list[str]]
"""What to tell: numbers for machines, lines for people."""


def score(given: Namespace, console: Console) -> None:
    """Score images or codes, and say whether samples copy training images."""
    if not given.images and given.samples is None:
        raise UserError(
            "no IMAGES were given; name image files, a folder, an archive or an array, or use --samples N"
        )
    if given.samples is not None and given.samples < 1:
        raise UserError(f"--samples is {given.samples}; choose 1 or more")
    atlas = load_atlas(given)
    out = file_to_write(given, "scores.csv", (".csv", ".json"))
    numbers: dict[str, Any] = {}
    lines: list[str] = []
    if given.images:
        of = _images if atlas.model is not None else _codes
        numbers, lines = of(given, atlas, out, console)
    if given.samples is not None:
        more, rest = _copies(given, atlas, out, console)
        numbers, lines = numbers | more, lines + rest
    console.result(numbers, "\n".join(lines))


def _images(given: Namespace, atlas: "Atlas", out: Path, console: Console) -> Told:
    """Read, score and draw images."""
    from latent_atlas.report.figures.run import draw_extremes
    from latent_atlas.report.plots.style import save

    images = _read(given.images, atlas, console)
    for reject in images.rejects[:TOLD]:
        console.say(f"{reject.path} is left out: {reject.reason}")
    if len(images.rejects) > TOLD:
        console.say(f"and {len(images.rejects) - TOLD} more are left out; --json names all")
    held_out = _real_images(given, atlas, console)
    scores = atlas.score(
        images.images, false_alarm=given.false_alarm, held_out=held_out, names=images.names
    )
    numbers, lines = _written(scores, out)
    picture = save(draw_extremes(atlas, images.images, scores), out.with_suffix(".png"))
    rejects = [vars(reject) for reject in images.rejects]
    return numbers | {"picture": str(picture), "rejects": rejects}, [*lines, f"look at {picture}"]


def _codes(given: Namespace, atlas: "Atlas", out: Path, console: Console) -> Told:
    """Score codes by a run that knows no images."""
    from latent_atlas.codes.files import read_collection

    if len(given.images) != 1:
        raise UserError(
            f"this run knows codes alone, so score takes one file of codes; {len(given.images)} places were given"
        )
    collection = read_collection(Path(given.images[0]))
    for note in collection.warnings:
        console.say(note)
    names = tuple(f"row:{row}" for row in collection.rows.tolist())
    return _written(
        atlas.score(collection.arrays()[0], false_alarm=given.false_alarm, names=names), out
    )


def _written(scores: "AnomalyTable", out: Path) -> Told:
    """Write the table and say what is in it."""
    scores.write(out)
    oddest = scores.order()[:TOLD].tolist()
    lines = [str(out), scores.sentence(), "the oddest         oddness  distance"]
    lines += [
        f"  {scores.names[i]:16} {scores.oddness[i]:8.4f} {scores.distance[i]:9.1f}" for i in oddest
    ]
    return {"file": str(out), **scores.about(), "oddest": [scores.names[i] for i in oddest]}, lines


def _copies(given: Namespace, atlas: "Atlas", out: Path, console: Console) -> Told:
    """Draw samples, compare them with the training images, and show the nearest pairs."""
    import torch

    from latent_atlas.evaluation.memorised import nearest_pairs, sample_and_compare
    from latent_atlas.report.plots.image_grid import comparison_sheet
    from latent_atlas.report.plots.style import save

    _ = atlas.image_shape  # that there is no decoder is better said before images are read
    train = _source_again(given, atlas, console).train.images
    generator = torch.Generator(atlas.device).manual_seed(given.seed)
    found, samples = sample_and_compare(atlas, train, given.samples, generator=generator)
    rows = {name: part.numpy() for name, part in nearest_pairs(found, samples, train).items()}
    picture = save(comparison_sheet(rows), out.with_name(f"{out.stem}-nearest.png"))
    numbers = {"verdict": found.verdict(), "picture": str(picture), **found.numbers()}
    return {"memorisation": numbers}, [found.verdict(), f"look at {picture}"]


def _real_images(given: Namespace, atlas: "Atlas", console: Console) -> "ByteImages | None":
    """Real images to calibrate by: those that the user names, or those of a run that has kept no errors of them."""
    if given.held_out:
        return _read([given.held_out], atlas, console).images
    if atlas.errors is not None:
        return None
    console.say(
        "this run is of an older version, so its held-out images are read and reconstructed again"
    )
    try:
        return _source_again(given, atlas, console).test.images
    except UserError as error:
        raise UserError(f"{error}; or name other real images with --held-out") from None


def _read(places: list[str], atlas: "Atlas", console: Console) -> "ImageSet":
    """Images at some places, as the model takes them."""
    from latent_atlas.data.adhoc import read_images
    from latent_atlas.data.decode import Square

    channels, side, _ = atlas.image_shape
    with console.progress() as advance:
        return read_images(
            places,
            Square(side, channels, atlas.config.data.fit),
            progress=lambda done, total, bad: advance(
                "images", done, total, f"{bad} unreadable" if bad else ""
            ),
        )


def _source_again(given: Namespace, atlas: "Atlas", console: Console) -> "ImageSet":
    """The images that the run was made of.

    Raises:
        UserError: they are not there any more, or others are.
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
            f"'{config.data.source}' does not hold the images that the run was made of; restore them"
        )
    return images
