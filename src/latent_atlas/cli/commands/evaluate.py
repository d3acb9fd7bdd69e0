"""The command `evaluate`: metrics of a run, compared with baselines, and a page."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import add_device, add_run, load_atlas, seed
from latent_atlas.cli.console import Advance, Console
from latent_atlas.errors import UserError
from latent_atlas.files import write_text

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.data.imageset import ImageSet
    from latent_atlas.evaluation.result import Section

__all__ = ["add_arguments", "evaluate"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    add_run(parser)
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        default=500,
        help="compare N with N others, at most (default: %(default)s)",
    )
    parser.add_argument(
        "--extractor",
        metavar="E",
        default="auto",
        help="feature extractor: efficientnet, classifier, inception or pixels; auto (default) "
        "is the "
        "first that is available",
    )
    parser.add_argument(
        "--source", metavar="SOURCE", help="where the run's images are now, if they were moved"
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", default=0, help="random seed (default: 0)"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="for evaluation.json and evaluation.html (default: RUN)"
    )
    add_device(parser)


def evaluate(given: Namespace, console: Console) -> None:
    """Evaluate a run on its held-out images."""
    from latent_atlas.evaluation.evaluate import evaluate as evaluated
    from latent_atlas.report.evaluation_page import write_evaluation

    out = _folder(given)
    atlas = load_atlas(given)
    _ = atlas.image_shape  # raises before images are read if there is no model
    with console.progress() as advance:
        images, notes = _images(given, atlas, advance)
        evaluation = evaluated(
            atlas,
            images,
            most=given.images,
            extractor=given.extractor,
            seed=given.seed,
            log=lambda name, done, total: advance("questions", done, total, name),
        )
    evaluation = replace(evaluation, notes=(*notes, *evaluation.notes))
    file = out / "evaluation.json"
    write_text(file, json.dumps(evaluation.as_json(), indent=2, ensure_ascii=False) + "\n")
    page = write_evaluation(evaluation, out / "evaluation.html")
    for note in notes:
        console.say(note)
    told = [*(_told(one) for one in evaluation.sections.values()), f"look at {page}"]
    console.result({"file": str(file), "page": str(page), **evaluation.as_json()}, "\n".join(told))


def _folder(given: Namespace) -> Path:
    """The folder to write to: --out, created if missing, or the run."""
    if given.out is None:
        return Path(given.folder)
    out = Path(given.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{out} is a file or lies in one; choose a folder for --out") from None
    return out


def _images(
    given: Namespace, atlas: "Atlas", advance: Advance
) -> "tuple[ImageSet, tuple[str, ...]]":
    """The images of the run, and warnings about them.

    Raises:
        UserError: they are missing.
    """
    from latent_atlas.data.load import load_images
    from latent_atlas.runs import Run

    channels, side, _ = atlas.image_shape
    data = replace(atlas.config.data, source=given.source or atlas.config.data.source)
    try:
        images = load_images(
            data,
            side,
            channels,
            progress=lambda done, total, bad: advance("images", done, total, ""),
        )
    except UserError as gone:
        if given.source is not None:
            raise
        raise UserError(
            f"the images of this run cannot be loaded ({gone}); if they have moved, give their "
            "place as --source"
        ) from None
    made_of = (Run(Path(given.folder)).read_json("manifest.json") or {}).get("digest")
    if made_of in (None, images.manifest()["digest"]):
        return images, ()
    return images, (
        "these are not the images that the run was trained on: some may be training images",
    )


def _told(section: "Section") -> str:
    """A section as lines of text."""
    lines = [f"{section.question}  ({section.sample})"]
    for row, numbers in section.rows.items():
        lines.append(
            f"  {row:24}"
            + "  ".join(f"{name.replace('_', ' ')} {number}" for name, number in numbers.items())
        )
    return "\n".join([*lines, *(f"  {note}" for note in section.notes)])
