"""A traversal: letters become bolder, along the weight that is known of real fonts."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/glyphs")
rows = {}
for number in (3, 40, 60, 90):
    start = atlas.codes["held_out"].means[number]
    light = atlas.traverse(start, "weight", to=200).points[-1, 0]
    path = atlas.traverse(light, "weight", to=900, frames=13)
    rows[f"font {number}"] = path.strip().numpy()
    print(path.numbers())
save(comparison_sheet(rows), Path("traversal.png"))
