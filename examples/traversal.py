"""A traversal: letters become bolder along a direction that real codes show."""

from pathlib import Path

import torch

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/glyphs")
codes = atlas.codes["train"].means
ink = 1 - atlas.decode(codes).flatten(1).mean(dim=1)
bold = torch.linalg.lstsq(codes - codes.mean(0), (ink - ink.mean())[:, None]).solution[:, 0]
rows = {}
for number in (3, 40, 60, 90):
    start = atlas.codes["held_out"].means[number]
    light = atlas.traverse(start, bold, by=-1.5).points[-1, 0]
    rows[f"font {number}"] = atlas.traverse(light, bold, by=2.5, frames=13).strip()
save(comparison_sheet({name: row.numpy() for name, row in rows.items()}), Path("traversal.png"))
