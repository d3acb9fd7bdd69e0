"""The command `demo`: train on handwritten digits or on letters of fonts, and write a report."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import add_device
from latent_atlas.cli.commands.train import train_and_report
from latent_atlas.cli.console import Console
from latent_atlas.config.presets import PRESETS, quick
from latent_atlas.config.run import with_settings

__all__ = ["add_arguments", "demo", "draw_typefaces"]

# Shorter than `train glyphs --quick`, for the time that the digits take.
GLYPHS = (
    "model.latent_dim=12",
    "train.steps=1200",
    "train.adversarial_start=300",
    "train.kl_warmup=200",
    "train.ema=0.995",
    "map.steps=500",
    "map.batch_size=512",
    "map.width=64",
)
SERIF, SANS = "EB Garamond", "Inter"
HEAVY = 800  # the weight that a traversal ends at
NAMED = 3  # outliers that are named


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument(
        "--glyphs",
        action="store_true",
        help="train on the letter a of 1,714 fonts instead: paths between typefaces, a traversal "
        "along weight, outliers",
    )
    parser.add_argument(
        "--out",
        metavar="RUN",
        help="run folder to create, or to finish (default: runs/demo, or runs/glyphs)",
    )
    add_device(parser)


def demo(given: Namespace, console: Console) -> None:
    """Train, or finish the run that is already in --out, and report on it."""
    out = Path(given.out or ("runs/glyphs" if given.glyphs else "runs/demo"))
    settings = [] if given.device is None else [f"train.device={given.device}"]
    config = PRESETS["digits"]
    if given.glyphs:
        config, settings = quick(PRESETS["glyphs"]), [*GLYPHS, *settings]
        console.say("this takes one to two minutes on two CPU cores")
    resume = (out / "config.json").is_file()
    train_and_report(with_settings(config, settings), out, console, resume=resume)
    if given.glyphs:
        console.say(draw_typefaces(out, given.device or "auto"))


def draw_typefaces(run: Path, device: str = "auto") -> str:
    """Draw what a run of `glyphs` is about into its folder and its report, and say what is where.

    Raises:
        UserError: it is no finished run of glyphs.
    """
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.data.load import load_images
    from latent_atlas.errors import require
    from latent_atlas.report.figures.run import draw_extremes
    from latent_atlas.report.figures.travel import draw_travel
    from latent_atlas.report.plots.style import save
    from latent_atlas.report.run_page import write_report
    from latent_atlas.shapes import to_float

    atlas = Atlas.load(run, device=device)
    require(
        atlas.config.data.source == "glyphs",
        f"{run} is a run of '{atlas.config.data.source}', not of glyphs; choose another --out",
    )
    images = load_images(atlas.config.data, atlas.image_shape[1], 1).test
    assert images.attributes is not None
    words = images.attribute_names["family"]
    families = [words[number] for number in images.attributes["family"].tolist()]
    upright = (images.attributes["weight"] == 400) & (images.attributes["slant"] == 0)

    # Between two typefaces.
    regular = {families[row]: row for row in upright.nonzero()[:, 0].tolist()}
    means = atlas.codes["held_out"].means
    serif, sans = means[regular[SERIF]], means[regular[SANS]]
    paths = {name: atlas.travel(serif, sans, name) for name in ("linear", "typical")}
    save(draw_travel(atlas, paths), run / "typefaces.png")

    # Along weight.
    heavier = {
        f"{name} to {HEAVY}": atlas.traverse(code, "weight", to=HEAVY)
        for name, code in ((SERIF, serif), (SANS, sans))
    }
    save(draw_travel(atlas, heavier), run / "weight.png")

    # Outliers.
    letters = images.images[:]
    places = to_float(letters)
    order = atlas.anomaly(places).order()
    save(draw_extremes(atlas, places, letters, order), run / "outliers.png")
    unusual = list(dict.fromkeys(families[row] for row in order.tolist()))[:NAMED]

    page = write_report(run)
    return (
        f"typefaces.png in {run} goes from {SERIF} to {SANS} (test:{regular[SERIF]} and "
        f"test:{regular[SANS]}), weight.png makes both heavier ({atlas.properties['weight'].told()}"
        f"), outliers.png has the least usual letters, of {', '.join(unusual)} first, samples.png "
        f"new ones, and map.png the density; {page} shows them all"
    )
