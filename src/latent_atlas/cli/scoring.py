"""The command `score`: images in; a table of how odd they are, and pictures of the extremes, out."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.console import Console
from latent_atlas.cli.places import file_to_write, load_atlas
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.atlas import Atlas
    from latent_atlas.data import ImageSet
    from latent_atlas.scoring import Scores

__all__ = ["score"]

TOLD = 5  # images and rejects named on the screen; the files name all


def score(given: Namespace, console: Console) -> None:
    """Score images or codes, and say whether samples copy training images."""
    if not given.images and given.samples is None:
        raise UserError("no IMAGES were given; name image files, a folder, an archive or an array, or use --samples N")
    if given.samples is not None and given.samples < 1:
        raise UserError(f"--samples is {given.samples}; choose 1 or more")
    atlas = load_atlas(given)
    out = file_to_write(given, "scores.csv", (".csv", ".json"))
    told: dict[str, Any] = {}
    lines: list[str] = []
    if given.images and atlas.model is None:
        _tell(_score_codes(given, atlas), out, told, lines)
    elif given.images:
        _score_images(given, atlas, out, console, told, lines)
    if given.samples is not None:
        _find_copies(given, atlas, out, console, told, lines)
    console.result(told, "\n".join(lines))


def _score_codes(given: Namespace, atlas: "Atlas") -> "Scores":
    """Of a run that knows no images."""
    from latent_atlas.collection import read_collection

    if len(given.images) != 1:
        raise UserError(
            f"this run knows codes alone, so score takes one file of codes; {len(given.images)} places were given"
        )
    return atlas.score(read_collection(Path(given.images[0])).arrays()[0], false_alarm=given.false_alarm)


def _score_images(
    given: Namespace, atlas: "Atlas", out: Path, console: Console, told: dict[str, Any], lines: list[str]
) -> None:
    """Read, score and draw images."""
    from latent_atlas.data import Square, read_images
    from latent_atlas.gallery import draw_extremes
    from latent_atlas.pictures import save

    channels, side, _ = atlas.image_shape
    square = Square(side, channels, atlas.config.data.fit)
    with console.progress() as advance:
        images = read_images(given.images, square, progress=lambda done, n, bad: advance("images", done, n, _bad(bad)))
        held_out = None if atlas.errors is not None and not given.held_out else _real_images(given, atlas, console)
    for reject in images.rejects[:TOLD]:
        console.say(f"{reject.path} is left out: {reject.reason}")
    if len(images.rejects) > TOLD:
        console.say(f"and {len(images.rejects) - TOLD} more are left out; --json names all")
    scores = atlas.score(
        images.images,
        false_alarm=given.false_alarm,
        held_out=None if held_out is None else held_out.images,
        names=images.names,
    )
    _tell(scores, out, told, lines)
    picture = save(draw_extremes(atlas, images.images, scores), out.with_suffix(".png"))
    told |= {"picture": str(picture), "rejects": [vars(reject) for reject in images.rejects]}
    lines.append(f"look at {picture}")


def _tell(scores: "Scores", out: Path, told: dict[str, Any], lines: list[str]) -> None:
    """Write the table and say what is in it."""
    scores.write(out)
    oddest = scores.order()[:TOLD].tolist()
    told |= {"file": str(out), **scores.about(), "oddest": [scores.names[i] for i in oddest]}
    lines += [str(out), scores.sentence(), "the oddest         oddness  distance"]
    lines += [f"  {scores.names[i]:16} {scores.oddness[i]:8.4f} {scores.distance[i]:9.1f}" for i in oddest]


def _find_copies(
    given: Namespace, atlas: "Atlas", out: Path, console: Console, told: dict[str, Any], lines: list[str]
) -> None:
    """Draw samples, compare them with the training images, and show the nearest pairs."""
    import torch

    from latent_atlas.evaluation.memorised import nearest_pairs, sample_and_compare
    from latent_atlas.pictures import comparison_sheet, save

    _ = atlas.image_shape  # that there is no decoder is better said before images are read
    train = _source_again(atlas, console).train.images
    generator = torch.Generator(atlas.device).manual_seed(given.seed)
    found, samples = sample_and_compare(atlas, train, given.samples, generator=generator)
    rows = {name: part.numpy() for name, part in nearest_pairs(found, samples, train).items()}
    picture = save(comparison_sheet(rows), out.with_name(f"{out.stem}-nearest.png"))
    told |= {"memorisation": {"verdict": found.verdict(), "picture": str(picture), **found.numbers()}}
    lines += [found.verdict(), f"look at {picture}"]


def _real_images(given: Namespace, atlas: "Atlas", console: Console) -> "ImageSet":
    """Real images to calibrate by: those that the user names, or for a run that kept no errors those it held out."""
    from latent_atlas.data import Square, read_images

    if given.held_out:
        channels, side, _ = atlas.image_shape
        return read_images([given.held_out], Square(side, channels, atlas.config.data.fit))
    console.say("this run is of an older version, so its held-out images are read and reconstructed again")
    return _source_again(atlas, console).test


def _source_again(atlas: "Atlas", console: Console) -> "ImageSet":
    """The images that the run was made of.

    Raises:
        UserError: they are not there any more, or others are.
    """
    from latent_atlas.data import load_images

    config = atlas.config
    with console.progress() as advance:
        images = load_images(
            config.data,
            config.model.image_size,
            config.model.channels,
            progress=lambda done, n, bad: advance("the run's images", done, n, _bad(bad)),
        )
    held_out = len(atlas.codes["held_out"])
    if len(images.train) != len(atlas.codes["train"]) or len(images.test) != held_out:
        raise UserError(
            f"'{config.data.source}' has {len(images)} images now, not the {len(atlas.codes['train']) + held_out} that "
            "the run was made of; restore them, or give other real images with --held-out"
        )
    return images


def _bad(count: int) -> str:
    return f"{count} unreadable" if count else ""
