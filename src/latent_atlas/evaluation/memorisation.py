"""Memorisation: whether samples copy training images, compared with held-out images."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.shapes import ByteImages, to_float

__all__ = ["Memorisation", "memorisation", "nearest_pairs", "sample_and_compare"]

NEAR = 0.01  # quantile of the held-out images' distances under which a sample counts as a copy
SIGNIFICANT = 1e-3  # p-value under which there are more copies than by chance
HELD_OUT = 2_000  # held-out images compared: enough for the 1 % quantile

Features = Float[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Memorisation:
    """Distances of samples to the training images, compared with those of held-out images.

    Attributes:
        nearest: Distance from each sample to its nearest training image, shape (n,).
        neighbours: Row number of that training image, shape (n,).
        threshold: Distance under which a sample counts as a copy: the 1 % quantile of the held-out
            images' distances.
        share: Share of the samples under the threshold, in [0, 1].
        expected: Expected share for real images.
        error: Standard deviation of that share: beta-binomial, for the threshold is estimated.
        copies_p: P-value of the number of copies.
        nearer: P(a sample is nearer to the training images than a held-out image), in [0, 1]; 1/2
            for real images.
        nearer_p: Its Mann-Whitney p-value.
        least_p: P-value of the number of copies if all samples were copies.
    """

    nearest: Float[np.ndarray, " n"]
    neighbours: np.ndarray
    threshold: float
    share: float
    expected: float
    error: float
    copies_p: float
    nearer: float
    nearer_p: float
    least_p: float

    @property
    def copies(self) -> bool:
        """Whether there are more copies than real images would make."""
        return self.copies_p < SIGNIFICANT

    def numbers(self) -> dict[str, float]:
        """The numbers by name, without those of each sample."""
        return {name: value for name, value in vars(self).items() if isinstance(value, float)}

    def verdict(self) -> str:
        """The result in one sentence."""
        counted = (
            f"{100 * self.share:.1f} % of {len(self.nearest)} samples are closer to a training "
            f"image than the threshold, under which {100 * self.expected:.1f} ± "
            f"{100 * self.error:.1f} % of real images are"
        )
        if self.least_p >= SIGNIFICANT:
            return (
                "too few samples or held-out images to tell whether samples copy training images: "
                f"even if all were copies, p would be {self.least_p:.2g}, not below "
                f"{SIGNIFICANT:g}; draw more with --samples, or hold out more images"
            )
        if self.copies:
            return f"samples copy training images: {counted} (p = {self.copies_p:.1g})"
        aside = (
            f"; in {100 * self.nearer:.0f} % of pairs a sample is closer than a held-out image, as "
            "smoother images are too"
            if self.nearer_p < SIGNIFICANT
            else ""
        )
        return f"no sign that samples copy training images: {counted}{aside}"


def memorisation(samples: Features, train: Features, held_out: Features) -> Memorisation:
    """Compare samples with held-out images by their distance to the nearest training image.

    With D the distance of a sample and D' that of a held-out image: the share of samples with D
    under a low quantile of D', and P(D < D') + P(D = D') / 2.

    References:
        A Non-Parametric Test to Detect Data-Copying in Generative Models, Meehan, Chaudhuri and
        Dasgupta 2020.

    Arguments:
        samples, train, held_out: Features or pixels as rows, shape (n, f) each. Compare decoded
            samples with decoded held-out images, which are equally smooth.

    Raises:
        UserError: one of them is empty, or the features differ in number.

    Examples:
        >>> train, held_out = np.arange(0.0, 200, 2)[:, None], np.arange(1.0, 200, 2)[:, None]
        >>> found = memorisation(train[:30], train, held_out)
        >>> found.copies, found.share, found.nearer
        (True, 1.0, 1.0)
    """
    # Imported here because loading them takes seconds.
    from scipy.stats import betabinom, mannwhitneyu
    from sklearn.neighbors import NearestNeighbors

    for name, rows in (
        ("samples", samples),
        ("training images", train),
        ("held-out images", held_out),
    ):
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != train.shape[1]:
            raise UserError(
                f"{name} have shape {rows.shape}; give (n, f), n of 1 or more, with one f for all"
            )
    index = NearestNeighbors(n_neighbors=1).fit(train)
    nearest, neighbours = (part[:, 0] for part in index.kneighbors(samples))
    usual = np.sort(index.kneighbors(held_out)[0][:, 0])
    # The share of real images nearer than the k-th of m others is Beta(k, m + 1 - k), so the count
    # among n real images is beta-binomial. A binomial test would reject too often where m is small.
    k = max(1, int(NEAR * (len(usual) + 1)))
    count, n = int((nearest < usual[k - 1]).sum()), len(nearest)
    by_chance = betabinom(n, k, len(usual) + 1 - k)
    wins = mannwhitneyu(nearest, usual, alternative="less")
    return Memorisation(
        nearest=nearest,
        neighbours=neighbours,
        threshold=float(usual[k - 1]),
        share=count / n,
        expected=k / (len(usual) + 1),
        error=float(by_chance.std()) / n,
        copies_p=float(by_chance.sf(count - 1)),
        nearer=1 - float(wins.statistic) / (n * len(usual)),
        nearer_p=float(wins.pvalue),
        least_p=float(by_chance.sf(n - 1)),
    )


def sample_and_compare(
    atlas: Atlas, train: ByteImages, count: int, *, generator: torch.Generator
) -> tuple[Memorisation, Tensor]:
    """Draw images, and compare them and reconstructed held-out images with the training images.

    Arguments:
        atlas: An atlas with a model.
        train: The images that the model was trained on.
        count: Number of images to draw.
        generator: Source of all randomness.

    Returns:
        The comparison by Euclidean distances of pixels in [0, 1], and the samples (count, c, h, w).
    """
    samples = atlas.sample(count, generator=generator).cpu()
    rebuilt = atlas.decode(atlas.codes["held_out"].means[:HELD_OUT])
    return memorisation(_rows(samples), _rows(train), _rows(rebuilt)), samples


def nearest_pairs(
    found: Memorisation, samples: Tensor, train: Tensor, count: int = 16
) -> dict[str, Tensor]:
    """The samples nearest to a training image, and these images, (count, c, h, w) in [0, 1]."""
    first = torch.from_numpy(found.nearest.argsort(kind="stable")[:count])
    neighbours = torch.from_numpy(found.neighbours)[first]
    return {"sample": samples[first], "nearest training image": to_float(train[neighbours])}


def _rows(images: Tensor) -> np.ndarray:
    """Pixels in [0, 1], one image per row."""
    return to_float(images.flatten(1)).cpu().numpy()
