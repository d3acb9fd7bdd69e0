"""Planners on a density in closed form: two moons, and the empty region between them."""

from pathlib import Path

import torch

from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import two_moons
from latent_atlas.report.plots.heatmap import Field
from latent_atlas.report.plots.map import map_picture
from latent_atlas.report.plots.style import save
from latent_atlas.travel import Geodesic, Linear, Walk, plan

world = two_moons(2)
codes = world.sample(2_000, generator=torch.Generator().manual_seed(0))
threshold = torch.quantile(world.log_prob(codes), 0.05).item()
start, end = codes[codes[:, 0].argmin()], codes[codes[:, 0].argmax()]
paths = {}
for planner in (Linear(), Walk(arrive=True, alpha=0.01), Geodesic()):
    path = plan(world, start, end, planner, frames=33, threshold=threshold)
    paths[path.planner] = path.points[:, 0].numpy()
    print(path.planner, path.numbers())

x, y = torch.linspace(-3.2, 3.2, 240), torch.linspace(-2.0, 2.0, 150)
places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).flatten(0, 1)
exact_map = ExactRatio(world, StandardNormal(2))  # what an ideal D_z would learn
log_prob, confusion = (
    quantity(places).unflatten(0, (150, 240)).numpy()
    for quantity in (exact_map.log_prob, exact_map.confusion)
)
fields = [
    Field("Log-density", "nats", log_prob, "log_prob"),
    Field("Confusion", "bits", confusion, "confusion"),
]
extent = (-3.2, 3.2, -2.0, 2.0)
picture = map_picture(fields, extent, threshold=threshold, codes=codes[:300].numpy(), paths=paths)
save(picture, Path("known_density.png"))
