"""The neighbourhood of a code: a random walk from there on the density, or on a noised one."""

from functools import partial

import torch
from torch import Tensor

from latent_atlas.density.base import Density, denoise
from latent_atlas.errors import UserError, checked
from latent_atlas.progress import steps
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, mala, tuned
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats
from latent_atlas.travel.ascent import project
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PlannerInfo

__all__ = ["random_walk"]


@torch.no_grad()
@checked
def random_walk(
    density: Density,
    start: ArrayLike,
    *,
    frames: int = 17,
    stride: int = 10,
    width: float = 0.0,
    tuning: int = 200,
    threshold: float | None = None,
    generator: torch.Generator,
) -> LatentPath:
    """Walk at random from each code through the population around it.

    The walk is MALA on the density noised by `width`: the wider, the further it goes, and across
    empty regions. Each frame is denoised by the mean of the codes that z may come from,
    z + width² grad log q_width(z) (walk-jump sampling), if that is more likely. A frame that is
    still off-manifold is projected to the threshold (`project`). The step is tuned on a trial walk
    from the same start, one for each path, and fixed from then on.

    References:
        Neural Empirical Bayes, Saremi and Hyvärinen 2019; Optimal scaling of discrete
        approximations to Langevin diffusions, Roberts and Rosenthal 1998.

    Arguments:
        density: The map, or any density.
        start: Codes, shape (n, d) or (d,); they are the first frames, wherever they lie.
        frames: Points of the path, 2 or more.
        stride: Steps of the walk between frames, 1 or more.
        width: Noise width in units of the codes, 0 or more; 0 walks on the density itself.
        tuning: Steps of the trial walk, 10 or more.
        threshold: Log-density in nats below which a frame is projected; see `density_threshold` for
            the default. With -inf none is: at width 0 the frames are then distributed as q in the
            long run.
        generator: Source of all randomness.

    Returns:
        The paths, whose `end` is their last frame. The info has `acceptance`, `step_size` and
        `projected`.

    Raises:
        UserError: the codes are not of the density or not finite, frames, stride or tuning are too
            few, or the density has no noise level of that width.
    """
    start = _checked(density, start, frames, stride, tuning)
    level = density.noised(width)
    walker = State.at(level, start)
    walk = partial(mala, level, generator=generator)
    _, step = tuned(walk, walker, tuning, MALA_ACCEPTED, shared=False)
    places, chances = [start], []
    for k in steps("walk", range(1, stride * (frames - 1) + 1)):
        walker, chance = walk(walker, step)
        chances.append(chance)
        if k % stride == 0:
            places.append(_denoised(density, walker.latents, width))
    lowest = density_threshold(density, start, start, generator) if threshold is None else threshold
    points, projected = _on_manifold(density, torch.stack(places), lowest)
    info = PlannerInfo(
        acceptance=torch.stack(chances).mean().item(),
        step_size=(2 * step).sqrt().mean().item(),
        projected=projected,
    )
    metrics = measure(points, points[-1], density, lowest)
    return LatentPath(points, points[-1], "random walk", info, metrics)


def _denoised(density: Density, latents: Latents, width: float) -> Latents:
    """The codes without their noise, or as they are where that is less likely by the density."""
    mean = denoise(density, latents, width)
    better = density.log_prob(mean) >= density.log_prob(latents)
    return torch.where(better[:, None], mean, latents)


def _on_manifold(
    density: Density, places: Tensor, threshold: float | Values
) -> tuple[Tensor, float]:
    """The places with all but the first projected to the threshold, and the share that moved."""
    frames, n, _ = places.shape
    later = places[1:].flatten(0, 1)
    target = torch.as_tensor(threshold).to(later).expand(n).repeat(frames - 1)
    climb = project(density, later, target)
    share = (climb.moved > 0).float().mean().item()
    return torch.cat([places[:1], climb.points.unflatten(0, (frames - 1, n))]), share


def _checked(density: Density, given: ArrayLike, frames: int, stride: int, tuning: int) -> Latents:
    """The start as (n, d), if a walk can start there."""
    start = as_floats(given).detach()
    if start.ndim not in (1, 2) or start.shape[-1] != density.dimension:
        raise UserError(
            f"start must have shape (n, {density.dimension}) or ({density.dimension},); "
            f"it has {tuple(start.shape)}"
        )
    if not start.isfinite().all():
        raise UserError(
            "the start has coordinates that are not finite; encode it again from a readable image"
        )
    for name, value, least in (
        ("frames", frames, 2),
        ("stride", stride, 1),
        ("tuning", tuning, 10),
    ):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more for a random walk")
    return start.reshape(-1, density.dimension)
