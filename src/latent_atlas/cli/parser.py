"""The command line's grammar. It imports no torch, so that `--help` is answered at once."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from latent_atlas import __version__
from latent_atlas.cli.commands import base
from latent_atlas.cli.console import Console
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.presets import PRESETS
from latent_atlas.errors import Interrupted, UserError

__all__ = ["main"]

PLACE = "an image file, or test:17 for the held-out image 17"


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `latent-atlas` and exit: 0 done, 2 the user's mistake, 130 interrupted and saved."""
    given = build_parser().parse_args(arguments)
    try:
        given.run_command(given, Console(as_json=given.json))
    except UserError as error:
        sys.exit(_complaint(f"latent-atlas: {error}", 2))
    except Interrupted as stop:
        sys.exit(_complaint(f"latent-atlas: {stop}", 130))
    except KeyboardInterrupt:
        sys.exit(_complaint("latent-atlas: interrupted", 130))
    except PermissionError as error:
        sys.exit(
            _complaint(
                f"latent-atlas: {error.filename} may not be written or read; choose another place",
                2,
            )
        )
    except BrokenPipeError:  # whoever read the output went away; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="latent-atlas",
        description="A map of a learned latent space, and the routes through it.",
        epilog="Start with: latent-atlas demo",
    )
    parser.add_argument("--version", action="version", version=f"latent-atlas {__version__}")
    chosen = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _demo,
        _train,
        _fit,
        _map,
        _travel,
        _sample,
        _anomalies,
        _evaluate,
        _report,
        _serve,
        _study,
        _doctor,
    ):
        add(chosen)
    return parser


def _command(
    chosen: "argparse._SubParsersAction[_Parser]", name: str, run: base.Command, help: str
) -> _Parser:
    parser = chosen.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run_command=run)
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        metavar="D",
        help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps",
    )


def _add_settings(parser: argparse.ArgumentParser, help: str, metavar: str = "S.N=V") -> None:
    parser.add_argument(
        "--set", dest="settings", metavar=metavar, action="append", default=[], help=help
    )


def _demo(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "demo", base.demo, "train on handwritten digits, map, travel and report, in minutes"
    )
    p.add_argument(
        "--out", metavar="RUN", default="runs/demo", help="run folder (default: %(default)s)"
    )
    _add_device(p)


def _train(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "train", base.train, "train the networks and the map on a collection of images"
    )
    p.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="digits, fashion-mnist, mnist, faces, hf:OWNER/NAME, a folder, a zip or tar, a .npy or .npz file",
    )
    p.add_argument("--out", metavar="RUN", required=True, help="run folder to make")
    p.add_argument(
        "--preset",
        metavar="P",
        help=f"{', '.join(PRESETS)} (default: by source, else by image size)",
    )
    p.add_argument(
        "--quick", action="store_true", help="a smaller model, in minutes on two CPU cores"
    )
    p.add_argument(
        "--arm", metavar="A", help="how D_z learns: separate (default), online or adversarial"
    )
    p.add_argument(
        "--resume", action="store_true", help="continue the run in --out, with its own settings"
    )
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="show settings, parameters and memory, and do nothing",
    )
    p.add_argument("--steps", type=int, metavar="N", help="training steps of the networks")
    p.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    p.add_argument(
        "--image-size", type=int, metavar="PX", help="side of the square images, 8 to 256"
    )
    p.add_argument(
        "--channels", type=int, metavar="C", help="1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha"
    )
    p.add_argument("--fit", metavar="F", help="non-square images: crop (default) or pad")
    p.add_argument(
        "--max-rejects",
        type=float,
        metavar="S",
        help="share of unreadable files to bear (default: 0.05)",
    )
    p.add_argument("--limit", type=int, metavar="N", help="use at most N images")
    p.add_argument(
        "--seed", type=int, metavar="N", help="of the weights, batches and noise (default: 0)"
    )
    p.add_argument("--precision", metavar="P", help="32 (default) or bf16")
    p.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the networks with torch.compile",
    )
    _add_device(p)
    _add_settings(
        p, "any other setting that --dry-run shows, such as train.kl_weight=0.001; may be repeated"
    )


def _fit(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "fit", base.fit, "learn the map of codes from anywhere, without images or a model"
    )
    p.add_argument(
        "latents",
        metavar="LATENTS",
        help="a .npy file of codes (n, d) or (n, c, h, w); or .npz or .safetensors with means, and if there are any "
        "log_variances and labels",
    )
    p.add_argument("--out", metavar="RUN", required=True, help="run folder to make")
    p.add_argument(
        "--boundary", metavar="B", help=f"where fake codes come from: {', '.join(BOUNDARIES)}"
    )
    p.add_argument(
        "--levels", type=int, metavar="N", help="noise levels (default: as the codes need)"
    )
    p.add_argument("--steps", type=int, metavar="N", help="at most so many steps (default: 4000)")
    p.add_argument(
        "--members", type=int, metavar="N", help="discriminators whose mean is the map (default: 1)"
    )
    p.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the split, the weights and the batches (default: 0)",
    )
    _add_device(p)
    _add_settings(p, "any other setting of the map, such as map.width=64; may be repeated")


def _map(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(chosen, "map", base.map, "draw the map on the plane through three images")
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "places",
        metavar="PLACE",
        nargs="*",
        help=f"three of: {PLACE}; without them, a telling three",
    )
    instead = p.add_mutually_exclusive_group()
    instead.add_argument(
        "--boundaries",
        metavar="B,B",
        nargs="?",
        const="all",
        help=f"learn the map against each of these and draw them side by side: all, or of {', '.join(BOUNDARIES)}",
    )
    instead.add_argument(
        "--levels", action="store_true", help="draw the map level by level, the score as arrows"
    )
    p.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="--boundaries: at most so many steps for each (default: 1000)",
    )
    p.add_argument(
        "--out",
        metavar="FILE",
        help="PNG file to write (default: RUN/map.png, boundaries.png, levels.png)",
    )
    _add_device(p)


def _travel(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "travel", base.travel, "travel from image to image, beside the straight line"
    )
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "places", metavar="PLACE", nargs="+", help=f"two or more, or one to explore: {PLACE}"
    )
    p.add_argument(
        "--planner",
        dest="planners",
        metavar="P,P",
        action="append",
        help="one or more of linear, slerp, walk, geodesic (default), string, graph, pullback and auto",
    )
    p.add_argument("--closed", action="store_true", help="return to the first stop")
    p.add_argument(
        "--preserve",
        metavar="A",
        action="append",
        default=[],
        help="keep class, a class's own name, or component:0",
    )
    p.add_argument(
        "--along",
        metavar="A",
        help="from one place, along such an attribute: by --by X or to --to X",
    )
    p.add_argument(
        "--by", type=float, metavar="X", help="--along: how much more of it, negative for less"
    )
    p.add_argument("--to", type=float, metavar="X", help="--along: the value to reach")
    p.add_argument(
        "--explore", action="store_true", help="wander through the population around one place"
    )
    p.add_argument(
        "--repair",
        action="store_true",
        help="first bring places outside the population to its edge",
    )
    p.add_argument(
        "--pace",
        metavar="P",
        help="latent (default), or perceived: frames as far apart in their pixels",
    )
    p.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="all frames, ends included (default: 17; in motion 49)",
    )
    p.add_argument("--rule", type=int, metavar="R", help="walk: rule 1 or 2 (default: 2)")
    p.add_argument(
        "--alpha",
        type=float,
        metavar="X",
        help="walk: step along the map's gradient (default: 0.1)",
    )
    p.add_argument(
        "--beta",
        type=float,
        metavar="X",
        help="walk, rule 1: signed pull, negative towards B (-0.1)",
    )
    p.add_argument(
        "--gamma",
        type=float,
        metavar="X",
        help="walk, rule 2: share of the way to B per step (0.02)",
    )
    p.add_argument(
        "--arrive", action="store_true", default=None, help="walk: follow the arrival schedule"
    )
    p.add_argument(
        "--seed", type=int, metavar="N", default=0, help="of planners that draw (default: 0)"
    )
    p.add_argument(
        "--out",
        metavar="FILE",
        help=".png, .gif, .mp4, codes .npy, or all .npz or .json (default: RUN/travel.png)",
    )
    _add_device(p)
    _add_settings(
        p,
        "any other setting of planners, such as strength=3 or widths=1,0.5,0; may be repeated",
        "N=V",
    )


def _sample(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(chosen, "sample", base.sample, "draw new images from the data distribution")
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "--count", type=int, metavar="N", default=64, help="images (default: %(default)s)"
    )
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
    _add_device(p)
    _add_settings(
        p,
        "a setting of the sampler, such as steps=128 or chains=500; may be repeated",
        "N=V",
    )


def _anomalies(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen,
        "anomalies",
        base.anomalies,
        "anomaly scores of images, calibrated on held-out real images",
    )
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
    _add_device(p)


def _evaluate(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen,
        "evaluate",
        base.evaluate,
        "judge a run by its held-out images, beside its opponents",
    )
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
    _add_device(p)


def _report(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "report", base.report, "draw all pictures and numbers of a run and write its page"
    )
    p.add_argument("folder", metavar="RUN", help="run folder")
    p.add_argument(
        "--interactive",
        action="store_true",
        help="write the explorer, as a folder for any web host",
    )
    p.add_argument("--out", metavar="FOLDER", help="for --interactive (default: RUN/interactive)")
    _add_device(p)


def _serve(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen, "serve", base.serve, "open the explorer: the map and its journeys in the browser"
    )
    p.add_argument(
        "folder",
        metavar="RUN",
        nargs="?",
        help="run folder, which may still train (default: --demo)",
    )
    p.add_argument("--demo", action="store_true", help="a synthetic atlas that is made in seconds")
    p.add_argument(
        "--host",
        metavar="H",
        default="127.0.0.1",
        help="address to serve at (default: %(default)s)",
    )
    p.add_argument(
        "--port",
        type=int,
        metavar="N",
        default=8765,
        help="0 takes a free one (default: %(default)s)",
    )
    p.add_argument(
        "--token",
        metavar="T",
        help="ask for this token (default: none at 127.0.0.1, else a new one)",
    )
    p.add_argument("--no-browser", dest="browser", action="store_false", help="open no browser")
    _add_device(p)


def _study(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    p = _command(
        chosen,
        "study",
        base.study,
        "answer the open questions of latent maps on your own images, by runs",
    )
    p.add_argument(
        "source", metavar="SOURCE", help="as for train: a named set, a folder, an archive, an array"
    )
    p.add_argument(
        "--out", metavar="STUDY", required=True, help="folder; the same command again goes on in it"
    )
    p.add_argument(
        "--budget",
        metavar="B",
        default="small",
        help="small (default: minutes on two cores) or full (a GPU)",
    )
    p.add_argument(
        "--preset",
        metavar="P",
        help="what runs are made of before the budget (default: by source or size)",
    )
    p.add_argument("--arms", metavar="A,A", help="of separate, online, adversarial (default: all)")
    p.add_argument(
        "--boundaries",
        metavar="B,B",
        help=f"of {', '.join(BOUNDARIES)} (default: prior,box,radius,density,mixture)",
    )
    p.add_argument("--z-real", metavar="Z,Z", help="of samples, means (default: both)")
    p.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        default=3,
        help="repetitions; tests need 3 or more (default: 3)",
    )
    p.add_argument("--limit", type=int, metavar="N", help="use at most N images")
    p.add_argument(
        "--extractor",
        metavar="E",
        help="as for evaluate (default: a classifier if there are classes)",
    )
    p.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one a core, or four a GPU)"
    )
    p.add_argument(
        "--dry-run", action="store_true", help="show the plan with its time, and do nothing"
    )
    _add_device(p)
    _add_settings(
        p, "any other setting of the runs and their maps, such as train.steps=800; may be repeated"
    )


def _doctor(chosen: "argparse._SubParsersAction[_Parser]") -> None:
    _command(chosen, "doctor", base.doctor, "show versions, devices, data sets and free disk")


def _complaint(sentence: str, code: int) -> int:
    print(" ".join(sentence.split()), file=sys.stderr)
    return code
