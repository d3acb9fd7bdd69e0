"""Fréchet and kernel distances between two sets of images, by their features."""

import numpy as np
import torch
from jaxtyping import Float

from latent_atlas.errors import UserError
from latent_atlas.evaluation.uncertainty import Number, half_sampled
from latent_atlas.geometry.manifold import NEIGHBOURS, overlap

__all__ = ["collection_numbers", "frechet_distance", "kernel_distance"]

Rows = Float[np.ndarray, "n f"]
Others = Float[np.ndarray, "m f"]


def frechet_distance(a: Rows, b: Others) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^{1/2})

    With the features of Inception v3 this is the FID. It is biased upwards by a term of order 1/n:
    compare only sets of one size.

    References:
        GANs Trained by a Two Time-Scale Update Rule, Heusel et al. 2017.

    Raises:
        UserError: one of the sets has fewer than two rows.
    """
    if len(a) < 2 or len(b) < 2:
        raise UserError(
            f"a Fréchet distance needs two rows or more on each side, not {len(a)} and {len(b)}"
        )
    (mean_a, root_a), (mean_b, root_b) = _gaussian(a), _gaussian(b)
    # With C = RᵀR, tr (C_a C_b)^{1/2} is the sum of the singular values of R_a R_bᵀ, which needs no
    # matrix root and is small where there are fewer images than features.
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    apart = np.square(mean_a - mean_b).sum()
    # Rounding may leave less than 0.
    return max(0.0, float(apart + np.square(root_a).sum() + np.square(root_b).sum() - 2 * shared))


def kernel_distance(a: Rows, b: Others) -> float:
    """Squared maximum mean discrepancy by the cubic kernel, without bias.

    mean over i ≠ j of k(a_i, a_j) + mean over i ≠ j of k(b_i, b_j) - 2 mean of k(a_i, b_j),
    k(x, y) = (x·y / f + 1)³

    With the features of Inception v3 this is the KID. Its mean is 0 for two samples of one
    distribution, however few, so it may be negative.

    References:
        Demystifying MMD GANs, Bińkowski et al. 2018.

    Raises:
        UserError: one of the sets has fewer than two rows.
    """
    if len(a) < 2 or len(b) < 2:
        raise UserError(
            f"a kernel distance needs two rows or more on each side, not {len(a)} and {len(b)}"
        )
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _mean_of_pairs(a) + _mean_of_pairs(b) - 2 * float(_kernel(a, b).mean())


def collection_numbers(
    images: Rows,
    reference: Float[np.ndarray, "m g"],
    *,
    k: int = NEIGHBOURS,
    rounds: int = 20,
    generator: torch.Generator,
) -> dict[str, Number]:
    """Distances and overlap of images and a reference, with standard errors.

    Arguments:
        images, reference: Features of each, by one extractor; 2 (k + 1) rows or more.
        k: Neighbours, as for `overlap`.
        rounds, generator: As for `half_sampled`.

    Returns:
        frechet and kernel: distances; precision, recall, density and coverage: as for `Overlap`.

    Raises:
        UserError: the two cannot be compared.
    """
    _check(images, reference, k)

    def statistic(a: Rows, b: Others) -> dict[str, float]:
        distances = {"frechet": frechet_distance(a, b), "kernel": kernel_distance(a, b)}
        return distances | overlap(a, b, k).numbers()

    return half_sampled(statistic, images, reference, rounds=rounds, generator=generator)


def _gaussian(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Mean m, and R with RᵀR = C and min(images, features) rows."""
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    root = (rows - mean) / np.sqrt(len(rows) - 1)
    return mean, root if len(root) <= root.shape[1] else np.asarray(np.linalg.qr(root, mode="r"))


def _kernel(a: Rows, b: Others) -> Float[np.ndarray, "n m"]:
    """k(a_i, b_j)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_pairs(rows: Rows) -> float:
    """Mean of k(x_i, x_j) over i ≠ j."""
    values = _kernel(rows, rows)
    n = len(rows)
    return float((values.sum() - np.trace(values)) / (n * (n - 1)))


def _check(images: Rows, reference: Float[np.ndarray, "m g"], k: int) -> None:
    """Check that two sets can be compared.

    Raises:
        UserError: they cannot.
    """
    if images.shape[1:] != reference.shape[1:]:
        raise UserError(
            f"the images have {images.shape[1]} features and the reference {reference.shape[1]}; "
            "use one extractor for both"
        )
    least = 2 * (k + 1)
    if min(len(images), len(reference)) < least:
        raise UserError(
            f"comparing sets by {k} neighbours needs {least} or more images on each side; there "
            f"are {len(images)} and {len(reference)}"
        )
    if not (np.isfinite(images).all() and np.isfinite(reference).all()):
        raise UserError("some features are not finite; look for images that decode to not-a-number")
    if (reference == reference[0]).all():
        raise UserError(
            f"all {len(reference)} reference images have the same features; choose other images"
        )
