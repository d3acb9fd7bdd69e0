"""The command `latent-atlas` without a report: `python dying_train.py DIE_AT WORD ...`.

A process of rank 1 kills itself in step DIE_AT, unless a launcher has started it again.
"""

import os
import signal
import sys

import torch

from latent_atlas.cli import main
from latent_atlas.cli.commands import train
from latent_atlas.density_ratio import calibration, fit, normalising_constant
from latent_atlas.training.step import TrainStep

if __name__ == "__main__":
    torch.set_num_threads(1)
    train.write_page = lambda *_: None
    calibration.SAMPLES = fit.OUTLINE_SAMPLES = 2_000
    normalising_constant.ANNEALING_STEPS = 8
    taken = TrainStep.step

    def step(self, batch):
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        if batch.step == int(sys.argv[1]) and self.processes.rank == 1 and not again:
            os.kill(os.getpid(), signal.SIGKILL)
        return taken(self, batch)

    TrainStep.step = step
    main(sys.argv[2:])
