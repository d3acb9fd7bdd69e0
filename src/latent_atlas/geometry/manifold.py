"""Precision, recall, density and coverage in feature space, by nearest neighbours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from latent_atlas.errors import UserError, checked

__all__ = ["NEIGHBOURS", "Manifold", "Overlap", "manifold_of", "overlap"]

NEIGHBOURS = 5  # as Naeem et al. choose


@dataclass(frozen=True)
class Manifold:
    """The manifold of a set of images in feature space: the union of a ball around each.

    Attributes:
        features: The centres, shape (n, f).
        radii: Distance from each to its k-th nearest neighbour, shape (n,).
    """

    features: Float[np.ndarray, "n f"]
    radii: Float[np.ndarray, " n"]

    def contains(self, features: Float[np.ndarray, "m f"]) -> Bool[np.ndarray, " m"]:
        """Which images lie in at least one ball.

        The share of generated images in the manifold of real ones is precision; the share of real
        images in the manifold of generated ones is recall.
        """
        from sklearn.metrics import pairwise_distances_chunked  # loading it takes seconds

        pieces = pairwise_distances_chunked(
            features.astype(np.float64),
            self.features,
            reduce_func=lambda d, _: (d <= self.radii).any(axis=1),
        )
        return np.concatenate(list(pieces))


@checked
def manifold_of(features: Float[np.ndarray, "n f"], k: int = 3) -> Manifold:
    """The manifold of a collection by its k-th nearest neighbours.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models, Kynkäänniemi et al.
            2019.

    Raises:
        UserError: there are too few images to have k neighbours each.

    Examples:
        >>> manifold_of(np.array([[0.0], [1.0], [3.0]]), k=1).radii
        array([1., 1., 2.])
    """
    if not 1 <= k < len(features):
        raise UserError(
            f"a manifold by neighbour {k} needs more than {k} images; there are {len(features)}"
        )
    from sklearn.neighbors import NearestNeighbors

    centres = features.astype(np.float64)
    # Without an argument, no row is its own neighbour.
    distances, _ = NearestNeighbors(n_neighbors=k).fit(centres).kneighbors()
    return Manifold(centres, distances[:, -1])


@dataclass(frozen=True)
class Overlap:
    """Overlap of two sets of images in feature space.

    A ball around each image reaches to its k-th nearest neighbour among its own.

    | number | what it is | low where |
    |---|---|---|
    | precision | share of images in the ball of any reference image | images look unreal |
    | recall | share of reference images in the ball of any image | kinds of images are missing |
    | density | mean number of reference balls that an image is in, over k | as precision |
    | coverage | share of reference balls with an image in them | as recall |

    Density is 1 for real images, and more for images from where the reference is densest. Outliers
    of the reference have large balls, which raise precision but hardly density; outliers among the
    images raise recall, not coverage.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models, Kynkäänniemi et al.
            2019.
        Reliable Fidelity and Diversity Metrics for Generative Models, Naeem et al. 2020.

    Attributes:
        precision, recall, density, coverage: The numbers, 0 or more; all but density are at most 1.
        apart: Distance from each image to its k-th nearest reference image, shape (m,).
        radii: Distance from each reference image to the k-th nearest other one, shape (n,).
        nearest: Distance from each reference image to the nearest image, shape (n,).
    """

    precision: float
    recall: float
    density: float
    coverage: float
    apart: Float[np.ndarray, " m"]
    radii: Float[np.ndarray, " n"]
    nearest: Float[np.ndarray, " n"]

    def numbers(self) -> dict[str, float]:
        """The four numbers by their names."""
        names = ("precision", "recall", "density", "coverage")
        return {name: getattr(self, name) for name in names}


@checked
def overlap(
    images: Float[np.ndarray, "m f"], reference: Float[np.ndarray, "n f"], k: int = NEIGHBOURS
) -> Overlap:
    """The overlap of images and a reference by their features, with balls to neighbour k.

    Raises:
        UserError: there are too few images to have k neighbours each.
    """
    from sklearn.metrics import pairwise_distances_chunked

    real, drawn = manifold_of(reference, k), manifold_of(images, k)
    counts, apart = [], []
    nearest, recalled = np.full(len(reference), np.inf), np.zeros(len(reference), bool)
    done = 0
    for distances in pairwise_distances_chunked(drawn.features, real.features):
        counts.append((distances <= real.radii).sum(axis=1))
        recalled |= (distances <= drawn.radii[done : done + len(distances), None]).any(axis=0)
        nearest = np.minimum(nearest, distances.min(axis=0))
        apart.append(np.partition(distances, k - 1, axis=1)[:, k - 1])
        done += len(distances)
    count = np.concatenate(counts)
    return Overlap(
        float((count > 0).mean()),
        float(recalled.mean()),
        float(count.mean() / k),
        float((nearest <= real.radii).mean()),
        np.concatenate(apart),
        real.radii,
        nearest,
    )
