"""The state of an optimiser as named tensors, so that a resumed run continues bit for bit."""

import torch
from torch import Tensor

__all__ = ["optimizer_tensors", "restore_optimizer"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as flat tensors, named `PARAMETER.SLOT` such as `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{slot}": value for index, slots in state.items() for slot, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split(".")
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    # A fused optimiser walks through memory, so moments have to lie as their weights do.
    for weight, slots in optimizer.state.items():
        for slot, value in slots.items():
            if value.shape == weight.shape:
                slots[slot] = torch.empty_like(weight).copy_(value)
