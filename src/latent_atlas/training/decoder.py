"""A decoder of codes that another network has made: G learns the images of frozen codes."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.config.run import Config
from latent_atlas.device import Engine, pick_device, pick_precision
from latent_atlas.nn.autoencoder import CodeDecoder
from latent_atlas.nn.early_stopping import EarlyStopping
from latent_atlas.runs import Run, write_tensors
from latent_atlas.shapes import Latents, Pixels
from latent_atlas.training.batches import Batches
from latent_atlas.training.history import Log
from latent_atlas.training.loop import take_steps
from latent_atlas.training.step import Batch, TrainStep

__all__ = ["Pairs", "learn_decoder"]

CHECK = 100  # steps between two looks at the held-out images
PATIENCE = 500  # steps without a smaller error of theirs after which training ends
TINY = 1e-6  # of the largest variance: a coordinate with less has none, but rounding


class Pairs(NamedTuple):
    """Images with their codes.

    Attributes:
        images: Bytes, shape (n, c, h, w).
        codes: Shape (n, d).
    """

    images: Pixels
    codes: Latents


class DecoderStep(TrainStep):
    """Steps of G, and of D_x if there is one, on given codes.

    Without D_x, held-out images end the training and choose the weights. With it all steps are
    taken, since D_x makes images look more real and follow their originals less.

    Attributes:
        best: The weights that are kept: averages of some step.
        checked: The step of the last look at these.
    """

    def __init__(self, config: Config, engine: Engine, held_out: Pairs) -> None:
        """Arguments: the settings; where to compute; held-out images with k coordinates each."""
        super().__init__(config, engine, frozen=True)
        self.held_out = held_out
        self.best = EarlyStopping(PATIENCE)
        self.checked = 0

    @property
    def done(self) -> bool:
        """Whether the held-out images have long been reconstructed no better."""
        return self.best.should_stop(self.checked)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """As `TrainStep.step`; sometimes with the error of the held-out images."""
        losses = super().step(batch)
        if batch.step % CHECK == 0 or batch.step == self.config.steps:
            decoder = self.average["decoder"]
            loss = reconstruction_errors(decoder, *self.held_out)[:, 0].mean()
            plain = self.config.adversarial == "none"
            self.best.improves(batch.step, loss.item() if plain else -batch.step, decoder)
            self.checked = batch.step
            losses["held_out_loss"] = loss
        return losses

    def tensors(self) -> dict[str, Tensor]:
        """As `TrainStep.tensors`, with the best weights."""
        best = {f"best/{name}": value for name, value in self.best.weights.items()}
        if best:
            best["looks"] = torch.tensor([self.checked, self.best.step, self.best.loss]).double()
        return super().tensors() | best

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned."""
        super().restore(tensors)
        if "looks" in tensors:
            checked, step, self.best.loss = tensors["looks"].tolist()
            self.checked, self.best.step = int(checked), int(step)
            self.best.weights = {
                name.removeprefix("best/"): value.to(self.engine.device)
                for name, value in tensors.items()
                if name.startswith("best/")
            }


def learn_decoder(train: Pairs, held_out: Pairs, config: Config, run: Run, *, log: Log) -> int:
    """Learn to decode given codes, from the last checkpoint if there is one.

    Arguments:
        train, held_out: Images of the configured size, with their codes.
        config: The sections model and train; G sees the `model.latent_dim` leading principal
            coordinates of the codes, of unit variance.
        run: The folder; in the end its model.safetensors is the `CodeDecoder`.
        log: Called with each record of log.jsonl.

    Returns:
        The step that the decoder is of.

    Raises:
        Interrupted, Diverged: as for `training.loop.train`.
    """
    with run.hold():
        precision = pick_precision(config.train.precision, pick_device(config.train.device))
        config = replace(config, train=replace(config.train, precision=precision))
        run.begin(config)
        engine = Engine(config.train.device, precision, compile=config.train.compile)
        decoder = CodeDecoder(config.model, train.codes.shape[1]).to(engine.device)
        _fit_coordinates(decoder, train.codes)
        train, held_out = (
            Pairs(pairs.images, decoder.coordinates(pairs.codes.to(engine.device)))
            for pairs in (train, held_out)
        )

        def record(entry: dict[str, Any]) -> None:
            run.log(entry)
            log(entry)

        train_step = DecoderStep(config, engine, held_out)
        batch_of = Batches(train.images, config.train, engine.device, codes=train.codes)
        take_steps(train_step, batch_of, run, log=record, resume=True, again="the same command")
        train_step.best.restore(decoder.decoder)
        write_tensors(run.file("model.safetensors"), decoder.state_dict())
        return train_step.best.step


def _fit_coordinates(decoder: CodeDecoder, codes: Latents) -> None:
    """Give a decoder the leading principal coordinates of codes (n, d), of unit variance."""
    variances, axes = torch.linalg.eigh(codes.T.cov().double())
    k = decoder.axes.shape[1]
    scales = variances[-k:].clamp(min=TINY * variances[-1]).sqrt()
    decoder.axes.copy_((axes[:, -k:] / scales).flip(1))
    decoder.mean.copy_(codes.mean(dim=0))
