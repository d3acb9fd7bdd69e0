"""Twelve steps of training in double precision with every term of the loss: `python double_steps.py OUT`.

Processes that a launcher starts share the batches; the first writes the run OUT.
"""

import sys
from pathlib import Path

import torch

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, ModelConfig, TrainConfig
from latent_atlas.runs import Run
from latent_atlas.training.loop import train_model
from latent_atlas.training.processes import join

CONFIG = Config(
    model=ModelConfig(
        image_size=8,
        channels=1,
        latent_dim=3,
        width=4,
        discriminator_width=4,
        spectral_norm=True,
    ),
    train=TrainConfig(
        mode="adversarial",
        steps=12,
        batch_size=12,
        kl_warmup=3,
        adversarial_start=2,
        discriminator_start=1,
        penalty_every=2,
        prior_share=0.25,  # three codes in a batch: two processes have unequal parts of them
        balance=True,
        feature_matching=0.1,
        isometry=0.1,
        log_every=1,
        checkpoint_every=5,
        seed=3,
        device="cpu",
        precision="32",
    ),
    map=MapConfig(width=8, depth=1),
)


def main(out: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # the library says `.float()` where it means it
    images = torch.randint(256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    processes = join()
    run = Run(Path(out)) if processes.is_first else None
    if run is not None:
        run.path.mkdir()
        run.begin(CONFIG)
    log = run.log if run is not None else lambda entry: None
    train_model(images.byte(), CONFIG, run, log=log, resume=False, processes=processes)
    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert "pt_gloo_runloop" not in threads  # it would abort Python, now and then, at its end


if __name__ == "__main__":
    main(sys.argv[1])
