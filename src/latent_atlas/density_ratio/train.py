r"""Learning log q/r: D_z on codes, whoever made the codes, at one level or telescoped over several.

At one level D_z is trained to tell real codes from boundary codes, and at its optimum its logit is log q - log r. Once
the two are far apart such a classifier is never wrong, and its logit arbitrary. Over levels it is trained to tell
each level from one a little smoother,

    l(z, t) - l(z, t') = log q_t(z) - log q_t'(z),    t < t',

which is never easy; from t = 0 to π/2, where q_t = r and l = 0 by construction, these differences sum to l(z, 0), the
whole log-ratio. Score matching teaches the same function its gradient at every level.

References:
    Telescoping Density-Ratio Estimation, Rhodes et al. 2020. Classification Diffusion Models, Yadin et al. 2024.
    A Connection Between Score Matching and Denoising Autoencoders, Vincent 2011.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density_ratio.losses import latent_discriminator, score_matching
from latent_atlas.density_ratio.noise_schedule import Noised, noised, whitened
from latent_atlas.errors import UserError
from latent_atlas.nn.latent_discriminator import LatentDiscriminator, angle_of
from latent_atlas.nn.weight_average import average_of, update_average
from latent_atlas.shapes import Latents, Scalar, Values

__all__ = ["Bridge", "Fit", "batched_logits", "bridge", "bridge_losses", "fit_ratio"]

CHECKED = 4_096  # codes on each side of a check
CLIPPED = 100.0  # norm of the gradient above which a step is shortened
MOMENTS = 20_000  # draws from which the population's moments are measured, or more
MIDDLE = 0.25  # of the mean of |y|²: closer than that, a code is in the middle of the population
UNVISITED = 1e-3  # share of codes there below which D_z cannot learn the middle, and may be told that it is empty
WARM_UP = 100  # steps over which the learning rate grows


@torch.no_grad()
def batched_logits(network: nn.Module, latents: Latents, batch: int = 4_096) -> Values:
    """Logits of many codes, shape (n,), in pieces that fit in memory."""
    return torch.cat([network(part) for part in latents.split(batch)])


@dataclass(frozen=True)
class Bridge:
    """Codes of neighbouring levels, to be told apart.

    Attributes:
        sharp: Codes of the population at the angles `sharper`, with their noise.
        smooth: Codes of the population at the angles `smoother`, or of the boundary, whitened, shape (k, d), k <= n.
        sharper, smoother: Angles t < t' in radians, shape (n,) and (k,).
    """

    sharp: Noised
    smooth: Float[Tensor, "k d"]
    sharper: Values
    smoother: Float[Tensor, " k"]


@dataclass(frozen=True)
class Fit:
    """How learning ended: the losses of the weights kept, in nats, and the step they are of."""

    loss: float
    held_out_loss: float
    step: int


def bridge(
    codes: Codes, boundary: Boundary, levels: int, n: int, *, generator: torch.Generator
) -> Bridge:
    """Draw `n` codes at random levels τ, and a smoother one for every second of them, at τ + 1 / levels.

    With one level, `n` real codes and `n` boundary codes.
    """
    if levels == 1:
        sharper = torch.zeros(n, device=generator.device)
        sharp = noised(codes, boundary, sharper, generator=generator)
        fake = whitened(boundary, boundary.sample(n, generator=generator))
        return Bridge(sharp, fake, sharper, sharper + math.pi / 2)
    places = torch.rand(n, generator=generator, device=generator.device)
    sharper, smoother = angle_of(places), angle_of((places + 1 / levels).clamp(max=1))
    sharp = noised(codes, boundary, sharper, generator=generator)
    smooth = noised(codes, boundary, smoother[: n // 2], generator=generator)
    return Bridge(sharp, smooth.latents, sharper, smoother[: n // 2])


def bridge_losses(
    network: nn.Module, ends: Bridge, levels: int, *, with_score: bool
) -> tuple[Scalar, Scalar]:
    """Cross-entropy of telling the ends apart, summed over levels, and the score matching loss, both in nats.

    The score at a level is grad l - w in whitened coordinates w, in which the boundary's is -w.
    """
    keeps_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        sharp = ends.sharp.latents.detach().requires_grad_(with_score)
        at_sharp = network(sharp, ends.sharper)
        slope = sharp
        if with_score:
            (slope,) = torch.autograd.grad(at_sharp.sum(), sharp, create_graph=keeps_graph)
    if levels == 1:
        real, fake = at_sharp, network(ends.smooth, ends.sharper)
    else:
        k = len(ends.smooth)
        places = torch.cat([sharp[:k].detach(), ends.smooth, ends.smooth])
        angles = torch.cat([ends.smoother, ends.sharper[:k], ends.smoother])
        sharp_at_smooth, smooth_at_sharp, smooth_at_smooth = network(places, angles).chunk(3)
        real, fake = at_sharp[:k] - sharp_at_smooth, smooth_at_sharp - smooth_at_smooth
    cross_entropy = levels * latent_discriminator(real, fake)
    if not with_score:
        return cross_entropy, torch.zeros_like(cross_entropy)
    return cross_entropy, score_matching(slope - sharp, ends.sharp.noise, ends.sharp.root)


def fit_ratio(
    network: LatentDiscriminator,
    real: Codes,
    held_out: Codes,
    boundary: Boundary,
    config: MapConfig,
    *,
    levels: int,
    score_weight: float,
    generator: torch.Generator,
    log: Callable[[dict[str, float]], None] | None = None,
    watch: Callable[[LatentDiscriminator], None] | None = None,
) -> Fit:
    """Train D_z in place until its held-out loss stops falling, and keep the best weights.

    The weights judged and kept are running averages over steps, which are smoother in z than any single step's.

    Arguments:
        network: D_z, on the generator's device, as are the codes.
        real: Codes to learn from.
        held_out: Codes that decide when to stop.
        boundary: Where z_fake is drawn.
        config: Steps, batch size, rates.
        levels: How many the log-ratio is telescoped over, 1 or more; above 1 the boundary must be affine.
        score_weight: Weight of score matching beside the cross-entropies; 0 leaves it out.
        generator: Source of all randomness.
        log: Called with a record at each check.
        watch: Called before it with the averaged weights, which learning goes on to change.

    Raises:
        UserError: the loss was never finite.
    """
    _set_moments(network, real, boundary, levels, config, generator)

    def loss_of(judged: nn.Module, ends: Bridge) -> Scalar:
        cross_entropy, score = bridge_losses(judged, ends, levels, with_score=score_weight > 0)
        return cross_entropy + score_weight * score

    checks = [
        bridge(codes, boundary, levels, CHECKED, generator=generator) for codes in (real, held_out)
    ]
    decay = config.weight_decay
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        weight_decay=decay,
        betas=(0.9, 0.99),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config.steps))
    average = average_of(network)
    best = Fit(math.inf, math.inf, 0)
    best_weights = network.state_dict()
    for step in range(1, config.steps + 1):
        loss = loss_of(
            network, bridge(real, boundary, levels, config.batch_size, generator=generator)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIPPED)
        optimizer.step()
        schedule.step()
        update_average(average, network, step, config.ema)
        if step % config.check_every and step != config.steps:
            continue
        with torch.no_grad():
            on_train, on_held_out = (loss_of(average, ends).item() for ends in checks)
        if watch is not None:
            watch(average)
        if log is not None:
            log({"step": step, "loss": on_train, "held_out_loss": on_held_out})
        if on_held_out < best.held_out_loss:
            best, best_weights = (
                Fit(on_train, on_held_out, step),
                copy.deepcopy(average.state_dict()),
            )
        if step - best.step >= config.patience * config.check_every:
            break
    if not math.isfinite(best.held_out_loss):
        raise UserError(
            f"D_z diverged: its held-out loss was never finite in {config.steps} steps; lower learning_rate"
        )
    network.load_state_dict(best_weights)
    return best


def _rate(step: int, steps: int) -> float:
    """The learning rate's factor: a short rise, then half a cosine down to 0."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _set_moments(
    network: LatentDiscriminator,
    real: Codes,
    boundary: Boundary,
    levels: int,
    config: MapConfig,
    generator: torch.Generator,
) -> None:
    """Tell D_z what its inputs will be like: at every level the population, or, at a single one, r as well.

    A single level is the plain classifier, which starts from 0.
    """
    draws = whitened(boundary, real.sample(max(MOMENTS, len(real)), generator=generator))
    if levels == 1:
        draws = torch.cat(
            [draws, whitened(boundary, boundary.sample(len(draws), generator=generator))]
        )
    mean, covariance = Codes(draws).moments()
    squares = (torch.linalg.solve(covariance, (draws.double() - mean).T).T * (draws - mean)).sum(
        dim=1
    )  # |y|²
    hollow = (squares < MIDDLE * len(mean)).double().mean() < UNVISITED
    spread = squares.var().item() if hollow else None
    network.set_moments(
        mean, covariance, spread, reference="none" if levels == 1 else config.reference
    )
