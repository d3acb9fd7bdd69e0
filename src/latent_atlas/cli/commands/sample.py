"""The command `sample`: wishes in, new images or codes out, and in words what the draws are worth."""

import math
import warnings
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import code_at, file_to_write, load_atlas, write_codes
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.sampling.target import Samples

__all__ = ["sample"]

WORDS = {
    "acceptance": "{:.0%} of moves or proposals were accepted",
    "r_hat": "R-hat {:.3f}; at most 1.05 where the chains have mixed",
    "effective_samples": "worth {:.0f} independent draws",
    "levels": "{:.0f} levels from smooth to sharp",
    "chains": "{:.0f} chains",
    "proposals": "{:.0f} proposals",
    "log_bound": "the ratio is at most exp {:.1f}",
    "components": "{:.0f} Gaussians",
}
"""What of a sampler's info is told to people, and how."""

NO_NUMBERS = (
    "codes",
    "generator",
    "near",
    "temperature",
    "where",
    "width",
)  # or have a flag of their own


def sample(given: Namespace, console: Console) -> None:
    """Draw new images, or new codes."""
    from latent_atlas.report.figures.run import draw_samples
    from latent_atlas.report.plots.style import save

    atlas = load_atlas(given)
    out = file_to_write(given, "samples.png", (".png", ".npy"))
    if out.suffix.lower() == ".png":
        _ = atlas.image_shape  # that there is no decoder is better said before
    if given.width is not None and given.near is None:
        raise UserError("--width says how near to draw; name a place by --near")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the draws' notes are said below
        draws = _drawn(given, atlas)
    for note in draws.notes:
        console.say(note)
    if out.suffix.lower() == ".npy":
        write_codes(draws.points, atlas, out)
    else:
        save(draw_samples(atlas.decode(draws.points)), out)
    numbers = {"file": str(out), "count": given.count, **draws.info, "notes": list(draws.notes)}
    # Proposals can be worth more than what is drawn of them; draws cannot.
    said = {
        name: min(value, given.count) if name == "effective_samples" else value
        for name, value in draws.info.items()
    }
    told = [WORDS[name].format(value) for name, value in said.items() if name in WORDS]
    console.result(numbers, "\n".join([str(out), *told]))


def _drawn(given: Namespace, atlas: "Atlas") -> "Samples":
    """What the words ask for."""
    import torch

    width = {} if given.width is None else {"width": given.width}
    return atlas.sample_codes(
        given.count,
        given.sampler,
        temperature=given.temperature,
        near=None if given.near is None else code_at(atlas, given.near),
        where=dict(_wish(word) for word in given.where),
        generator=torch.Generator(atlas.device).manual_seed(given.seed),
        **width,
        **_options(given.settings),
    )


def _options(words: list[str]) -> dict[str, Any]:
    """Options written as NAME=VALUE, numbers all of them; whether the sampler has them, it says itself."""
    options = {}
    for word in words:
        name, _, text = word.partition("=")
        if name in NO_NUMBERS:
            raise UserError(
                f"'{name}' is no option for --set, which takes numbers, as in steps=128"
            )
        try:
            value = float(text)
        except ValueError:
            raise UserError(
                f"option '{name}' is '{text}'; write a number, as in steps=128"
            ) from None
        options[name] = int(value) if value == int(value) else value
    return options


def _wish(word: str) -> tuple[str, str | tuple[float, float]]:
    """An attribute and its value: NAME=CLASS, or NAME=LOW..HIGH, of which either may be missing."""
    name, _, text = word.rpartition("=")
    if not name or not text:
        raise UserError(
            f"'{word}' is no wish; write class=NAME, or a range such as component:0=1..2"
        )
    if ".." not in text or name == "class":
        return name, text
    low, _, high = text.partition("..")
    try:
        return name, (float(low or -math.inf), float(high or math.inf))
    except ValueError:
        raise UserError(
            f"'{text}' is no range; write two numbers, such as 1..2, or one, such as ..0"
        ) from None
