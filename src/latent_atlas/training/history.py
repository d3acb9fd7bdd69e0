"""The losses of a run while it trains, and the checkpoints that it resumes from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.runs import Run, read_tensors, reading, write_tensors
from latent_atlas.training.processes import ALONE, Processes
from latent_atlas.training.step import TrainStep

__all__ = ["Checkpoint", "Diverged", "History", "Log", "restore"]

Log = Callable[[dict[str, Any]], None]

STATE = "state.safetensors"
ADVICE = (
    "the last good checkpoint, if there was one, is kept: `train --resume`, or the same `embed` "
    "command, goes on from it with a lower rate, as in --set train.learning_rate=1e-4, or with "
    "higher train.r1 and train.r2"
)


class Diverged(UserError):
    """A loss or a weight is not finite; the last checkpoint before it is kept."""


class History:
    """The losses since the last record.

    They stay on the device until a record or a checkpoint is due, since reading them waits for it.
    Those of several processes are averaged then, so that all of them see a loss that is not finite.
    """

    def __init__(self, steps: int, batch_size: int, log: Log, processes: Processes = ALONE) -> None:
        """Arguments: steps of the whole run; images in a batch; called with each record; the
        processes that train.
        """
        self.processes = processes
        self.steps = steps
        self.batch_size = batch_size
        self.log = log
        self.pending: dict[str, list[tuple[int, Tensor]]] = {}
        self.clock = time.perf_counter()
        self.steps_timed = 0

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Remember the losses of a step, by name."""
        self.steps_timed += 1
        for name, value in losses.items():
            self.pending.setdefault(name, []).append((step, value))

    def averages(self) -> dict[str, Tensor]:
        """The losses since the last record, by name in order: means over processes, on the CPU."""
        return {
            name: self.processes.mean(torch.stack([value for _, value in pairs])).cpu()
            for name, pairs in sorted(self.pending.items())
        }

    def check(self) -> dict[str, Tensor]:
        """The losses since the last record, by name.

        Raises:
            Diverged: one of them is not finite.
        """
        series = self.averages()
        bad = [
            (self.pending[name][int((~values.isfinite()).nonzero()[0])][0], name)
            for name, values in series.items()
            if not values.isfinite().all()
        ]
        if bad:
            step, name = min(bad)
            raise Diverged(f"the loss '{name}' is not finite at step {step}; {ADVICE}")
        return series

    def flush(self, step: int) -> None:
        """Log one record, the mean of each loss since the last one, and start the next.

        Raises:
            Diverged: one of the losses is not finite.
        """
        means = {name: values.mean().item() for name, values in self.check().items()}
        seconds = time.perf_counter() - self.clock
        speed = {"images_per_second": self.steps_timed * self.batch_size / seconds}
        self.log({"phase": "model", "step": step, "steps": self.steps, **means, **speed})
        self.pending.clear()
        self.clock, self.steps_timed = time.perf_counter(), 0

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs to write the same records: rows of step and loss."""
        steps = {name: [float(step) for step, _ in pairs] for name, pairs in self.pending.items()}
        return {
            f"history/{name}": torch.stack([torch.tensor(steps[name]), values], dim=1).double()
            for name, values in self.averages().items()
        }

    def restore(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Load what `tensors` returned."""
        for place, rows in tensors.items():
            if place.startswith("history/"):
                values = rows[:, 1].float().to(device)
                pairs = list(zip(rows[:, 0].int().tolist(), values, strict=True))
                self.pending[place.removeprefix("history/")] = pairs


@dataclass(frozen=True)
class Checkpoint:
    """All that resuming needs, as it was after a step."""

    step: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, train_step: TrainStep, history: History, step: int) -> "Checkpoint":
        """A copy, which later steps do not change."""
        tensors = train_step.tensors() | history.tensors()
        return cls(step, {name: value.detach().clone() for name, value in tensors.items()})

    def write(self, run: Run | None) -> None:
        """Replace the run's state; a process without the run only looks at the weights.

        Raises:
            Diverged: a weight is not finite.
        """
        bad = [name for name, value in self.tensors.items() if not value.isfinite().all()]
        if bad:
            raise Diverged(
                f"the weights '{bad[0]}' are not finite after step {self.step}; {ADVICE}"
            )
        if run is not None:
            write_tensors(run.file(STATE), self.tensors, {"step": str(self.step)})


def restore(train_step: TrainStep, history: History, run: Run | None) -> int:
    """Load the run's last checkpoint and return its step; 0 if there is none.

    The first process has the run and reads it; the others are sent what it read.

    Raises:
        UserError: it is damaged, or of other networks.
    """
    found = history.processes.first(lambda: _read_state(run))
    if found is None:
        return 0
    path, tensors, metadata = found
    with reading(path):
        step = int(metadata["step"])
        if not 0 < step <= history.steps:
            raise ValueError(f"step {step} of {history.steps}")
        train_step.restore(tensors)
        history.restore(tensors, train_step.engine.device)
        restored = train_step.tensors() | history.tensors()
        if any(name not in restored for name in tensors):
            raise ValueError("it has tensors that this run does not know")
        if any(restored[name].shape != value.shape for name, value in tensors.items()):
            raise ValueError("its tensors have other shapes than those of this run")
    return step


def _read_state(run: Run | None) -> tuple[Path, dict[str, Tensor], dict[str, str]] | None:
    """The run's last checkpoint and its file; None if there is none."""
    if run is None or not run.file(STATE).is_file():
        return None
    # Read on the CPU: Adam's step counts stay there, the other tensors are copied to the device.
    return run.file(STATE), *read_tensors(run.file(STATE))
