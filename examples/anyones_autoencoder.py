"""An atlas of anyone's autoencoder: here, eight principal components of handwritten digits."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from latent_atlas import Atlas

images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
mean = images.flatten(1).mean(0)
_, _, axes = torch.pca_lowrank(images.flatten(1), 8)


def encode(images: Tensor) -> Tensor:
    """(n, 1, 8, 8) to (n, 8)."""
    return (images.flatten(1) - mean) @ axes


def decode(codes: Tensor) -> Tensor:
    """(n, 8) to (n, 1, 8, 8)."""
    return (codes @ axes.T + mean).unflatten(1, (1, 8, 8))


settings = {"boundary": "gaussian", "steps": 300, "width": 48}
generator = torch.Generator().manual_seed(0)
atlas = Atlas.wrap(images=images, encode=encode, decode=decode, generator=generator, **settings)
print(atlas.map.calibration.verdict())

path = atlas.travel(images[0], images[1])
print("a path:", path.numbers())
print("its images:", tuple(path.strip().shape))
