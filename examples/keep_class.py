"""A class kept: on the way from one digit to another, every frame remains the first one."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/demo")
codes, labels = atlas.codes["held_out"].means, atlas.labels["held_out"]
a, rows = codes[labels == 4][0], {}
for digit in (9, 0):
    b = codes[labels == digit][1]
    kept = atlas.travel(a, b, frames=13, preserve="class")
    rows[f"from 4 to {digit}"] = atlas.travel(a, b, frames=13).strip().numpy()
    rows[f"to {digit}, 4 is kept"] = kept.strip().numpy()
    print(kept.numbers(), *kept.warnings)
save(comparison_sheet(rows), Path("keep_class.png"))
