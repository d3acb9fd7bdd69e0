"""The planners compared on a density in closed form: two moons, and the empty region between them.

The straight line goes through the empty region, and the walk cuts across it to arrive in time. A
geodesic goes round with the least detour, whether it starts from the straight line or from a path
over real codes.
"""

from collections import Counter

import torch

from latent_atlas.density.toys import two_moons
from latent_atlas.travel import (
    Auto,
    Geodesic,
    Graph,
    Linear,
    Slerp,
    Walk,
    plan,
    project,
    through_waypoints,
)

world = two_moons(2)
generator = torch.Generator().manual_seed(0)
codes = world.sample(2_000, generator=generator)
start, end = codes[:100].chunk(2)  # 50 paths
threshold = torch.quantile(world.log_prob(codes), 0.05).item()

planners = (
    Linear(),
    Slerp(),
    Walk(arrive=True, alpha=0.01),
    Geodesic(),
    Graph(codes=codes),
    Auto(codes=codes),
)
for planner in planners:
    path = plan(world, start, end, planner, threshold=threshold, generator=generator)
    off, length = path.metrics.off_manifold.mean().item(), path.metrics.length_ratio.mean().item()
    print(f"{path.planner:9} {100 * off:5.1f} % of frames off-manifold, {length:.2f} × straight")

chosen = Counter(path.info.chosen)
print("auto chose", ", ".join(f"{name} {2 * count} %" for name, count in chosen.items()))

round_trip = through_waypoints(world, codes[:4], frames=33, closed=True, threshold=threshold)
print(
    f"a round trip by four codes: {100 * round_trip.metrics.off_manifold.item():.0f} % off-manifold"
)
climb = project(world, torch.tensor([[3.0, 3.0]]), threshold)
print(f"from (3, 3) it is {climb.moved.item():.2f} to the density threshold")
