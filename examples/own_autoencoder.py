"""An atlas of one's own autoencoder: here, 16 principal components of cartoon faces."""

from pathlib import Path

import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.config.data import DataConfig
from latent_atlas.data.load import load_images
from latent_atlas.report.figures.travel import draw_travel
from latent_atlas.report.plots.style import save

images = load_images(DataConfig("faces"), image_size=32, channels=3).as_float()
mean = images.flatten(1).mean(0)
generator = torch.Generator().manual_seed(0)
torch.manual_seed(0)  # of pca_lowrank, which takes no generator
_, _, axes = torch.pca_lowrank(images.flatten(1), 16)


def encode(images: Tensor) -> Tensor:
    """(n, 3, 32, 32) to (n, 16)."""
    return (images.flatten(1) - mean) @ axes


def decode(codes: Tensor) -> Tensor:
    """(n, 16) to (n, 3, 32, 32)."""
    return (codes @ axes.T + mean).unflatten(1, (3, 32, 32)).clamp(0, 1)


atlas = Atlas.wrap(
    images=images, encode=encode, decode=decode, boundary="gaussian", steps=600, generator=generator
)
print(atlas.map.calibration.verdict())
paths = {
    name: atlas.travel(images[0], images[1], name, frames=13) for name in ("linear", "typical")
}
save(draw_travel(atlas, paths), Path("own_autoencoder.png"))
