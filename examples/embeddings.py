"""Faces by a network that is trained already: each frame is the nearest real image."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/faces")  # latent-atlas embed faces --out runs/faces
codes = atlas.codes["held_out"].means
path = atlas.travel(codes[0], codes[1], frames=13).strip()
order = atlas.rarity().argsort()
real = atlas.real_images[0]
rows = {
    "a path": path,
    "typical": atlas.pictures(real[order[:13]]),
    "rarest": atlas.pictures(real[order[-13:].flip(0)]),
}
save(comparison_sheet({name: row.numpy() for name, row in rows.items()}), Path("embeddings.png"))
