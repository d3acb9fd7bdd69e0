"""Running averages of a network's weights, which are smoother than the weights of any one step."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["average_of", "update_average"]

Network = TypeVar("Network", bound=nn.Module)


def average_of(network: Network) -> Network:
    """A copy of the network to hold its averaged weights; it takes no gradients."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """average <- β average + (1 - β) network, with β = min(decay, step / (step + 10)).

    The smaller β of the first steps makes the average forget the initial weights. Buffers are left
    as they are.

    Arguments:
        average: What `average_of` returned.
        network: The network that is trained.
        step: The number of the step just taken, from 1.
        decay: In [0, 1); 0 copies the weights.
    """
    beta = min(decay, step / (step + 10))
    move = get_ema_multi_avg_fn(beta)  # all weights in one call, which needs no count
    move([*average.parameters()], [*network.parameters()], 0)
