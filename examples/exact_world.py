"""Walk along an arc whose density is known exactly: no network, no training.

The straight line crosses the empty region under the arc. The walk follows the map round it and
stops short of its goal; with the arrival schedule it reaches the goal.
"""

import math

import torch

from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import arc
from latent_atlas.travel import Linear, Slerp, Walk, plan

world = arc()
exact_map = ExactRatio(world, StandardNormal(2))
start, end = (
    2.0 * torch.tensor([math.cos(a), math.sin(a)]) for a in (math.radians(155), math.radians(25))
)
generator = torch.Generator().manual_seed(0)
threshold = torch.quantile(world.log_prob(world.sample(10_000, generator=generator)), 0.05).item()

for planner in (Linear(), Slerp(), Walk(), Walk(arrive=True)):
    path = plan(exact_map, start, end, planner, threshold=threshold)
    off, left = path.metrics.off_manifold.item(), path.metrics.distance_left.item()
    print(
        f"{planner}: {100 * off:.0f} % of frames off-manifold, {100 * left:.0f} % of the way left"
    )
