"""Outliers of a folder: letters of unseen fonts, among them turned letters, faces and digits."""

from pathlib import Path

import torch
from PIL import Image

from latent_atlas import Atlas
from latent_atlas.config.data import DataConfig
from latent_atlas.data.load import load_images
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import save

atlas = Atlas.load("runs/glyphs")
side = atlas.image_shape[-1]
letters, faces, digits = (
    load_images(DataConfig(name), side, 1).test.as_float() for name in ("glyphs", "faces", "digits")
)
turned = letters[50:54].rot90(dims=(2, 3))
folder = Path("letters")
folder.mkdir(exist_ok=True)
for number, image in enumerate(torch.cat([letters[:50], turned, faces[:4], digits[:4]])):
    Image.fromarray((255 * image[0]).byte().numpy()).save(folder / f"{number}.png")

images = load_images(DataConfig("letters"), side, 1)
found = atlas.anomaly(images.as_float(), names=images.names)
print(found.sentence())
ranked = images.as_float().numpy()[found.order()]
rows = {"most anomalous": ranked[:13], "next": ranked[13:26], "least anomalous": ranked[-13:]}
save(comparison_sheet(rows), Path("outliers.png"))
