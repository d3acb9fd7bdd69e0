"""Stop where the held-out loss no longer falls, and keep the weights of its least value."""

import copy
import math

from torch import Tensor, nn

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """The weights with the least held-out loss so far.

    Attributes:
        loss: Their held-out loss; infinite until a check is finite.
        step: The optimisation step they are of; 0 until then.
        weights: The weights by name; empty until then.
    """

    def __init__(self, patience: int) -> None:
        """Arguments: patience, the steps without improvement after which to stop, is 1 or more."""
        self.patience = patience
        self.loss = math.inf
        self.step = 0
        self.weights: dict[str, Tensor] = {}

    def improves(self, step: int, loss: float, network: nn.Module) -> bool:
        """Note the held-out loss of a network at a step, and whether it is the least so far.

        The weights are copied if it is. A loss that is not a number never is.
        """
        if not loss < self.loss:
            return False
        self.loss, self.step = loss, step
        self.weights = copy.deepcopy(network.state_dict())
        return True

    def should_stop(self, step: int) -> bool:
        """Whether the loss has not improved for `patience` steps."""
        return step - self.step >= self.patience

    def restore(self, network: nn.Module) -> None:
        """Give a network the best weights; it keeps its own if no loss was finite."""
        if self.weights:
            network.load_state_dict(self.weights)
