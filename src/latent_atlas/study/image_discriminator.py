"""A discriminator of images, learned as D_z is: real ones against decoded boundary codes, stopped by held-out ones."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from latent_atlas.config.run import Config
from latent_atlas.density_ratio.losses import latent_discriminator
from latent_atlas.density_ratio.train import follow
from latent_atlas.nn.early_stopping import EarlyStopping
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.init import initial_weights
from latent_atlas.shapes import ByteImages, Images, Values
from latent_atlas.training import losses

__all__ = ["CHECK_EVERY", "Imagewise", "fit_imagewise"]

HELD_OUT = 0.1  # of the real images, ten at least: they say when to stop
CHECK_EVERY, PATIENCE = 25, 4
CHECKED = 512  # images on each side of a check
RATE = 1e-3

Fakes = Callable[[int, torch.Generator], Images]


@dataclass(frozen=True)
class Imagewise:
    """A discriminator of images that has learned.

    Attributes:
        network: Images in [0, 1] to logits of being real.
        step: Where learning stopped.
        seconds: How long it took.
    """

    network: ImageDiscriminator
    step: int
    seconds: float

    @torch.no_grad()
    def logit(self, images: ByteImages) -> Values:
        """l_x(x), in pieces, on the CPU."""
        device = next(self.network.parameters()).device
        return torch.cat([self.network(_floats(part, device)).cpu() for part in images.split(512)])


def fit_imagewise(
    images: ByteImages,
    fakes: Fakes,
    config: Config,
    steps: int,
    *,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
) -> Imagewise:
    """Teach a D_x of the run's own shape by cross-entropy with R1, as it learns in training.

    As of D_z, averages of the weights are judged on held-out images, and the best of them kept.

    Arguments:
        images: Real ones, of which a tenth says when to stop; n of 20 or more.
        fakes: Draws so many fake images in [0, 1], on the generator's device.
        config: Of the run: shapes, batch size, and the weight of R1.
        steps: Upper limit.
        generator: Source of all randomness; its device is where it learns.
        log: Called with a record at each check.
    """
    device, t = generator.device, config.train
    order = torch.randperm(len(images), generator=generator, device=device).cpu()
    count = max(10, int(HELD_OUT * len(images)))
    real, held_out = images[order[count:]], _floats(images[order[:count]][:CHECKED], device)
    check = fakes(len(held_out), generator)
    network = _network(config, generator).to(device)
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, betas=(0.5, 0.99))
    best = EarlyStopping(PATIENCE * CHECK_EVERY)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        rows = torch.randint(len(real), (t.batch_size,), generator=generator, device=device).cpu()
        x = _floats(real[rows], device)
        loss = latent_discriminator(network(x), network(fakes(len(x), generator)))
        if t.r1 > 0 and step % t.penalty_every == 0:
            loss = loss + t.penalty_every * t.r1 * losses.gradient_penalty(network, x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        follow(average, network, min(config.map.ema, step / (step + 10)))
        if step % CHECK_EVERY and step != steps:
            continue
        with torch.no_grad():
            judged = latent_discriminator(average(held_out), average(check)).item()
        if log is not None:
            log({"step": step, "held_out_loss": judged})
        best.improves(step, judged, average)
        if best.should_stop(step):
            break
    best.restore(average)
    return Imagewise(average.eval(), best.step, time.perf_counter() - began)


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
        )


def _floats(images: ByteImages, device: torch.device) -> Images:
    return images.to(device).float() / 255
