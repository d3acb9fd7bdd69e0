"""A path between two typefaces: the straight line, and the path that stays on the data."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.figures.travel import draw_travel
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/glyphs")
a, b = atlas.codes["held_out"].means[[3, 60]]
paths = {planner: atlas.travel(a, b, planner, frames=13) for planner in ("linear", "typical")}
for name, path in paths.items():
    print(name, path.numbers())
save(draw_travel(atlas, paths), Path("path.png"))
