"""The grammar of the command line. It imports no torch, so that `--help` answers at once."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NoReturn

from latent_atlas import __version__
from latent_atlas.cli.arguments import PLACE, add_device, add_run, add_settings
from latent_atlas.cli.commands import (
    anomalies,
    demo,
    doctor,
    evaluate,
    fit,
    map,
    report,
    sample,
    serve,
    study,
    train,
    travel,
)
from latent_atlas.cli.console import Console

__all__ = ["build_parser"]

Command = Callable[[Namespace, Console], None]


class _Parser(ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> ArgumentParser:
    """The parser of all commands; each sets `run_command` to the function that carries it out."""
    parser = _Parser(
        prog="latent-atlas",
        description="Learn a latent space of your images with a map of its density, and travel "
        "through it.",
        epilog="Start with: latent-atlas demo",
    )
    parser.add_argument("--version", action="version", version=f"latent-atlas {__version__}")
    chosen = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Command, help: str) -> ArgumentParser:
        command = chosen.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run_command=run)
        return command

    demo.add_arguments(
        add("demo", demo.demo, "train on handwritten digits in minutes, and write a report")
    )
    train.add_arguments(
        add("train", train.train, "train the networks and the map on images, and write a report")
    )
    fit.add_arguments(
        add("fit", fit.fit, "fit a map to latent codes of any model, without its images")
    )
    map.add_arguments(add("map", map.map, "draw the density on the plane through three images"))
    _travel(
        add("travel", travel.travel, "travel from image to image through regions of high density")
    )
    _sample(add("sample", sample.sample, "draw new images from the data distribution"))
    _anomalies(
        add(
            "anomalies",
            anomalies.anomalies,
            "anomaly scores of images, calibrated on held-out real images",
        )
    )
    _evaluate(
        add("evaluate", evaluate.evaluate, "measure a run on held-out images, with baselines")
    )
    report.add_arguments(
        add("report", report.report, "draw the figures of a run and write its HTML page")
    )
    serve.add_arguments(
        add("serve", serve.serve, "open the explorer: a run's map and paths in the browser")
    )
    study.add_arguments(
        add("study", study.study, "compare training modes and boundaries on your own images")
    )
    add("doctor", doctor.doctor, "print versions, devices, data sets and free disk")
    return parser


def _travel(p: ArgumentParser) -> None:
    add_run(p)
    p.add_argument(
        "places",
        metavar="PLACE",
        nargs="+",
        help=f"two images or more, each {PLACE}; or one with --random-walk, --traverse or "
        "--project",
    )
    p.add_argument(
        "--planner",
        dest="planners",
        metavar="P,P",
        action="append",
        help="one or more of linear, slerp, walk, geodesic (default), string, graph, pullback and "
        "auto",
    )
    p.add_argument("--closed", action="store_true", help="return to the first image")
    p.add_argument(
        "--preserve",
        metavar="A",
        action="append",
        default=[],
        help="keep an attribute along the path: class, the name of a class, or component:0; "
        "repeatable",
    )
    p.add_argument(
        "--traverse",
        metavar="A",
        help="change such an attribute of one image, by --by X or to --to X",
    )
    p.add_argument(
        "--by",
        type=float,
        metavar="X",
        help="with --traverse: change of the attribute, negative for less of it",
    )
    p.add_argument("--to", type=float, metavar="X", help="with --traverse: value to reach")
    p.add_argument(
        "--random-walk",
        action="store_true",
        help="walk at random from one image, within regions of high density",
    )
    p.add_argument(
        "--project",
        action="store_true",
        help="first move images of low density up to the density threshold",
    )
    p.add_argument(
        "--pace",
        metavar="P",
        help="frames at equal distances in the latent space (latent, default) or in their pixels "
        "(perceived)",
    )
    p.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="number of frames, both ends included (default: 17, or 49 for .gif and .mp4)",
    )
    p.add_argument("--rule", type=int, metavar="R", help="walk: update rule 1 or 2 (default: 2)")
    p.add_argument(
        "--alpha",
        type=float,
        metavar="X",
        help="walk: step size along the gradient of the map (default: 0.1)",
    )
    p.add_argument(
        "--beta",
        type=float,
        metavar="X",
        help="walk, rule 1: weight of the goal, negative to approach it (default: -0.1)",
    )
    p.add_argument(
        "--gamma",
        type=float,
        metavar="X",
        help="walk, rule 2: fraction of the distance to the goal per step (default: 0.02)",
    )
    p.add_argument(
        "--arrive",
        action="store_true",
        default=None,
        help="walk: let the weight of the goal grow until the path reaches it",
    )
    p.add_argument(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        help="random seed of planners that sample (default: 0)",
    )
    p.add_argument(
        "--out",
        metavar="FILE",
        help="file to write: a picture (.png), an animation (.gif, .mp4), codes (.npy), or all "
        "results (.npz, .json) (default: RUN/travel.png)",
    )
    add_device(p)
    add_settings(
        p, "a setting of the planners, such as strength=3 or widths=1,0.5,0; repeatable", "N=V"
    )


def _sample(p: ArgumentParser) -> None:
    p.add_argument(
        "--sampler",
        metavar="S",
        default="auto",
        help="diffusion, importance, rejection, ula, mala or hmc; the baselines prior, mixture or "
        "flow; or auto (default): mala with --near, diffusion if the map has noise levels, else "
        "importance",
    )
    p.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        default=1.0,
        help="below 1 concentrates samples at the modes (default: 1)",
    )
    p.add_argument("--near", metavar="PLACE", help=f"sample near an image: {PLACE}")
    p.add_argument(
        "--width",
        type=float,
        metavar="W",
        help="with --near: standard deviation in Z (default: half that of the codes)",
    )
    p.add_argument(
        "--where",
        metavar="A=V",
        action="append",
        default=[],
        help="condition: class=NAME, or a range such as component:0=1..2 or ..0; may be repeated",
    )
    p.add_argument("--seed", type=int, metavar="N", default=0, help="random seed (default: 0)")
    p.add_argument(
        "--out", metavar="FILE", help="PNG, or .npy of codes, to write (default: RUN/samples.png)"
    )
    add_device(p)
    add_settings(
        p,
        "a setting of the sampler, such as steps=128 or chains=500; may be repeated",
        "N=V",
    )


def _anomalies(p: ArgumentParser) -> None:
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        help="image files, folders, archives, arrays or named sets; for a run of codes, one file "
        "of codes",
    )
    p.add_argument(
        "--false-alarm-rate",
        type=float,
        metavar="A",
        default=0.05,
        help="largest share of real images called outliers (default: 0.05)",
    )
    p.add_argument(
        "--held-out",
        metavar="SOURCE",
        help="real images to calibrate with instead of those that the run held out",
    )
    p.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="draw N images and test whether they copy training images",
    )
    p.add_argument(
        "--seed", type=int, metavar="N", default=0, help="random seed of --samples (default: 0)"
    )
    p.add_argument(
        "--out",
        metavar="FILE",
        help=".csv or .json; pictures are saved beside it (default: RUN/anomalies.csv)",
    )
    add_device(p)


def _evaluate(p: ArgumentParser) -> None:
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "--images",
        type=int,
        metavar="N",
        default=500,
        help="compare N with N others, at most (default: %(default)s)",
    )
    p.add_argument(
        "--extractor",
        metavar="E",
        default="auto",
        help="what sees images: efficientnet, classifier, inception, pixels; or auto (default): the first that can be",
    )
    p.add_argument(
        "--source", metavar="SOURCE", help="where the run's images are now, if they have moved"
    )
    p.add_argument(
        "--seed", type=int, metavar="N", default=0, help="of the choice and the draws (default: 0)"
    )
    p.add_argument(
        "--out", metavar="FOLDER", help="for evaluation.json and evaluation.html (default: RUN)"
    )
    add_device(p)
