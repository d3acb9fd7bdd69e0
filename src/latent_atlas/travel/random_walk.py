"""The neighbourhood of a code: a random walk on the density, or on a blur of it, that starts there."""

from functools import partial

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, mala, tuned
from latent_atlas.shapes import Latents, Values
from latent_atlas.travel.ascent import project
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath

__all__ = ["random_walk"]


@torch.no_grad()
def random_walk(
    density: Density,
    start: Tensor,
    *,
    frames: int = 17,
    stride: int = 10,
    width: float = 0.0,
    tuning: int = 200,
    threshold: float | None = None,
    generator: torch.Generator,
) -> LatentPath:
    """Wander from each code through the population around it.

    The walk is MALA on the density blurred by `width`: the wider, the further it roams, and across empty regions. At
    each frame the blur is taken off by the mean of the codes that z may come from, z + width² grad log q_width(z)
    (walk-jump sampling), where that is more likely; a frame that is outside of the population even so climbs back to
    its floor (`project`).
    The step is tuned on a trial walk from the same start, one for each journey, and fixed from then on.

    References:
        Neural Empirical Bayes, Saremi and Hyvärinen 2019; Optimal scaling of discrete approximations to Langevin
        diffusions, Roberts and Rosenthal 1998.

    Arguments:
        density: The map, or any density.
        start: Codes, shape (n, d) or (d,); they are the first frames, wherever they lie.
        frames: Points of the path, 2 or more.
        stride: Steps of the walk from frame to frame, 1 or more.
        width: Of the blur, in the units of the codes; 0 walks on the density itself.
        tuning: Steps of the trial walk, 10 or more.
        floor: Log-density in nats of the population's edge; see `density_threshold` for the default. -inf lets the walk
            go where it likes: at width 0 its frames are then distributed as q in the long run.
        generator: Source of all randomness.

    Returns:
        The path, whose `end` is its last frame. Its info has the `acceptance` of the walk; its mean `step`, the size
        of a move's noise per coordinate in the units of the codes; and the share of later frames that were `repaired`.

    Raises:
        UserError: the codes are not of the density or not finite, frames, stride or tuning are too few, or the density
            has no blur of that width.
    """
    start = _checked(density, start, frames, stride, tuning)
    level = density.noised(width)
    walker = State.at(level, start)
    walk = partial(mala, level, generator=generator)
    _, step = tuned(walk, walker, tuning, MALA_ACCEPTED, shared=False)
    places, chances = [start], []
    for k in range(1, stride * (frames - 1) + 1):
        walker, chance = walk(walker, step)
        chances.append(chance)
        if k % stride == 0:
            places.append(_denoised(density, walker, width))
    lowest = density_threshold(density, start, start, generator) if threshold is None else threshold
    points, repaired = _inside(density, torch.stack(places), lowest)
    info: dict[str, float | bool] = {
        "acceptance": torch.stack(chances).mean().item(),
        "step": (2 * step).sqrt().mean().item(),
        "repaired": repaired,
    }
    path = LatentPath(points, points[-1], "explore", info)
    return path.with_metrics(measure(path, density, lowest))


def _denoised(density: Density, walker: State, width: float) -> Latents:
    """z + width² grad log q_width(z), or z where that is less likely, as an inexact score may make it."""
    mean = walker.latents + width**2 * walker.scores
    better = density.log_prob(mean) >= density.log_prob(walker.latents)
    return torch.where(better[:, None], mean, walker.latents)


def _inside(density: Density, places: Tensor, threshold: float | Values) -> tuple[Tensor, float]:
    """The places but the first, where they are under the floor, climbed back to it; and the share that were."""
    frames, n, _ = places.shape
    later = places[1:].flatten(0, 1)
    target = torch.as_tensor(threshold).to(later).expand(n).repeat(frames - 1)
    climb = project(density, later, target)
    share = (climb.moved > 0).float().mean().item()
    return torch.cat([places[:1], climb.points.unflatten(0, (frames - 1, n))]), share


def _checked(density: Density, start: Tensor, frames: int, stride: int, tuning: int) -> Latents:
    """The start as (n, d), or one sentence saying why nothing can be explored from there."""
    if start.ndim not in (1, 2) or start.shape[-1] != density.dimension:
        raise UserError(
            f"start must have shape (n, {density.dimension}) or ({density.dimension},); it has {tuple(start.shape)}"
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
            raise UserError(f"{name} is {value}; choose {least} or more to explore")
    return start.reshape(-1, density.dimension)
