"""The planners compared in a world whose density is known: two moons, and the void between them.

The straight line goes through the void, and the walk cuts across it on its way to arrive in time. A geodesic goes
round with the least detour, whether it starts from the straight line or from a route over real codes.
"""

import torch

from latent_atlas.density.toys import two_moons
from latent_atlas.travel import plan, project, through_waypoints

world = two_moons(2)
generator = torch.Generator().manual_seed(0)
codes = world.sample(2_000, generator=generator)
start, end = codes[:100].chunk(2)  # 50 journeys
threshold = torch.quantile(world.log_prob(codes), 0.05).item()

planners = {
    "linear": {},
    "slerp": {},
    "walk": {"arrive": True, "alpha": 0.01},
    "geodesic": {},
    "graph": {"codes": codes},
    "auto": {"codes": codes},
}
for planner, options in planners.items():
    path = plan(world, start, end, planner, threshold=threshold, generator=generator, **options)
    numbers = {name: values.mean().item() for name, values in path.metrics.items()}
    print(
        f"{planner:9} {100 * numbers['outside']:5.1f} % of frames outside, {numbers['length_ratio']:.2f} × straight"
    )

shares = {
    name: values.mean().item() for name, values in path.metrics.items() if name.startswith("by_")
}
print(
    "auto chose",
    ", ".join(f"{name.removeprefix('by_')} {100 * share:.0f} %" for name, share in shares.items()),
)

round_trip = through_waypoints(world, codes[:4], frames=33, closed=True, threshold=threshold)
print(f"a round trip by four codes: {100 * round_trip.metrics['outside'].item():.0f} % outside")
climb = project(world, torch.tensor([[3.0, 3.0]]), threshold)
print(f"from (3, 3) it is {climb.moved.item():.2f} to the population")
