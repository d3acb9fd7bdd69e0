"""Walk along an arc whose density is known exactly: no network, no training.

The straight line crosses the void under the arc. The walk follows the map round it and stops short of its goal; with
the arrival schedule it gets there.
"""

import math

import torch

from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import arc
from latent_atlas.travel import plan

world = arc()
exact_map = ExactRatio(world, StandardNormal(2))
start, end = (
    2.0 * torch.tensor([math.cos(a), math.sin(a)]) for a in (math.radians(155), math.radians(25))
)
generator = torch.Generator().manual_seed(0)
threshold = torch.quantile(world.log_prob(world.sample(10_000, generator=generator)), 0.05).item()

for name, options in {
    "linear": {},
    "slerp": {},
    "walk": {},
    "walk, arriving": {"arrive": True},
}.items():
    path = plan(exact_map, start, end, name.split(",")[0], threshold=threshold, **options)
    outside, left = path.metrics["outside"].item(), path.metrics["distance_left"].item()
    print(
        f"{name:15} {100 * outside:3.0f} % of frames outside, {100 * left:3.0f} % of the way left"
    )
