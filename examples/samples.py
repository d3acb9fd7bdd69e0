"""New letters of each kind of typeface, drawn from the density of the codes."""

from pathlib import Path

import torch

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/glyphs")
generator = torch.Generator().manual_seed(0)
rows = {
    kind: atlas.sample(13, where={"class": kind}, generator=generator).numpy()
    for kind in atlas.label_names
}
save(comparison_sheet(rows), Path("samples.png"))
