"""Devices, precision and compilation."""

import platform
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch._functorch import config as functorch_config

from latent_atlas.errors import UserError

__all__ = [
    "Engine",
    "bf16_speedup",
    "convolution_rate",
    "device_name",
    "free_memory",
    "generator_on",
    "matmul_rate",
    "pick_device",
    "pick_precision",
]

WORTHWHILE = 1.5  # below it, casts and what is not multiplied eat the gain of bf16
SIDE = 28  # of the images that convolutions are timed on, in pixels


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is a GPU if there is one, else the CPU.

    Raises:
        UserError: this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("only cpu, cuda and mps are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(
            f"there is no device '{name}' here; choose {', '.join(['auto', *_devices()])}"
        ) from None
    return device


def _devices() -> list[str]:
    """The names of the devices that this machine has."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbered = [f"cuda:{i}" for i in range(gpus)] if gpus > 1 else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *["cuda"][:gpus], *numbered, *mps]


def generator_on(device: torch.device, given: torch.Generator | None) -> torch.Generator:
    """The generator that was given, or a new one with a random seed.

    Raises:
        UserError: it is on another device.
    """
    if given is None:
        made = torch.Generator(device)
        made.seed()
        return made
    if given.device.type != device.type:
        raise UserError(
            f"the generator is on {given.device}, the codes on {device}; make one there"
        )
    return given


def free_memory(device: torch.device) -> int | None:
    """Bytes of memory that are free on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    try:
        available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None  # only Linux has this file
    return None if available is None else 1024 * int(available[1])


def device_name(device: torch.device) -> str:
    """The name of a device, to print beside times measured on it."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({platform.machine()})"
    )


def pick_precision(name: str, device: torch.device) -> str:
    """The precision called `name`; "auto" is bf16 where `bf16_speedup` makes it worthwhile.

    Otherwise "auto" is 32.
    """
    if name == "auto":
        return "bf16" if bf16_speedup(device) >= WORTHWHILE else "32"
    return name


@cache
def bf16_speedup(device: torch.device) -> float:
    """How many times as fast as in float32 a 3x3 convolution is in bfloat16.

    It is measured once in a process, in some 50 ms: what a chip multiplies fast shows in its time
    alone. 0 where the device has no bfloat16.
    """
    images = 4 if device.type == "cpu" else 256  # a GPU is not filled by few
    try:
        fast = convolution_rate(device, torch.bfloat16, 32, images)
    except RuntimeError:
        return 0.0
    return fast / convolution_rate(device, torch.float32, 32, images)


@torch.no_grad()
def convolution_rate(device: torch.device, dtype: torch.dtype, channels: int, n: int) -> float:
    """Multiplications and additions per second of a 3x3 convolution of n images.

    On a CPU it is the rate of one core.
    """
    last = {"dtype": dtype, "device": device, "memory_format": torch.channels_last}
    images = torch.ones(n, channels, SIDE, SIDE).to(**last)
    weight = torch.ones(channels, channels, 3, 3).to(**last)
    operations = 2 * n * SIDE**2 * 9 * channels**2
    return operations / _seconds(device, lambda: F.conv2d(images, weight, padding=1))


@torch.no_grad()
def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiplications and additions per second of a matrix product; on a CPU, of one core."""
    side = 512 if device.type == "cpu" else 4096
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    return 2 * side**3 / _seconds(device, lambda: matrix @ matrix)


def _seconds(device: torch.device, compute: Callable[[], torch.Tensor]) -> float:
    """The least time of three, after one that also prepares the device; on a CPU, of one core.

    Other work on the machine hardly lengthens the time of one core, while threads wait for it.
    """
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(4):
            start = clock()
            float(compute().flatten()[0])  # waits for the device
            times.append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return min(times[1:])


class Engine:
    """Where and how precisely networks compute.

    Attributes:
        device: Where networks and batches are.
        precision: "32" or "bf16".
    """

    def __init__(self, device: str, precision: str, *, compile: bool) -> None:
        """Arguments: as in `TrainConfig`."""
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self._compile = compile

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move a module to the device and compile its forward if asked; weights keep their names.

        Weights of convolutions are stored channels last, as kernels on CPU and GPU want them.
        """
        module.to(self.device)
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing in the stubs
        if self._compile:
            # `losses.balanced_weight` walks a compiled graph twice, so it must keep its buffers.
            functorch_config.donated_buffer = False
            module.compile()
        return module

    def autocast(self) -> torch.autocast:
        """Context in which forward passes run in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
