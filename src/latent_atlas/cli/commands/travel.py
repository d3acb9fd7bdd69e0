"""The command `travel`: places in, paths out, as a picture, an animation, or numbers."""

import io
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar

from latent_atlas.cli.arguments import (
    PLACE,
    add_device,
    add_nearest,
    add_run,
    add_settings,
    code_at,
    load_atlas,
    photo_at,
    picture_or_codes,
    seed,
    write_codes,
)
from latent_atlas.cli.console import Console
from latent_atlas.config.parse import settings_of, split_setting, with_values
from latent_atlas.errors import UserError, printable
from latent_atlas.files import write_bytes, write_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.travel.path import LatentPath
    from latent_atlas.travel.planners.base import Planner

    Paths = dict[str, LatentPath]

__all__ = ["add_arguments", "travel"]

Settings = TypeVar("Settings")

WALK_FLAGS = ("rule", "alpha", "beta", "gamma", "arrive")
STILL, MOVING, CODES = (".png",), (".gif", ".mp4"), (".npy", ".npz", ".json")
FRAMES, FRAMES_MOVING = 17, 49
FPS = 12  # frames a second


@dataclass(frozen=True)
class RandomWalkSettings:
    """Settings of `Atlas.random_walk` that --set can give; their defaults are its own."""

    stride: int = 10
    width: float = 0.0
    tuning: int = 200
    threshold: float | None = None


@dataclass(frozen=True)
class TraverseSettings:
    """Settings of `Atlas.traverse` that --set can give; their defaults are its own."""

    within: float | None = None
    steps: int = 4
    threshold: float | None = None


@dataclass(frozen=True)
class ProjectSettings:
    """Settings of `Atlas.project` that --set can give; their defaults are its own."""

    share: float = 0.05


@dataclass(frozen=True)
class PreserveSettings:
    """Settings of --preserve that --set can give; their defaults are those of `Atlas.travel`."""

    within: float | None = None


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `travel`."""
    add_run(parser)
    parser.add_argument(
        "places",
        metavar="PLACE",
        nargs="+",
        help=f"two images or more, each {PLACE}; or one with --random-walk, --traverse or "
        "--project",
    )
    _add_path(parser)
    _add_one_image(parser)
    _add_walk(parser)
    parser.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        default=0,
        help="random seed of planners that sample (default: 0)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file to write: a picture (.png), an animation (.gif, .mp4), codes (.npy), or all "
        "results (.npz, .json) (default: RUN/travel.png)",
    )
    add_nearest(parser)
    add_device(parser)
    add_settings(
        parser, "a setting of the planners, such as strength=3 or widths=1,0.5,0; repeatable", "N=V"
    )


def _add_path(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--planner",
        dest="planners",
        metavar="P,P",
        action="append",
        help="one or more of typical (default), geodesic, walk, linear, slerp, flow, string, "
        "graph, pullback and auto",
    )
    parser.add_argument("--closed", action="store_true", help="return to the first image")
    parser.add_argument(
        "--cut",
        action="store_true",
        help="jump where nothing lies between: frames unlike real codes become the nearest frame "
        "of their path that is like them",
    )
    parser.add_argument(
        "--preserve",
        metavar="A",
        action="append",
        default=[],
        help="keep an attribute along the path: class, the name of a class, one that the images "
        "are known by such as weight, or component:0; repeatable",
    )
    parser.add_argument(
        "--pace",
        metavar="P",
        help="frames at equal distances in the latent space (latent, default) or in their pixels "
        "(perceived)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="number of frames, both ends included (default: 17, or 49 for .gif and .mp4)",
    )


def _add_one_image(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("from one image")
    group.add_argument(
        "--traverse",
        metavar="A",
        help="change such an attribute of one image, by --by X or to --to X: that of one class, "
        "such as slant=italic, or a number",
    )
    group.add_argument(
        "--by",
        type=float,
        metavar="X",
        help="with --traverse: change of the attribute, negative for less of it",
    )
    group.add_argument("--to", type=float, metavar="X", help="with --traverse: value to reach")
    group.add_argument(
        "--random-walk",
        action="store_true",
        help="walk at random from one image, within regions of high density",
    )
    group.add_argument(
        "--project",
        action="store_true",
        help="first move images of low density up to the density threshold",
    )


def _add_walk(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the planner walk")
    group.add_argument("--rule", type=int, metavar="R", help="update rule 1 or 2 (default: 2)")
    group.add_argument(
        "--alpha",
        type=float,
        metavar="X",
        help="step size along the gradient of the map (default: 0.1)",
    )
    group.add_argument(
        "--beta",
        type=float,
        metavar="X",
        help="rule 1: weight of the goal, negative to approach it (default: -0.1)",
    )
    group.add_argument(
        "--gamma",
        type=float,
        metavar="X",
        help="rule 2: fraction of the distance to the goal per step (default: 0.02)",
    )
    group.add_argument(
        "--arrive",
        action="store_true",
        default=None,
        help="let the weight of the goal grow until the path reaches it",
    )


def travel(given: Namespace, console: Console) -> None:
    """Plan the paths, write them, and print their numbers."""
    from latent_atlas.report.figures.travel import describe

    _check(given)
    atlas = load_atlas(given, console)
    out = picture_or_codes(given, atlas, "travel.png", STILL + MOVING, CODES)
    usual = FRAMES_MOVING if out.suffix.lower() in MOVING else FRAMES
    frames = usual if given.frames is None else given.frames
    places = _places(given, atlas, console)
    beside = out.suffix.lower() not in (*MOVING, ".npy")
    with console.waiting("planning the paths"):
        if len(places) == 1:
            paths = _from_one(given, atlas, places, frames)
        else:
            paths = _between(given, atlas, places, frames, beside=beside)
    photos = {
        at: photo
        for at, place in enumerate(given.places)
        if (photo := photo_at(atlas, place)) is not None
    }
    paths = {name: _with_photos(path, photos) for name, path in paths.items()}
    for remark in _remarks(given, atlas, paths):
        console.say(remark)
    numbers = {name: path.numbers() | _images(atlas, path) for name, path in paths.items()}
    with console.waiting(f"writing {out}"):
        _write(out, paths, numbers, given, atlas)
    width = max(len(name) for name in paths)
    lines = [f"{name:{width}}  {describe(path)}" for name, path in paths.items()]
    for name, told in numbers.items():
        if "images" in told:
            seen = ", ".join(image["name"] for image in told["images"])
            lines.append(f"{name:{width}}  nearest real images {seen}")
    if atlas.collection is not None:
        shown = "".join(f", and {given.places[at]} itself" for at in photos)
        lines.append(f"the frames are {atlas.shown_by} images{shown}")
    console.result(
        {"file": str(out), "shown": atlas.shown_by, "travel": numbers},
        "\n".join([str(out), *lines]),
    )


def _with_photos(path: "LatentPath", photos: "Mapping[int, Tensor]") -> "LatentPath":
    """The path with photos, by the numbers of their places, in the frames of these places."""
    if path.images is None or not photos:
        return path
    images, last = path.images.clone(), len(path.points) - 1
    stops = [0, last] if path.waypoints is None else path.waypoints[:, 0].tolist()
    for at, photo in photos.items():
        images[stops[at]] = photo.to(images)
    return replace(path, images=images)


def _images(atlas: "Atlas", path: "LatentPath") -> dict[str, Any]:
    """Names and distances of the real images nearest to the frames, of a collection."""
    if path.nearest is None or atlas.collection is None:
        return {}
    distances, rows = path.nearest.distances[:, 0].tolist(), path.nearest.rows[:, 0].tolist()
    names = [printable(atlas.collection.names[row]) for row in rows]
    pairs = zip(names, distances, strict=True)
    return {"images": [{"name": name, "distance": distance} for name, distance in pairs]}


def _remarks(given: Namespace, atlas: "Atlas", paths: "Paths") -> list[str]:
    """What to know before the paths are relied on."""
    followed = [given.traverse] if given.traverse else []
    used = [atlas.properties[name] for name in dict.fromkeys([*given.preserve, *followed])]
    remarks = [one.told() for one in used if not one.warnings]  # which say more
    remarks = [told for told in remarks if told]
    for warning in dict.fromkeys(warning for path in paths.values() for warning in path.warnings):
        names = [name for name, path in paths.items() if warning in path.warnings]
        remarks.append(f"{', '.join(names)}: {warning}")
    return remarks


def _check(given: Namespace) -> None:
    """One sentence on what does not go together."""
    one = [flag for flag in ("random_walk", "traverse", "project") if getattr(given, flag)]
    if len(given.places) == 1 and not one:
        raise UserError(
            "a path needs two images and one was given; give another, or --random-walk, --traverse "
            "or --project"
        )
    if given.random_walk and given.traverse:
        raise UserError("--random-walk and --traverse are two different paths; choose one of them")
    if len(given.places) > 1 and (given.random_walk or given.traverse):
        flag = "--random-walk" if given.random_walk else "--traverse"
        raise UserError(
            f"{flag} starts from one image and {len(given.places)} were given; leave the others out"
        )
    if given.traverse is None and (given.by, given.to) != (None, None):
        raise UserError("--by and --to need an attribute to change; name it with --traverse")
    one_only = [
        flag
        for flag in ("planners", "closed", "cut", "pace")
        if getattr(given, flag) and len(given.places) == 1
    ]
    if one_only:
        raise UserError(
            f"--{one_only[0].removesuffix('s')} needs two images or more and one was given"
        )


def _places(given: Namespace, atlas: "Atlas", console: Console) -> "Tensor":
    """Codes of the places, shape (k, d); with --project those of low density at the threshold."""
    import torch

    codes = torch.stack([code_at(atlas, place) for place in given.places])
    if not given.project or (len(codes) == 1 and not (given.random_walk or given.traverse)):
        return codes
    projected = atlas.project(codes)
    distances = (projected.points[-1] - codes).norm(dim=1)
    for place, moved in zip(given.places, distances.tolist(), strict=True):
        if moved > 0:
            console.say(f"{place} was off-manifold and is moved by {moved:.2f} to the threshold")
    return projected.points[-1]


def _from_one(given: Namespace, atlas: "Atlas", places: "Tensor", frames: int) -> "Paths":
    """The path from one place: around it, along an attribute, or its projection."""
    if given.random_walk:
        walk = _settings(given, RandomWalkSettings(), "--random-walk")
        generator = _generator(given, atlas)
        path = atlas.random_walk(places, frames=frames, generator=generator, **vars(walk))
        return {"random walk": path}
    if given.traverse:
        traverse = _settings(given, TraverseSettings(), "--traverse")
        path = atlas.traverse(
            places,
            given.traverse,
            by=given.by,
            to=given.to,
            keep=given.preserve,
            frames=frames,
            **vars(traverse),
        )
        return {f"traverse {given.traverse}": path}
    project = _settings(given, ProjectSettings(), "--project")
    return {"project": atlas.project(places, **vars(project))}


def _settings(given: Namespace, start: Settings, called: str) -> Settings:
    return with_values(start, dict(map(split_setting, given.settings)), called=called)


def _between(
    given: Namespace, atlas: "Atlas", places: "Tensor", frames: int, *, beside: bool
) -> "Paths":
    """The path by every planner that was named; if so wanted, beside them the straight line."""
    planners, kept = _planners(given)

    def go(planner: "str | Planner", preserve: list[str]) -> "LatentPath":
        return atlas.travel(
            [*places],
            None,
            planner,
            frames=frames,
            closed=given.closed,
            preserve=preserve,
            within=kept.within,
            pace=given.pace or "latent",
            cut=given.cut,
            generator=_generator(given, atlas),
        )

    line = {"linear": go("linear", [])} if beside and "linear" not in planners else {}
    return line | {name: go(planner, given.preserve) for name, planner in planners.items()}


def _planners(given: Namespace) -> "tuple[dict[str, Planner], PreserveSettings]":
    """The planners that were named, with their settings, and how far attributes may move.

    A setting is that of every planner that has it.
    """
    from latent_atlas.travel.planners.registry import planner_of

    flags = {name: value for name in WALK_FLAGS if (value := getattr(given, name)) is not None}
    words = given.planners or (["walk"] if flags else ["typical"])
    names = dict.fromkeys(name.strip() for word in words for name in word.split(","))
    planners = {name: planner_of(name) for name in names}
    if flags and "walk" not in planners:
        raise UserError(f"--{next(iter(flags))} is for a walk; add walk to the planners")
    values = dict(map(split_setting, given.settings))
    kept = {"within": values.pop("within")} if given.preserve and "within" in values else {}
    known = {name: settings_of(type(planner)) for name, planner in planners.items()}
    values |= flags
    for name in values:
        if len(planners) > 1 and not any(name in settings for settings in known.values()):
            every = ", ".join(dict.fromkeys(one for settings in known.values() for one in settings))
            raise UserError(f"none of these planners has a setting '{name}'; they have {every}")
    return {
        name: with_values(
            planner,
            values
            if len(planners) == 1
            else {setting: value for setting, value in values.items() if setting in known[name]},
            called=f"planner '{name}'",
        )
        for name, planner in planners.items()
    }, with_values(PreserveSettings(), kept, called="--preserve")


def _generator(given: Namespace, atlas: "Atlas") -> "torch.Generator":
    import torch

    return torch.Generator(atlas.device).manual_seed(given.seed)


def _write(
    out: FilePath,
    paths: "Paths",
    numbers: Mapping[str, Any],
    given: Namespace,
    atlas: "Atlas",
) -> None:
    """Write what the file's name asks for: strips, an animation, the codes of a path, or all."""
    import torch

    from latent_atlas.report.figures.travel import draw_travel
    from latent_atlas.report.plots.animation import animation, save_animation
    from latent_atlas.report.plots.style import save

    suffix = out.suffix.lower()
    if suffix in STILL:
        save(draw_travel(atlas, paths), out)
    elif suffix in MOVING:
        films = torch.stack([path.strip() for path in paths.values()], dim=1).cpu().numpy()
        captions = list(paths) if len(paths) > 1 else ()
        if atlas.collection is not None:
            captions = [f"{name}, {atlas.shown_by} images" for name in paths]
        save_animation(animation(films, captions, fps=FPS, bounce=not given.closed), out)
    elif suffix == ".npy":
        write_codes(next(iter(paths.values())).points[:, 0], atlas, out)
    else:
        _write_all(out, paths, numbers, atlas)


def _write_all(out: FilePath, paths: "Paths", numbers: Mapping[str, Any], atlas: "Atlas") -> None:
    """Write every path's codes and log-densities: .npz with images, .json with numbers."""
    import numpy as np

    from latent_atlas.travel.metrics import frame_log_probs

    arrays: dict[str, dict[str, np.ndarray]] = {}
    for name, path in paths.items():
        points = path.points[:, 0].unflatten(1, atlas.map.shape).cpu().numpy()
        arrays[name] = {
            "points": points,
            "log_prob": frame_log_probs(atlas.map, path.points)[:, 0].cpu().numpy(),
        }
    if out.suffix.lower() == ".json":
        listed = {
            name: {key: some.tolist() for key, some in one.items()} for name, one in arrays.items()
        }
        written = {name: {**numbers[name], **listed[name]} for name in listed}
        write_text(out, json.dumps(written, indent=2))
        return
    flat = {f"{name}.{key}": some for name, one in arrays.items() for key, some in one.items()}
    flat |= {
        f"{name}.images": path.strip().cpu().numpy()
        for name, path in paths.items()
        if path.images is not None
    }
    buffer = io.BytesIO()
    np.savez(buffer, **flat)  # pyright: ignore[reportArgumentType] - none is called allow_pickle
    write_bytes(out, buffer.getbuffer())
