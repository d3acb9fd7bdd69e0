"""An image discriminator trained as D_z is: against decoded boundary codes, with early stopping."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from latent_atlas import progress
from latent_atlas.config.run import Config
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.nn.early_stopping import EarlyStopping
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.weight_average import average_of, update_average
from latent_atlas.shapes import ByteImages, Images, Pixels, Values, batched
from latent_atlas.training import losses
from latent_atlas.training.batches import as_float

__all__ = ["CHECK_EVERY", "FittedDiscriminator", "fit_image_discriminator"]

HELD_OUT = 0.1  # share of the real images, ten at least, for early stopping
CHECK_EVERY, PATIENCE = 25, 4
CHECKED = 512  # real images at most, and as many fake ones, per check
RATE = 1e-3

Fakes = Callable[[int, torch.Generator], Images]


@dataclass(frozen=True)
class FittedDiscriminator:
    """A trained image discriminator.

    Attributes:
        network: Images in [0, 1] to logits of being real.
        step: The step of the weights that were kept.
        seconds: Training time.
    """

    network: ImageDiscriminator
    step: int
    seconds: float

    @torch.no_grad()
    def logit(self, images: ByteImages) -> Values:
        """l_x(x), shape (n,), in batches, on the CPU."""
        device = next(self.network.parameters()).device
        return batched(lambda part: self.network(as_float(part, device)).cpu(), images, 512)


def fit_image_discriminator(
    images: Pixels,
    fakes: Fakes,
    config: Config,
    steps: int,
    *,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
) -> FittedDiscriminator:
    """Train a D_x of the run's own architecture by cross-entropy with the R1 penalty.

    As with D_z, running averages of the weights are evaluated on held-out images, and the best are
    kept.

    Arguments:
        images: At least 20 real images; a tenth is held out for early stopping.
        fakes: Draws n fake images in [0, 1], on the generator's device.
        config: The run's configuration: architecture, batch size, weight of R1.
        steps: Maximum number of steps.
        generator: Source of all random numbers, on the device to train on.
        log: Called with a record at each check.
    """
    device, t = generator.device, config.train
    order = torch.randperm(len(images), generator=generator, device=device).cpu()
    count = max(10, int(HELD_OUT * len(images)))
    real, held_out = images[order[count:]], as_float(images[order[:count]][:CHECKED], device)
    check = fakes(len(held_out), generator)
    network = _network(config, generator).to(device)
    average = average_of(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.5, 0.99))
    best = EarlyStopping(PATIENCE * CHECK_EVERY)
    began = time.perf_counter()
    for step in progress.steps("image D", range(1, steps + 1)):
        rows = torch.randint(len(real), (t.batch_size,), generator=generator, device=device).cpu()
        x = as_float(real[rows], device)
        loss = latent_discriminator(network(x), network(fakes(len(x), generator)))
        if t.r1 > 0 and step % t.penalty_every == 0:
            loss = loss + t.penalty_every * t.r1 * losses.gradient_penalty(network, x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        update_average(average, network, step, config.map.ema)
        if step % CHECK_EVERY and step != steps:
            continue
        with torch.no_grad():
            held_out_loss = latent_discriminator(average(held_out), average(check)).item()
        if log is not None:
            log({"step": step, "held_out_loss": held_out_loss})
        best.improves(step, held_out_loss, average)
        if best.should_stop(step):
            break
    best.restore(average)
    return FittedDiscriminator(average.eval(), best.step, time.perf_counter() - began)


def _network(config: Config, generator: torch.Generator) -> ImageDiscriminator:
    m = config.model
    with initial_weights(
        int(torch.randint(2**62, (), generator=generator, device=generator.device))
    ):
        return ImageDiscriminator(
            m.image_size,
            m.channels,
            width=m.discriminator_width,
            depth=m.depth,
            spectral=m.spectral_norm,
            patch_size=m.patch_size,
        )
