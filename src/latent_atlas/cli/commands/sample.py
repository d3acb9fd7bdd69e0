"""The command `sample`: draw new images or codes from a run."""

import math
import warnings
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import (
    PLACE,
    add_device,
    add_nearest,
    add_run,
    add_settings,
    code_at,
    load_atlas,
    picture_or_codes,
    seed,
    write_codes,
)
from latent_atlas.cli.console import Console
from latent_atlas.config.parse import split_setting, with_values
from latent_atlas.errors import UserError, counted, printable

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.sampling.base import Samples

__all__ = ["add_arguments", "sample"]

WORDS = {
    "sampler": "sampler {}",
    "reason": "chosen because {}",
    "acceptance": "{:.0%} of moves or proposals were accepted",
    "r_hat": "R-hat {:.3f}; at most 1.05 if the chains have converged",
    "effective_sample_size": "effective sample size {:.0f}",
    "flow_steps": "{} steps of the flow from noise to codes",
    "chains": "{} chains",
    "proposals": "{} proposals",
    "log_bound": "the ratio is at most exp {:.1f}",
    "temperatures": "{} temperatures in the last round",
    "log_constant": "the density has an integral of exp {:.3f}",
}
"""The diagnostics printed for people, and how."""


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `sample`."""
    add_run(parser)
    parser.add_argument(
        "--count", type=int, metavar="N", default=64, help="number of images (default: 64)"
    )
    parser.add_argument(
        "--sampler",
        metavar="S",
        default="auto",
        help="diffusion, smc, importance, rejection, ula, mala or hmc; the baselines prior, "
        "mixture or flow; or auto (default): mala with --near, diffusion if the map has noise "
        "levels, else importance if enough of its proposals are effective, else smc",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        default=1.0,
        help="below 1 concentrates samples at the modes (default: 1)",
    )
    parser.add_argument("--near", metavar="PLACE", help=f"sample near an image: {PLACE}")
    parser.add_argument(
        "--width",
        type=float,
        metavar="W",
        help="with --near: standard deviation in Z (default: half that of the codes)",
    )
    parser.add_argument(
        "--where",
        metavar="A=V",
        action="append",
        default=[],
        help="condition: class=NAME, or a range such as component:0=1..2 or ..0; may be repeated",
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", default=0, help="random seed (default: 0)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="PNG, or .npy of codes, to write (default: RUN/samples.png)"
    )
    add_nearest(parser)
    add_device(parser)
    add_settings(
        parser,
        "a setting of the sampler, such as steps=128 or chains=500; may be repeated",
        "N=V",
    )


def sample(given: Namespace, console: Console) -> None:
    """Draw new images, or new codes."""
    from latent_atlas.report.figures.run import draw_samples
    from latent_atlas.report.plots.style import save

    atlas = load_atlas(given, console)
    out = picture_or_codes(given, atlas, "samples.png", (".png",), (".npy",))
    if given.width is not None and given.near is None:
        raise UserError("--width is the distance from --near, which is missing; add --near PLACE")
    drawn = counted(given.count, "sample")
    with warnings.catch_warnings(), console.waiting(f"drawing {drawn}"):
        warnings.simplefilter("ignore", UserWarning)  # the samples' warnings are printed below
        samples = _samples(given, atlas)
    for warning in samples.warnings:
        console.say(warning)
    if out.suffix.lower() == ".npy":
        write_codes(samples.points, atlas, out)
    else:
        save(draw_samples(atlas, samples.points), out)
    shown = {"shown": atlas.shown_by} if out.suffix.lower() == ".png" else {}
    info = samples.info.known()
    numbers = {
        "file": str(out),
        "count": given.count,
        **shown,
        **info,
        "warnings": list(samples.warnings),
    }
    lines = [words.format(info[name]) for name, words in WORDS.items() if name in info]
    if atlas.collection is not None:
        rows = atlas.collection.nearest(samples.points, 1).rows[:, 0].tolist()
        numbers["images"] = [printable(atlas.collection.names[row]) for row in rows]
        told = f"the real images nearest to {counted(given.count, 'new code')}"
        lines.append(f"{told}: {counted(len(set(rows)), 'image')} in all")
    console.result(numbers, "\n".join([str(out), *lines]))


def _samples(given: Namespace, atlas: "Atlas") -> "Samples":
    """The samples that the arguments ask for."""
    import torch

    from latent_atlas.sampling.registry import sampler_for

    sampler = sampler_for(atlas.map, given.sampler, near=given.near is not None)
    values = dict(split_setting(text) for text in given.settings)
    return atlas.sample_codes(
        given.count,
        with_values(sampler, values, called=f"sampler '{sampler.name}'"),
        temperature=given.temperature,
        near=None if given.near is None else code_at(atlas, given.near),
        width=given.width,
        where=dict(_condition(text) for text in given.where),
        generator=torch.Generator(atlas.device).manual_seed(given.seed),
    )


def _condition(text: str) -> tuple[str, str | tuple[float, float]]:
    """An attribute and its value: NAME=CLASS, or NAME=LOW..HIGH with either bound optional.

    Raises:
        UserError: the text is neither.
    """
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise UserError(
            f"--where {text}: not of the form NAME=VALUE; write class=NAME, or a range such as "
            "component:0=1..2"
        )
    if ".." not in value or name == "class":
        return name, value
    low, _, high = value.partition("..")
    try:
        return name, (float(low or -math.inf), float(high or math.inf))
    except ValueError:
        raise UserError(
            f"--where {text}: '{value}' is not a range; write two numbers as in 1..2, or one as in "
            "..0"
        ) from None
