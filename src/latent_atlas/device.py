"""Devices, precision and compilation."""

import platform

import torch
from torch import nn
from torch._functorch import config as functorch_config

from latent_atlas.errors import UserError

__all__ = ["Engine", "device_name", "pick_device"]


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
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device '{name}' cannot be used ({reason}); `latent-atlas doctor` lists what can"
        ) from None
    return device


def device_name(device: torch.device) -> str:
    """The name of a device, to print beside times measured on it."""
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({platform.machine()})"
    )


class Engine:
    """Where and how precisely networks compute.

    Attributes:
        device: Where networks and batches are.
    """

    def __init__(self, device: str, precision: str, *, compile: bool) -> None:
        """Arguments: as in `TrainConfig`."""
        self.device = pick_device(device)
        self._bf16 = precision == "bf16"
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
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)
