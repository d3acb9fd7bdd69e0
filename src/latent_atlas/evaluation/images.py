"""How near images are to others: pixel by pixel, and as collections in the features of a judge."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from latent_atlas.errors import UserError
from latent_atlas.shapes import Images

__all__ = ["Manifold", "frechet_distance", "manifold_of", "reconstruction_numbers"]


def reconstruction_numbers(images: Images, reconstructions: Images) -> dict[str, float]:
    """How much of the images is lost.

    Arguments:
        images, reconstructions: Shape (n, c, h, w), in [0, 1].

    Returns:
        mse: mean squared error per pixel; psnr: its peak signal-to-noise ratio in dB; images: n.
    """
    mse = (images - reconstructions).square().mean().item()
    return {"mse": mse, "psnr": -10 * float(np.log10(max(mse, 1e-12))), "images": float(len(images))}


def frechet_distance(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "m f"]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^{1/2})

    References:
        GANs Trained by a Two Time-Scale Update Rule, Heusel et al. 2017.

    Raises:
        UserError: one of the sets has fewer than two rows.
    """
    if len(a) < 2 or len(b) < 2:
        raise UserError(f"a Fréchet distance needs two or more rows on each side; there are {len(a)} and {len(b)}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # tr (C_a C_b)^{1/2} is the sum of the roots of the product's eigenvalues, which are real and at least 0.
    roots = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None))
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(apart + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


@dataclass(frozen=True)
class Manifold:
    """Where a collection lies in feature space: the union of a ball around each of its images.

    Attributes:
        features: The centres, shape (n, f).
        radii: Distance from each to its k-th nearest neighbour, shape (n,).
    """

    features: Float[np.ndarray, "n f"]
    radii: Float[np.ndarray, " n"]

    def contains(self, features: Float[np.ndarray, "m f"]) -> Bool[np.ndarray, " m"]:
        """Which images lie in at least one ball.

        The share of generated images in the manifold of real ones is precision; the share of real images in the
        manifold of generated ones is recall.
        """
        pieces = pairwise_distances_chunked(
            features.astype(np.float64), self.features, reduce_func=lambda d, _: (d <= self.radii).any(axis=1)
        )
        return np.concatenate(list(pieces))


def manifold_of(features: Float[np.ndarray, "n f"], k: int = 3) -> Manifold:
    """The manifold of a collection by its k-th nearest neighbours.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models, Kynkäänniemi et al. 2019.

    Raises:
        UserError: there are too few images to have k neighbours each.

    Example:
        >>> manifold_of(np.array([[0.0], [1.0], [3.0]]), k=1).radii
        array([1., 1., 2.])
    """
    if not 1 <= k < len(features):
        raise UserError(f"a manifold by neighbour {k} needs more than {k} images; there are {len(features)}")
    centres = features.astype(np.float64)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(centres).kneighbors()  # nobody is its own neighbour
    return Manifold(centres, distances[:, -1])
