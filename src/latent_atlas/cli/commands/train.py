"""The command `train`: images in; a run with trained networks, a map and a report out."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from latent_atlas.cli.arguments import (
    SOURCE,
    TRACKER,
    add_device,
    add_image_shape,
    add_settings,
    preset_of,
)
from latent_atlas.cli.commands.report import write_page
from latent_atlas.cli.console import Advance, Console, losses_in_words
from latent_atlas.cli.plan import for_images, say_end, show_plan
from latent_atlas.config.presets import (
    PRESETS,
    for_cpu,
    preset_for_size,
    quick,
    with_changes,
    with_image_size,
)
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError, require
from latent_atlas.progress import doing

if TYPE_CHECKING:
    from latent_atlas.data.imageset import ImageSet
    from latent_atlas.runs import Run
    from latent_atlas.training.history import Log
    from latent_atlas.training.processes import Processes

__all__ = ["RESUMABLE", "add_arguments", "train", "train_and_report"]

RESUMABLE = {
    "train": ("learning_rate", "discriminator_learning_rate", "r1", "r2"),
    "map": ("learning_rate", "weight_decay", "steps", "patience"),
}
"""The settings that --resume may change, by section: those that no saved state depends on."""

NO_DENSITY = ("low-density", "between")  # boundaries
FLAGS = {
    "data": ("fit", "max_rejects", "limit"),
    "model": ("image_size", "channels"),
    "train": ("mode", "steps", "batch_size", "seed", "precision", "compile", "device"),
}
"""The flags that are settings, by section."""


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `train`."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help=SOURCE)
    parser.add_argument("--out", metavar="RUN", required=True, help="run folder to create")
    parser.add_argument(
        "--preset",
        metavar="P",
        help=f"configuration to start from: {', '.join(PRESETS)} (default: the one of the data set "
        "or of the image size)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="train a smaller model, in minutes on two CPU cores"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out with its own settings; give SOURCE if the images moved; "
        "--set may change the learning rates",
    )
    parser.add_argument(
        "--ray",
        type=int,
        metavar="N",
        help="train with N workers of Ray, on this machine or on the cluster at RAY_ADDRESS; each "
        "has its part of every batch",
    )
    parser.add_argument(
        "--track",
        metavar="TRACKER",
        help=f"send losses, metrics and pictures to {TRACKER}",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read the images and print what they are, the settings, the number of parameters, and "
        "the memory and time needed; train nothing",
    )
    _add_images(parser)
    _add_networks(parser)
    add_device(parser)
    add_settings(
        parser, "any other setting that --dry-run prints, such as train.kl_weight=0.001; repeatable"
    )


def _add_images(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("images")
    add_image_shape(group)
    group.add_argument(
        "--max-rejects",
        type=float,
        metavar="F",
        help="abort if more than this fraction of files cannot be read (default: 0.05)",
    )
    group.add_argument("--limit", type=int, metavar="N", help="use at most N images")


def _add_networks(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--mode",
        metavar="M",
        help="when the latent discriminator D_z trains: separate (after the networks; default), "
        "online (beside them) or adversarial (beside them, and the encoder trains to fool it)",
    )
    group.add_argument("--steps", type=int, metavar="N", help="training steps of the networks")
    group.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="random seed of the weights, batches and noise (default: 0)",
    )
    group.add_argument(
        "--precision",
        metavar="P",
        help="floating point of the networks: 32, bf16 or auto (default: bf16 where this machine "
        "is much faster in it)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the networks with torch.compile",
    )


def train(given: Namespace, console: Console) -> None:
    """Train the networks and the map, and report on them."""
    out = Path(given.out)
    if given.resume:
        _refuse_settings(given)
        moved = {"source": given.source, "settings": given.settings}
        how = {"workers": given.ray, "tracker": given.track}
        train_and_report(None, out, console, resume=True, **how, **moved)
        return
    if given.source is None:
        raise UserError(
            "no SOURCE was given; name a data set, a folder, an archive or an array, or use "
            "--resume"
        )
    config = _chosen_config(given, console)
    if given.dry_run:
        _show_plan(config, console)
    else:
        train_and_report(config, out, console, resume=False, workers=given.ray, tracker=given.track)


def train_and_report(
    config: Config | None,
    out: Path,
    console: Console,
    *,
    resume: bool,
    source: str | None = None,
    settings: Sequence[str] = (),
    workers: int | None = None,
    tracker: str | None = None,
) -> None:
    """Train a run, or finish one, and write its report.

    Processes that a launcher has started train the networks together. The first of them decides
    what is done, speaks to the user, owns the run folder, and does the rest alone.

    Arguments:
        config: Settings of a new run; unused with `resume`, which reads those of the run.
        out: The run folder.
        console: Where progress and the result are printed.
        resume: Continue the run in `out` instead of starting a new one.
        source: Where the images of a run to be continued are now, if they were moved.
        settings: With `resume`, settings to change, as for `with_settings`.
        workers: Workers of Ray that train; None trains in this process and in those beside it.
        tracker: The experiment tracker that follows, as for `report.trackers.tracking`.
    """
    from latent_atlas.report.trackers import tracking
    from latent_atlas.runs import Run
    from latent_atlas.training.processes import join

    run, processes = Run(out), join()
    tracker = tracker if processes.is_first else None
    with ExitStack() as held, tracking(run, tracker, console.say) as track:

        def decide() -> _Task:
            if resume:
                run.config()  # a folder without a run is not made one
            held.enter_context(run.hold())
            return _task(run, config, source, settings, processes, resume=resume)

        task = processes.first(decide)
        if not task.finished and workers is not None:
            _train_by_ray(task, run, workers, console, held, track)
        elif not task.finished:
            quiet = Console(as_json=console.as_json, quiet=True)
            _train(task, run, console if processes.is_first else quiet, processes, track)
        processes.leave()
        if processes.is_first:
            write_page(out, task.config.train.device, console)


class _Task(NamedTuple):
    """What is to be trained.

    Attributes:
        config: The settings.
        resume: Whether the folder holds the run already.
        finished: Whether nothing is left to train.
    """

    config: Config
    resume: bool
    finished: bool


def _task(
    run: "Run",
    config: Config | None,
    source: str | None,
    settings: Sequence[str],
    processes: "Processes",
    *,
    resume: bool,
) -> _Task:
    """What is to be trained, in the folder held for it; arguments as for `train_and_report`."""
    # A launcher starts processes again with the command that began the run. The note is left by
    # that command alone, so another one does not go on with a run that it finds in the folder.
    begun = run.file("config.json").is_file()
    if resume or (begun and processes.noted(_key(run))):
        config, resume = run.source(_changed(run, settings)), True
    else:
        run.claim()
    assert config is not None
    if source is not None:
        config = replace(config, data=replace(config.data, source=source))
    processes.share_of(config.train.batch_size)
    return _Task(config, resume, source is None and run.file("map.safetensors").is_file())


def _key(run: "Run") -> str:
    """What the launcher remembers a run by."""
    return f"began {run.path.absolute()}"


def _changed(run: "Run", settings: Sequence[str]) -> Config:
    """The run's configuration with other rates.

    Raises:
        UserError: the run has finished.
    """
    config = run.config()
    if not settings:
        return config
    if run.file("map.safetensors").is_file():
        raise UserError(
            f"{run.path} has finished, so --resume has nothing to train; leave out --set, or train "
            "into another --out"
        )
    return with_settings(config, list(settings))


def _refuse_settings(given: Namespace) -> None:
    """A resumed run keeps its settings but the rates: refuse flags that would change others."""
    flags = [flag for section in FLAGS.values() for flag in section]
    refused = [flag for flag in flags if getattr(given, flag) is not None]
    refused += [flag for flag in ("preset", "quick", "dry_run") if getattr(given, flag)]
    changeable = [f"{section}.{name}" for section, names in RESUMABLE.items() for name in names]
    fixed = [s for s in given.settings if s.partition("=")[0].strip() not in changeable]
    names = [f"--{flag.replace('_', '-')}" for flag in refused] + [f"--set {one}" for one in fixed]
    if names:
        raise UserError(
            f"--resume takes its settings from the run, except {', '.join(changeable)}; leave out "
            f"{names[0]}"
        )


def _chosen_config(given: Namespace, console: Console) -> Config:
    """The preset for the source, changed by the flags and then by the values of --set."""
    from latent_atlas.data.packed import Pack
    from latent_atlas.device import pick_device

    config = preset_of(given.source, given.preset)
    side, chosen = config.model.image_size, given.preset or given.source in PRESETS
    if given.image_size is not None:
        config = with_image_size(config, given.image_size)
    if given.quick:
        config = quick(config)
    elif not chosen and pick_device(given.device or "auto").type == "cpu":
        config = for_cpu(config)
        console.say(
            "without a GPU, images that have no preset of their own train a smaller model; "
            f"--preset {preset_for_size(side)} trains the one for a GPU"
        )
    if Pack.is_at(given.source):  # which has one size
        config = replace(config, model=replace(config.model, image_size=side))
    flags = {
        f"{section}.{flag}": getattr(given, flag)
        for section, names in FLAGS.items()
        for flag in names
    }
    flags["data.source"] = given.source
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    settings += given.settings
    config = with_changes(config, settings)
    boundary = config.map.boundary
    require(
        boundary not in NO_DENSITY,
        f"boundary '{boundary}' gives no log-density, which paths, samples and the report of a run "
        "need; train with another, and fit such a map to its codes: latent-atlas fit "
        f"RUN/codes.safetensors --boundary {boundary}",
    )
    return config


def _show_plan(config: Config, console: Console) -> None:
    """Print what a run would be, in one process."""
    from latent_atlas.device import pick_device
    from latent_atlas.training.processes import join

    processes = join()
    if processes.is_first:
        device = pick_device(config.train.device)  # fails before the images are read
        show_plan(_load(config, None, console), config, device, console)
    processes.leave()


def _speedup_in_words(speedup: float) -> str:
    """What `bf16_speedup` found."""
    if speedup == 0:
        return "this device has no bf16"
    return f"measured here, bf16 is {speedup:.2g} x as fast as float32"


def _load(config: Config, rejects_file: Path | None, console: Console) -> "ImageSet":
    """Load the images, with progress."""
    from latent_atlas.data.load import load_images

    with console.progress() as advance:
        return load_images(
            config.data,
            config.model.image_size,
            config.model.channels,
            progress=lambda done, total, bad: advance(
                "images", done, total, f"{bad} unreadable" if bad else ""
            ),
            rejects_file=rejects_file,
            say=console.say,
        )


def _load_again(
    config: Config, run: "Run", rejects_file: Path | None, console: Console
) -> "ImageSet":
    """Load the images of a run that is resumed.

    Raises:
        UserError: they are no longer where they were; the sentence says how to name the new place.
    """
    from latent_atlas.data.load import NoSourceError

    try:
        return _load(config, rejects_file, console)
    except NoSourceError:
        raise UserError(
            f"the images of {run.path} are no longer at '{config.data.source}'; if they were moved "
            f"or renamed, give their place: latent-atlas train SOURCE --resume --out {run.path}"
        ) from None


def _train(task: _Task, run: "Run", console: Console, processes: "Processes", track: "Log") -> None:
    """Load the images, say what they are, and train, with progress."""
    from latent_atlas.training.loop import assist
    from latent_atlas.training.loop import train as train_run

    images = _load_for(task, run, console, processes)
    task = processes.first(lambda: _begun(task, images, run, console, processes))
    _check_same(images, processes)
    settings = {"resume": task.resume, "processes": processes}
    if task.finished:
        return
    if not processes.is_first:
        assist(images, task.config, **settings)
        return
    say_end(images.train.images, task.config, run, console, processes)
    with console.progress() as advance:
        train_run(images, task.config, run, log=_shown(advance, track), **settings)


def _train_by_ray(
    task: _Task, run: "Run", workers: int, console: Console, held: ExitStack, track: "Log"
) -> None:
    """Load the images, say what they are, and let Ray's workers train, with progress.

    Arguments:
        task: What is to be trained.
        run: The folder.
        workers: How many train.
        console: Where progress is printed.
        held: What holds the folder, which the first worker holds meanwhile.
        track: Called with each record, too.
    """
    from latent_atlas.distributed import ray_train
    from latent_atlas.training.processes import ALONE, Processes

    ray_train.check_workers(workers, task.config.train.batch_size)
    images = _load_for(task, run, console, ALONE)
    task = _begun(task, images, run, console, Processes(world_size=workers), by_ray=True)
    held.close()
    if not task.finished:
        with console.progress() as advance:
            ray_train.train(run, workers, log=_shown(advance, track))
    held.enter_context(run.hold())


def _load_for(task: _Task, run: "Run", console: Console, processes: "Processes") -> "ImageSet":
    """Load the images of a run, and say what they are."""
    from latent_atlas.data.findings import in_words

    # An unknown device fails before the images are read.
    processes.device(task.config.train.device)
    rejects = run.file("rejects.jsonl") if processes.is_first else None
    if task.resume:
        images = _load_again(task.config, run, rejects, console)
    else:
        images = _load(task.config, rejects, console)
    for sentence in (*in_words(images.summary), *images.notes):
        console.say(sentence)
    return images


def _shown(advance: Advance, track: "Log") -> "Log":
    """Show records as the progress of the networks and of the map, and hand them on."""
    phases = {"model": "networks", "map": "map"}

    def log(entry: dict[str, Any]) -> None:
        advance(phases[entry["phase"]], entry["step"], entry["steps"], losses_in_words(entry))
        track(entry)

    return log


def _begun(
    task: _Task,
    images: "ImageSet",
    run: "Run",
    console: Console,
    processes: "Processes",
    *,
    by_ray: bool = False,
) -> _Task:
    """The task with settings that depend on the images and on this machine; it is a run now.

    Ray's workers, which may be elsewhere, choose the precision themselves.
    """
    from latent_atlas.data.load import with_levels
    from latent_atlas.device import bf16_speedup, pick_device, pick_precision
    from latent_atlas.training.run_files import check_images

    config = task.config
    if task.resume:
        check_images(images, run)
    else:
        config, note = for_images(config, images)
        for sentence in note:
            console.say(sentence)
    t, device = config.train, pick_device(config.train.device)
    processes.share_of(min(t.batch_size, len(images.train.images)))
    if t.precision == "auto" and not by_ray:
        doing("measuring how fast this machine is")
        t = replace(t, precision=pick_precision("auto", device))
        console.say(f"precision: {t.precision}; {_speedup_in_words(bf16_speedup(device))}")
    data = with_levels(config.data, images.levels)
    config = replace(config, data=data, train=t)
    run.begin(config)
    processes.note(_key(run))
    return _Task(config, task.resume, run.file("map.safetensors").is_file())


def _check_same(images: "ImageSet", processes: "Processes") -> None:
    """Refuse processes that have read different images, such as from disks of their own."""
    if processes.world_size == 1:
        return
    digest = images.manifest()["digest"]
    other = processes.any(digest != processes.first(lambda: digest))
    processes.first(
        lambda: require(
            not other,
            "the processes read different images; give them the same files, on a disk that all of "
            "them read",
        )
    )
