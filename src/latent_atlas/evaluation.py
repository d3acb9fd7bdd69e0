"""Judges: reconstruction, distance between collections, travel. Each returns named numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from latent_atlas.atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.shapes import Images
from latent_atlas.travel import plan

__all__ = ["JOURNEYS", "frechet_distance", "reconstruction_numbers", "travel_numbers"]

JOURNEYS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "slerp": ("slerp", {}),
    "walk, rule 1": ("walk", {"rule": 1}),
    "walk, rule 2": ("walk", {"rule": 2}),
    "walk, arriving": ("walk", {"rule": 2, "arrive": True}),
}
"""The planners that are compared, by the name of their row: planner and settings."""


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


def travel_numbers(
    atlas: Atlas, pairs: int, *, rows: Sequence[str] = tuple(JOURNEYS), generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """Journeys between random pairs of held-out codes, judged by the map itself.

    Arguments:
        atlas: Model and map.
        pairs: How many journeys; the same for every planner.
        rows: Names from `JOURNEYS`.
        generator: Chooses the pairs.

    Returns:
        By row, the mean over journeys of each of `travel.metrics.measure`.
    """
    means = atlas.codes["held_out"].means
    if len(means) == 1:
        means = torch.cat([means, atlas.codes["train"].means])
    start, end = (
        means[torch.randint(len(means), (pairs,), generator=generator, device=generator.device)] for _ in range(2)
    )
    apart = (start - end).norm(dim=1) > 0
    table = {}
    for row in rows:
        planner, options = JOURNEYS[row]
        path = plan(atlas.map, start[apart], end[apart], planner, **options)
        table[row] = {name: values.mean().item() for name, values in path.metrics.items()}
    return table
