"""The command `travel`: places in, journeys out, as a picture, in motion, or as numbers."""

import inspect
import json
import math
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import code_at, file_to_write, load_atlas, write_codes
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.travel.path import LatentPath

    Journeys = dict[str, LatentPath]

__all__ = ["travel"]

WALK_FLAGS = ("rule", "alpha", "beta", "gamma", "arrive")
STILL, MOVING, CODES = (".png",), (".gif", ".mp4"), (".npy", ".npz", ".json")
FRAMES, FRAMES_MOVING = 17, 49
FPS = 12  # frames a second
UNWRITTEN = {
    "codes",
    "decode",
    "population",
    "frames",
    "by",
    "to",
}  # no words, or have a flag of their own


def travel(given: Namespace, console: Console) -> None:
    """Plan the journeys, write them, and tell their numbers."""
    from latent_atlas.report.figures.travel import describe

    _check(given)
    atlas = load_atlas(given)
    out = file_to_write(given, "travel.png", STILL + MOVING + CODES)
    if out.suffix.lower() not in CODES:
        _ = (
            atlas.image_shape
        )  # that there is no decoder is better said before the journeys are planned
    usual = FRAMES_MOVING if out.suffix.lower() in MOVING else FRAMES
    frames = usual if given.frames is None else given.frames
    places = _places(given, atlas, console)
    if len(places) == 1:
        journeys = _from_one(given, atlas, places, frames)
    else:
        beside = out.suffix.lower() not in (*MOVING, ".npy")
        journeys = _between(given, atlas, places, frames, beside=beside)
    for remark in _remarks(given, atlas, journeys):
        console.say(remark)
    numbers = {name: _numbers(path) for name, path in journeys.items()}
    _write(out, journeys, numbers, given, atlas)
    width = max(len(name) for name in journeys)
    lines = [f"{name:{width}}  {describe(path)}" for name, path in journeys.items()]
    console.result({"file": str(out), "travel": numbers}, "\n".join([str(out), *lines]))


def _remarks(given: Namespace, atlas: "Atlas", journeys: "Journeys") -> list[str]:
    """What should be known before the journeys are believed."""
    from latent_atlas.attributes.probes import ClassProbe

    remarks = []
    probe = atlas.properties["class"] if "class" in given.preserve else None
    if isinstance(probe, ClassProbe):
        labels = atlas.labels["train"]
        guessed = labels.bincount().max().item() / len(labels)
        remarks.append(
            f"the class is read by a probe that is right on {100 * probe.accuracy:.0f} % of codes held out, where the "
            f"commonest class is {100 * guessed:.0f} %, and kept at {100 / (1 + math.exp(-probe.margin)):.0f} % or more"
        )
    for note in dict.fromkeys(note for path in journeys.values() for note in path.notes):
        remarks.append(
            f"{', '.join(name for name, path in journeys.items() if note in path.notes)}: {note}"
        )
    return remarks


def _check(given: Namespace) -> None:
    """One sentence on what does not go together."""
    one = [flag for flag in ("explore", "along", "repair") if getattr(given, flag)]
    if len(given.places) == 1 and not one:
        raise UserError(
            "a journey has two ends and one place was given; give another, or --explore, --along or --repair"
        )
    if given.explore and given.along:
        raise UserError("--explore and --along are two journeys; choose one of them")
    if len(given.places) > 1 and (given.explore or given.along):
        flag = "--explore" if given.explore else "--along"
        raise UserError(
            f"{flag} starts from one place and {len(given.places)} were given; leave the others out"
        )
    if given.along is None and (given.by, given.to) != (None, None):
        raise UserError("--by and --to say how far to go --along an attribute; name it")
    one_only = [
        flag
        for flag in ("planners", "closed", "pace")
        if getattr(given, flag) and len(given.places) == 1
    ]
    if one_only:
        raise UserError(
            f"--{one_only[0].removesuffix('s')} is for journeys between places, and one was given"
        )


def _places(given: Namespace, atlas: "Atlas", console: Console) -> "Tensor":
    """Codes of the places, shape (k, d); with --repair those outside of the population at its edge."""
    import torch

    codes = torch.stack([code_at(atlas, place) for place in given.places])
    if not given.repair or (len(codes) == 1 and not (given.explore or given.along)):
        return codes
    climbed = atlas.project(codes)
    for place, moved in zip(given.places, climbed.metrics["moved"].tolist(), strict=True):
        if moved > 0:
            console.say(
                f"{place} was outside the population and is moved by {moved:.2f} to its edge"
            )
    return climbed.points[-1]


def _from_one(given: Namespace, atlas: "Atlas", places: "Tensor", frames: int) -> "Journeys":
    """The journey from one place: around it, along an attribute, or back into the population."""
    from latent_atlas.travel.random_walk import random_walk
    from latent_atlas.travel.traversal import traverse

    if given.explore:
        settings = _settings(given.settings, _defaults(random_walk))
        return {
            "explore": atlas.random_walk(
                places, frames=frames, generator=_generator(given, atlas), **settings
            )
        }
    if given.along:
        settings = _settings(given.settings, _defaults(traverse)) | {
            "by": given.by,
            "to": given.to,
            "frames": frames,
        }
        return {
            f"along {given.along}": atlas.traverse(
                places, given.along, keep=given.preserve, **settings
            )
        }
    return {"repair": atlas.project(places, **_settings(given.settings, _defaults(atlas.project)))}


def _between(
    given: Namespace, atlas: "Atlas", places: "Tensor", frames: int, *, beside: bool
) -> "Journeys":
    """The journey by every planner that was named, and if so wished beside them the straight line, keeping nothing."""
    from latent_atlas.travel.constrained import preserve
    from latent_atlas.travel.planners.base import PLANNERS, understood

    flags = {name: value for name in WALK_FLAGS if (value := getattr(given, name)) is not None}
    words = given.planners or (["walk"] if flags else ["geodesic"])
    planners = [*dict.fromkeys(name.strip() for word in words for name in word.split(","))]
    if flags and "walk" not in planners:
        raise UserError(f"--{next(iter(flags))} is for a walk; add walk to the planners")
    common = {"threshold": None} | (_defaults(preserve) if given.preserve else {})
    every = [PLANNERS[planner].options for planner in planners if planner in PLANNERS]
    known = {
        name: default
        for options in every
        for name, default in options.items()
        if name not in UNWRITTEN
    }
    settings = flags | _settings(given.settings, known | common)

    def go(planner: str, keep: list[str]) -> "LatentPath":
        shared = common if keep else {"threshold"}
        how = understood(planner, settings) | {
            name: value for name, value in settings.items() if name in shared
        }
        wishes = {
            "frames": frames,
            "closed": given.closed,
            "preserve": keep,
            "generator": _generator(given, atlas),
        }
        return atlas.travel([*places], None, planner, pace=given.pace or "latent", **wishes, **how)

    line = {"linear": go("linear", [])} if beside and "linear" not in planners else {}
    return line | {planner: go(planner, given.preserve) for planner in planners}


def _generator(given: Namespace, atlas: "Atlas") -> "torch.Generator":
    import torch

    return torch.Generator(atlas.device).manual_seed(given.seed)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The numbers that a function can be given, and what they are if they are not."""
    parameters = inspect.signature(function).parameters.values()
    found = {
        one.name: one.default
        for one in parameters
        if isinstance(one.default, int | float) or one.name == "threshold"
    }
    return {name: default for name, default in found.items() if name not in UNWRITTEN}


def _settings(words: list[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Settings written as NAME=VALUE, each of its default's type.

    Raises:
        UserError: there is no such setting, or it has no such values.
    """
    settings = {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise UserError(
                f"there is no setting '{name}' for such a journey; choose from {', '.join(known)}"
            )
        settings[name] = _value(name, text, known[name])
    return settings


def _value(name: str, text: str, default: object) -> Any:
    """What was written, as a number, as true or false, or as several numbers between commas."""
    kinds = {
        bool: ("true or false", {"true": True, "false": False}.__getitem__),
        int: ("a whole number", int),
    }
    several = ("numbers", lambda words: tuple(float(word) for word in words.split(",")))
    kind, read = several if name == "widths" else kinds.get(type(default), ("a number", float))
    try:
        return read(text)
    except (KeyError, ValueError):
        example = (
            "1,0.5,0" if name == "widths" else str(-20.0 if default is None else default).lower()
        )
        raise UserError(
            f"setting '{name}' is '{text}'; write {kind}, as in {name}={example}"
        ) from None


def _numbers(path: "LatentPath") -> dict[str, Any]:
    """The numbers of one journey, its planner's info and its notes."""
    notes = {"notes": list(path.notes)} if path.notes else {}
    return {name: values[0].item() for name, values in path.metrics.items()} | path.info | notes


def _write(
    out: FilePath,
    journeys: "Journeys",
    numbers: Mapping[str, Any],
    given: Namespace,
    atlas: "Atlas",
) -> None:
    """Write what the file's name says: film strips, an animation, the codes of the first journey, or all there is."""
    import torch

    from latent_atlas.report.figures.travel import draw_travel
    from latent_atlas.report.plots.animation import animation, save_animation
    from latent_atlas.report.plots.style import save

    suffix = out.suffix.lower()
    if suffix in STILL:
        save(draw_travel(atlas, journeys), out)
    elif suffix in MOVING:
        films = torch.stack([path.strip() for path in journeys.values()], dim=1).cpu().numpy()
        captions = list(journeys) if len(journeys) > 1 else ()
        save_animation(animation(films, captions, fps=FPS, bounce=not given.closed), out)
    elif suffix == ".npy":
        write_codes(next(iter(journeys.values())).points[:, 0], atlas, out)
    else:
        _write_all(out, journeys, numbers, atlas)


def _write_all(
    out: FilePath, journeys: "Journeys", numbers: Mapping[str, Any], atlas: "Atlas"
) -> None:
    """Write every journey's codes and log-densities: .npz with its images, .json with its numbers."""
    import numpy as np

    from latent_atlas.travel.metrics import frame_log_probs

    arrays: dict[str, dict[str, np.ndarray]] = {}
    for name, path in journeys.items():
        points = path.points[:, 0].unflatten(1, atlas.map.shape).cpu().numpy()
        arrays[name] = {
            "points": points,
            "log_prob": frame_log_probs(atlas.map, path.points)[:, 0].cpu().numpy(),
        }
    if out.suffix.lower() == ".json":
        listed = {
            name: {key: some.tolist() for key, some in one.items()} for name, one in arrays.items()
        }
        out.write_text(
            json.dumps({name: {**numbers[name], **listed[name]} for name in listed}, indent=2)
        )
        return
    flat = {f"{name}.{key}": some for name, one in arrays.items() for key, some in one.items()}
    flat |= {
        f"{name}.images": path.strip().cpu().numpy()
        for name, path in journeys.items()
        if path.images is not None
    }
    with out.open("wb") as file:  # numpy would add .npz to a name in capitals
        np.savez(file, **flat)  # pyright: ignore[reportArgumentType] - none is called allow_pickle
