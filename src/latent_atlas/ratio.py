"""Learning log q/r: the single-level D_z on codes, whoever made the codes.

D_z is trained to tell real codes from boundary codes; at its optimum its logit is log q(z) - log r(z).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from latent_atlas import losses
from latent_atlas.boundary import Boundary
from latent_atlas.config import MapConfig
from latent_atlas.errors import UserError
from latent_atlas.model import reparameterise
from latent_atlas.nn.discriminators import LatentDiscriminator
from latent_atlas.shapes import Latents, Values

__all__ = ["Codes", "batched_logits", "fit_ratio"]


@dataclass(frozen=True)
class Codes:
    """The real codes of a collection: q(z|x) of every image.

    Attributes:
        means: mu, shape (n, d).
        log_variances: log sigma², shape (n, d), or None where an image is one point.
    """

    means: Latents
    log_variances: Latents | None = None

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.means)

    def to(self, device: torch.device) -> "Codes":
        """The same codes on another device."""
        spread = None if self.log_variances is None else self.log_variances.to(device)
        return Codes(self.means.to(device), spread)

    def points(self) -> "Codes":
        """The codes with their spread left out: z_real as the fixed set of means."""
        return Codes(self.means)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes from the population q(z) = mean over x of q(z|x), shape (n, d)."""
        rows = torch.randint(len(self), (n,), generator=generator, device=generator.device)
        means = self.means[rows]
        if self.log_variances is None:
            return means
        return reparameterise(means, self.log_variances[rows], generator=generator)


@torch.no_grad()
def batched_logits(network: nn.Module, latents: Latents, batch: int = 16_384) -> Values:
    """Logits of many codes, shape (n,), in pieces that fit in memory."""
    return torch.cat([network(part) for part in latents.split(batch)])


def fit_ratio(
    network: LatentDiscriminator,
    real: Codes,
    held_out: Codes,
    boundary: Boundary,
    config: MapConfig,
    *,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
) -> float:
    """Train D_z in place until its held-out loss stops falling, and keep the best weights.

    The weights judged and kept are running averages over steps, which are smoother in z than any single step's.

    Arguments:
        network: D_z, on the generator's device, as are the codes.
        real: Codes to learn from.
        held_out: Codes that decide when to stop.
        boundary: Where z_fake is drawn.
        config: Steps, batch size, rates.
        generator: Source of all randomness.
        log: Called with a record at each check.

    Returns:
        The held-out cross-entropy of the weights kept, in nats: log 2 - JS(q || r) at the optimum.

    Raises:
        UserError: the loss was never finite.
    """
    checks = _Checks(real, held_out, boundary, generator)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    best, best_step, best_weights = float("inf"), 0, network.state_dict()
    for step in range(1, config.steps + 1):
        z_real = real.sample(config.batch_size, generator=generator)
        z_fake = boundary.sample(config.batch_size, generator=generator)
        loss = losses.latent_discriminator(*network(torch.cat([z_real, z_fake])).chunk(2))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if step % config.check_every and step != config.steps:
            continue
        train_loss, held_out_loss = checks(average.module)
        if log is not None:
            log({"step": step, "loss": train_loss, "held_out_loss": held_out_loss})
        if held_out_loss < best:
            best, best_step = held_out_loss, step
            best_weights = copy.deepcopy(average.module.state_dict())
        if step - best_step >= config.patience * config.check_every:
            break
    if not math.isfinite(best):
        raise UserError(
            f"D_z diverged: its held-out loss was never finite in {config.steps} steps; lower learning_rate"
        )
    network.load_state_dict(best_weights)
    return best


class _Checks:
    """Train and held-out loss on codes drawn once, so that checks differ by the weights alone."""

    SIZE = 8_192

    def __init__(self, real: Codes, held_out: Codes, boundary: Boundary, generator: torch.Generator) -> None:
        self.real = real.sample(self.SIZE, generator=generator)
        self.held_out = held_out.sample(self.SIZE, generator=generator)
        self.fake = boundary.sample(self.SIZE, generator=generator)

    def __call__(self, network: nn.Module) -> tuple[float, float]:
        fake = batched_logits(network, self.fake)
        return tuple(  # pyright: ignore[reportReturnType] - two parts make two numbers
            losses.latent_discriminator(batched_logits(network, part), fake).item()
            for part in (self.real, self.held_out)
        )
