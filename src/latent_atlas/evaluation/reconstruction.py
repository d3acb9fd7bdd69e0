"""Reconstruction errors: per pixel, and in the features of an extractor."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from latent_atlas.errors import UserError
from latent_atlas.evaluation.uncertainty import Number, mean_of
from latent_atlas.shapes import Images

__all__ = ["feature_distance", "reconstruction_numbers"]

UNRELATED = 1_000  # images whose pairwise distances are the unit


def reconstruction_numbers(images: Images, reconstructions: Images) -> dict[str, float]:
    """Reconstruction error per pixel.

    Arguments:
        images, reconstructions: Shape (n, c, h, w), in [0, 1].

    Returns:
        mse: mean squared error per pixel; psnr: its peak signal-to-noise ratio in dB; images: n.
    """
    mse = (images - reconstructions).square().mean().item()
    return {
        "mse": mse,
        "psnr": -10 * float(np.log10(max(mse, 1e-12))),
        "images": float(len(images)),
    }


def feature_distance(
    images: Float[np.ndarray, "n f"], reconstructions: Float[np.ndarray, "m f"]
) -> Number:
    """Relative distance in feature space between images and their reconstructions.

    mean |φ(x_i) - φ(x̂_i)| / mean over i ≠ j of |φ(x_i) - φ(x_j)|, among the first 1,000 images

    Returns:
        0 for perfect reconstructions, 1 if they are as far away as other images are.

    Raises:
        UserError: fewer than two images, not as many reconstructions, or equal features of all.
    """
    if len(images) != len(reconstructions) or len(images) < 2:
        raise UserError(
            "a feature distance needs two or more images and the reconstruction of each; there are "
            f"{len(images)} and {len(reconstructions)}"
        )
    moved = mean_of(np.linalg.norm(images.astype(np.float64) - reconstructions, axis=1))
    some = images[:UNRELATED].astype(np.float64)
    apart = cdist(some, some).sum() / (len(some) * (len(some) - 1))
    if apart == 0:
        raise UserError(
            f"all {len(images)} images have the same features; choose images that differ"
        )
    return Number(moved.value / apart, None if moved.error is None else moved.error / apart)
