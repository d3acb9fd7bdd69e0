"""Devices, precision, compilation, interrupts: the only module that knows Lightning Fabric."""

import platform
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

import torch
from torch import nn
from torch._functorch import config as functorch_config

from latent_atlas.errors import UserError

__all__ = ["Engine", "StopRequest", "device_name", "pick_device", "stop_request"]


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is a GPU if there is one.

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
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device '{name}' cannot be used ({reason}); `latent-atlas doctor` lists what can"
        ) from None
    return device


def device_name(device: torch.device) -> str:
    """What to print beside a time that was measured on it."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({platform.machine()})"
    )


class Engine:
    """Where and how precisely the arithmetic happens.

    Attributes:
        device: Where networks and batches live.
    """

    def __init__(self, device: str, precision: str, *, compile: bool) -> None:
        """Arguments: as in `TrainConfig`."""
        from lightning_fabric import Fabric  # takes seconds to import, and only training needs it

        self.device = pick_device(device)
        index = [self.device.index or 0] if self.device.type == "cuda" else 1
        self._fabric = Fabric(
            accelerator=self.device.type,
            devices=index,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
        self._compile = compile

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move a module here and compile its forward if asked; its parameters keep their names.

        Convolutions run channels last: on CPUs and on GPUs that is the order their kernels want.
        """
        module.to(self.device)
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing in the stubs
        if self._compile:
            # Balancing weights walks a compiled graph twice, which must then keep its buffers.
            functorch_config.donated_buffer = False
            module.compile()
        return module

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which forward passes run in the chosen precision."""
        return self._fabric.autocast()


class StopRequest:
    """Whether somebody asked the run to stop, and with which signal."""

    def __init__(self) -> None:
        """Start with nobody having asked."""
        self.signal: int | None = None

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: ask to stop; a second Ctrl-C interrupts at once."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request that the loop answers when its state is whole."""
    request = StopRequest()
    try:
        before = {
            number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except (
        ValueError
    ):  # signals reach the main thread only; elsewhere whoever started the thread stops it
        before = {}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
