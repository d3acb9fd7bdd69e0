r"""Training of D_z on codes, at one level or telescoped over several.

At one level D_z is trained to tell real codes from boundary codes, and at its optimum its logit is
log q - log r. Once the two are far apart such a classifier is never wrong, and its logit arbitrary.
Over levels it is trained to tell each level from one a little smoother,

    l(z, t) - l(z, t') = log q_t(z) - log q_t'(z),    t < t',

which is never easy; from t = 0 to π/2, where q_t = r and l = 0 by construction, these differences
sum to l(z, 0), the whole log-ratio. Score matching teaches the same function its gradient at every
level.

References:
    Telescoping Density-Ratio Estimation, Rhodes et al. 2020. Classification Diffusion Models, Yadin
    et al. 2024. A Connection Between Score Matching and Denoising Autoencoders, Vincent 2011.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density_ratio.losses import latent_discriminator, score_matching
from latent_atlas.density_ratio.noise_schedule import NoisedCodes, noise_codes
from latent_atlas.device import pick_precision
from latent_atlas.errors import UserError
from latent_atlas.nn.early_stopping import EarlyStopping
from latent_atlas.nn.latent_discriminator import LatentDiscriminator, angle_of
from latent_atlas.nn.spatial_discriminator import Discriminator, SpatialDiscriminator
from latent_atlas.nn.weight_average import average_of, update_average
from latent_atlas.progress import steps
from latent_atlas.shapes import Latents, Scalar, Values

__all__ = [
    "Bridge",
    "Training",
    "bridge",
    "bridge_losses",
    "train_discriminator",
    "training_precision",
]

CHECKED = 4_096  # codes on each side of a check
CLIPPED = 1.0  # norm of the gradient above which a step is shortened: usual ones are 0.2 to 0.7
# Samples from which the moments of the codes are measured: as many as there are, within these.
MOMENTS, MOST_MOMENTS = 20_000, 200_000
# The middle of the codes: where |y|² is less than this share of its mean. D_z cannot learn the
# middle if less than this share of the codes is there, and is then told that it is empty.
MIDDLE, UNVISITED = 0.25, 1e-3
SHARED = 8  # codes at each angle
OVERFITTED = 0.02  # of the first loss, or of a nat, by which the held-out loss may rise
WIDE = 64  # units from which products take most of a step
WEIGHT_DECAY = 0.01
# Steps after which D_z must be better than the density that it could have begun at, but for a
# share of the loss, or of a nat.
TRIED, LEVEL = 200, 0.001
WARM_UP = 100  # steps over which the learning rate grows
LEAST_VARIANCE = 1e-12  # as a share of the largest


@dataclass(frozen=True)
class Bridge:
    """Codes of neighbouring levels, to be told apart.

    Attributes:
        sharp: Real codes with their noise, n; code i is at the angle i mod m.
        smooth: Boundary codes, whitened, shape (k, d).
        angles: In radians, growing evenly over the levels, shape (m,), where 2m divides n.
    """

    sharp: NoisedCodes
    smooth: Float[Tensor, "k d"]
    angles: Float[Tensor, " m"]


@dataclass(frozen=True)
class Training:
    """How training ended.

    Attributes:
        loss, held_out_loss: Of the weights kept, in nats.
        step: The optimisation step they are of, counted from where D_z began last; 0 if no check
            was better than no training.
        first, last: Held-out losses before the first of these steps and at the last check, in nats.
    """

    loss: float
    held_out_loss: float
    step: int
    first: float
    last: float

    def overfitted(self, check_every: int) -> str | None:
        """One sentence if the held-out loss rose from the start, or from the first check."""
        rise = OVERFITTED * max(1.0, abs(self.first))
        if self.step > check_every or self.last <= self.held_out_loss + rise:
            return None
        when = f"at step {self.step}" if self.step else "before training"
        least = self.held_out_loss
        return (
            f"D_z overfits: its held-out loss was lowest {when}, {least:.3g} nats, and "
            f"rose to {self.last:.3g}; the map keeps the weights of then; give it more codes, a "
            "larger map.weight_decay or a smaller map.width"
        )


def bridge(
    codes: Codes, boundary: Boundary, levels: int, n: int, *, generator: torch.Generator
) -> Bridge:
    """Draw about `n` codes at places τ spread evenly over [0, 1], some 8 codes at each.

    What depends on the level alone is then computed for an eighth of the codes. With one level,
    `n` real codes and `n` boundary codes.

    References:
        Levels spread evenly: Variational Diffusion Models, Kingma et al. 2021.
    """
    if levels == 1:
        angles = torch.zeros(1, device=generator.device)
        sharp = noise_codes(codes, boundary, angles.expand(n), generator=generator)
        return Bridge(sharp, boundary.whiten(boundary.sample(n, generator=generator)), angles)
    per_level = max(1, round(n / (SHARED * levels)))
    m = levels * per_level
    rows = 2 * max(1, round(n / (2 * m)))
    offset = torch.rand(1, generator=generator, device=generator.device)
    angles = angle_of((torch.arange(m, device=generator.device) + offset) / m)
    sharp = noise_codes(codes, boundary, angles.repeat(rows), generator=generator)
    shape = (rows // 2 * per_level, sharp.latents.shape[1])
    smooth = torch.randn(shape, generator=generator, device=generator.device)
    return Bridge(sharp, smooth, angles)


def bridge_losses(
    network: nn.Module, ends: Bridge, levels: int, *, with_score: bool
) -> tuple[Scalar, Scalar]:
    """Cross-entropies of all levels, summed, and the score matching loss, both in nats.

    The first half of the codes are sharp ends, told apart from codes at τ + 1 / levels; the second
    half are smooth ends, told apart from codes at τ - 1 / levels. Each code's logit at its own τ
    serves both losses. From τ = 1 on, codes are those of the boundary and the logit is 0.

    The score at a level is grad l - w in whitened coordinates w, where the boundary's is -w.
    """
    z, count = ends.sharp.latents, len(ends.sharp.latents) if with_score else 0
    if levels == 1:
        logits, slope = _with_slopes(network, torch.cat([z, ends.smooth]), ends.angles, count)
        real, fake = logits.chunk(2)
    else:
        m = len(ends.angles)
        step, d = m // levels, z.shape[1]
        sharp, smooth = z.view(-1, m, d).chunk(2)
        smoother = sharp.roll(step, dims=1)
        sharper = torch.cat([smooth[:, step:], ends.smooth.view(-1, step, d)], dim=1)
        places = torch.cat([z, *(some.flatten(0, 1) for some in (smoother, sharper))])
        logits, slope = _with_slopes(network, places, ends.angles, count)
        sharp, smooth, smoother, sharper = logits.view(4, -1, m)
        real, fake = (
            (at_sharper - F.pad(at_smoother[:, step:], (0, step))).flatten()
            for at_sharper, at_smoother in ((sharp, smoother), (sharper, smooth))
        )
    cross_entropy = levels * latent_discriminator(real, fake)
    if not with_score:
        return cross_entropy, torch.zeros_like(cross_entropy)
    return cross_entropy, score_matching(slope - z, ends.sharp.noise, ends.sharp.root)


def train_discriminator(
    network: Discriminator,
    real: Codes,
    held_out: Codes,
    boundary: Boundary,
    config: MapConfig,
    *,
    levels: int,
    score_weight: float,
    mixture: GaussianMixture | None = None,
    alternative: GaussianMixture | None = None,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
    watch: Callable[[Discriminator], None] | None = None,
) -> Training:
    """Train D_z in place until its held-out loss stops falling, and keep the best weights.

    They are those before training, with the moments of the codes, if no check is better.

    The weights checked and kept are running averages over steps, which are smoother in z than those
    of any single step.

    Arguments:
        network: D_z, on the generator's device, as are the codes.
        real: Codes to train on.
        held_out: Codes that decide when to stop.
        boundary: r, where z_fake is drawn.
        config: Steps, batch size, rates.
        levels: How many the log-ratio is telescoped over, 1 or more; above 1 the boundary must be
            affine.
        score_weight: Weight of score matching beside the cross-entropies; 0 leaves it out.
        mixture: Of whitened codes, at which D_z begins; None for a Gaussian, or none.
        alternative: A mixture at which D_z begins again, if after 200 steps its held-out loss is
            above that of this mixture alone.
        generator: Source of all randomness.
        log: Called with a record at each check.
        watch: Called before it with the averaged weights, which training goes on to change.

    Raises:
        UserError: the loss only rose.
    """
    _set_reference(network, real, boundary, levels, config, generator)
    if mixture is not None:
        _begin_at(mixture, network)
    precision = training_precision(config, generator.device)

    def loss_of(model: nn.Module, ends: Bridge) -> Scalar:
        cross_entropy, score = bridge_losses(model, ends, levels, with_score=score_weight > 0)
        return cross_entropy + score_weight * score

    checks = [
        bridge(codes, boundary, levels, CHECKED, generator=generator) for codes in (real, held_out)
    ]
    optimizer, schedule = _optimizer(network, config)
    parameters, average = list(network.parameters()), average_of(network)
    with torch.no_grad():
        loss_of_best, start = (loss_of(average, ends).item() for ends in checks)
        losses = [math.inf, math.inf]
        if alternative is not None:
            other = _begin_at(alternative, copy.deepcopy(network))
            losses = [loss_of(other, ends).item() for ends in checks]
    best = EarlyStopping(config.patience * config.check_every)
    best.improves(0, start, average)
    step, began, tried = 0, 0, min(TRIED, config.steps)
    held_out_loss, lowest, most = math.inf, math.inf, _most(start)
    for step in steps("map", range(1, config.steps + 1)):
        ends = bridge(real, boundary, levels, config.batch_size, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(generator.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(network, ends)
        # Not to the codes, which the slope of the logit is taken at: nothing asks for that.
        loss.backward(inputs=parameters)
        nn.utils.clip_grad_norm_(parameters, CLIPPED)
        optimizer.step()
        schedule.step()
        update_average(average, network, step, config.ema)
        if step % config.check_every and step != config.steps:
            continue
        with torch.no_grad():
            train_loss, held_out_loss = (loss_of(average, ends).item() for ends in checks)
        if watch is not None:
            watch(average)
        if log is not None:
            log({"step": step, "loss": train_loss, "held_out_loss": held_out_loss})
        lowest = min(lowest, held_out_loss)  # NaN is not lower
        if best.improves(step, held_out_loss, average):
            loss_of_best = train_loss
        if alternative is not None and (step >= tried or best.should_stop(step)):
            better = losses[1] < best.loss - LEVEL * max(1.0, abs(best.loss))
            if better and held_out_loss <= most:
                average = average_of(_begin_at(alternative, network))
                loss_of_best, start = losses
                best.improves(step, start, average)
                began, held_out_loss, most = step, start, _most(start)
                lowest = start if step == config.steps else math.inf
            alternative = None
        if best.should_stop(step):
            break
    if not lowest <= most:
        raise UserError(
            f"D_z diverged: its held-out loss went from {start:.3g} to {held_out_loss:.3g} at step "
            f"{step}; lower map.learning_rate, which is {config.learning_rate:g}"
        )
    best.restore(network)
    return Training(loss_of_best, best.loss, best.step - began, start, held_out_loss)


def _most(start: float) -> float:
    """The held-out loss above which training that began at `start` has diverged."""
    return start + abs(start) + 1


def _begin_at(mixture: GaussianMixture, network: Discriminator) -> Discriminator:
    """The network, changed to claim the mixture."""
    assert isinstance(network, LatentDiscriminator)
    network.set_mixture(mixture)
    network.forget()
    return network


def _with_slopes(
    network: nn.Module, latents: Latents, angles: Float[Tensor, " m"], count: int
) -> tuple[Values, Float[Tensor, "k d"]]:
    """Logits (n,), code i at the angle i mod m, and the gradients (count, d) at the first codes."""
    if count and isinstance(network, LatentDiscriminator):
        return network.slope(latents, angles, count)
    each = angles.repeat(len(latents) // len(angles))
    if not count:
        return network(latents, each), latents[:0]
    keeps_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        first = latents[:count].detach().requires_grad_()
        at_first = network(first, each[:count])
        (slope,) = torch.autograd.grad(at_first.sum(), first, create_graph=keeps_graph)
    return torch.cat([at_first, network(latents[count:], each[count:])]), slope


def training_precision(config: MapConfig, device: torch.device) -> str:
    """The precision of the configuration; "auto" as `MapConfig.precision` says."""
    if config.precision != "auto":
        return config.precision
    wide = device.type == "cpu" and config.width >= WIDE
    return pick_precision("auto", device) if wide else "32"


def _optimizer(
    network: nn.Module, config: MapConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, and a rate that rises briefly, then falls to 0 along half a cosine."""
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        weight_decay=WEIGHT_DECAY if config.weight_decay is None else config.weight_decay,
        betas=(0.9, 0.99),
        fused=True,
    )

    def rate(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
        return min(1.0, (step + 1) / WARM_UP) * cosine

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _set_reference(
    network: Discriminator,
    real: Codes,
    boundary: Boundary,
    levels: int,
    config: MapConfig,
    generator: torch.Generator,
) -> None:
    """Give D_z the moments of its inputs, of the codes and at a single level of r as well, and g.

    A single level is the plain classifier, which starts from 0.
    """
    if isinstance(network, SpatialDiscriminator):  # its field has them
        network.reference.fill_(config.reference != "none")
        return
    count = min(max(MOMENTS, len(real)), MOST_MOMENTS)
    draws = boundary.whiten(real.sample(count, generator=generator))
    if levels == 1:
        fake = boundary.whiten(boundary.sample(len(draws), generator=generator))
        draws = torch.cat([draws, fake])
    mean, covariance = Codes(draws).moments()
    hollow = (_squares(draws, mean, covariance) < MIDDLE * len(mean)).double().mean() < UNVISITED
    spread = _squares(draws, mean, covariance).var().item() if hollow else None
    reference = "none" if levels == 1 or config.reference == "none" else "gaussian"
    network.set_moments(mean, covariance, spread, reference=reference)


def _squares(draws: Latents, mean: Tensor, covariance: Tensor) -> Tensor:
    """|y|² of each code, shape (n,), also where the covariance is singular."""
    variances, basis = torch.linalg.eigh(covariance)
    least = LEAST_VARIANCE * variances.max()
    return ((draws.double() - mean) @ basis).square().div(variances.clamp_min(least)).sum(dim=1)
