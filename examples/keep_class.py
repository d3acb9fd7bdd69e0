"""A class kept: on the way from one digit to another, every frame remains the first one."""

from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/demo")
codes, labels = atlas.codes["held_out"].means, atlas.labels["held_out"]
by_digit = [codes[labels == digit] for digit in range(10)]
most_likely = [some[atlas.map.log_prob(some).argmax()] for some in by_digit]
rows = {}
for start, goal in ((4, 0), (3, 5)):
    a, b = most_likely[start], most_likely[goal]
    kept = atlas.travel(a, b, frames=13, preserve="class")
    rows[f"from {start} to {goal}"] = atlas.travel(a, b, frames=13).strip().numpy()
    rows[f"{start} is kept"] = kept.strip().numpy()
    print(kept.numbers(), *kept.warnings)
save(comparison_sheet(rows), Path("keep_class.png"))
