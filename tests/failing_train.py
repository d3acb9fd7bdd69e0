"""The command `latent-atlas` in processes that fail: `python failing_train.py WORD ...`.

The process of rank 1 kills itself in step KILL_AT, unless a launcher has started it again; and it
asks to stop in step STOP_AT.
"""

import os
import signal
import sys

import torch

from latent_atlas.cli import main
from latent_atlas.cli.commands import train
from latent_atlas.training.step import TrainStep
from runs import quick_calibration

if __name__ == "__main__":
    torch.set_num_threads(1)
    train.write_page = lambda *_: None
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    taken = TrainStep.step

    def step(self, batch):
        if self.processes.rank == 1 and not again and batch.step == int(os.environ["KILL_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.processes.rank == 1 and batch.step == int(os.environ["STOP_AT"]):
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, batch)

    TrainStep.step = step
    with quick_calibration():
        main(sys.argv[1:])
