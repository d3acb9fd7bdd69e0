"""Faces by a network that is trained already: each frame is the nearest real image."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/faces")
codes = atlas.codes["held_out"].means
paths = {
    f"{a} to {b}": atlas.travel(codes[a], codes[b], frames=13) for a, b in ((0, 1), (2, 3), (4, 6))
}
rows = {f"faces {name}": path.strip().numpy() for name, path in paths.items()}
save(comparison_sheet(rows), Path("embeddings.png"))
