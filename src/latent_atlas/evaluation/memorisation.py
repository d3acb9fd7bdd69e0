"""Are samples copies of training images? They are, if they lie nearer to them than held-out images do."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import betabinom, mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from latent_atlas.errors import UserError

__all__ = ["Memorisation", "memorisation"]

NEAR = 0.01  # share of held-out images that are as near to a training image as a copy is
DOUBT = 1e-3  # probability under which more copies than expected are no accident

Features = Float[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Memorisation:
    """How near samples are to the training images, compared with held-out images.

    Attributes:
        nearest: Distance from each sample to its nearest training image, shape (n,).
        neighbours: Number of that training image, shape (n,).
        threshold: Distance under which a sample counts as a copy: a low quantile of the held-out images' distances.
        share: Of the samples, that are nearer than the threshold.
        expected: Share of new real images that would be.
        error: Standard deviation of such a share: binomial, with the doubt in the threshold.
        copies_p: Probability of so many copies among as many real images, likewise.
        nearer: Probability that a sample is nearer to the training images than a held-out image; 1/2 for real images.
        nearer_p: Probability, Mann-Whitney, of so high a value for real images.
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

    @property
    def copies(self) -> bool:
        """Whether there are more copies than real images would make."""
        return self.copies_p < DOUBT

    def numbers(self) -> dict[str, float]:
        """The numbers by name, without those of each sample."""
        return {name: value for name, value in vars(self).items() if isinstance(value, float)}

    def verdict(self) -> str:
        """The outcome in words."""
        counted = (
            f"{100 * self.share:.1f} % of {len(self.nearest)} samples are nearer to a training image than all but "
            f"{100 * self.expected:.1f} ± {100 * self.error:.1f} % of real images are"
        )
        if self.copies:
            return f"samples copy training images: {counted} (p = {self.copies_p:.1g})"
        aside = (
            f"; on the whole they are nearer than held-out images are (in {100 * self.nearer:.0f} % of pairs), as "
            "smoother images are too"
            if self.nearer_p < DOUBT
            else ""
        )
        return f"no sign that samples copy training images: {counted}{aside}"


def memorisation(samples: Features, train: Features, held_out: Features) -> Memorisation:
    """Compare samples with held-out images by their distance to the nearest training image.

    With D the distance from a sample, and D' from a held-out image: the share of samples with D under a low quantile of
    D', and P(D < D') + P(D = D') / 2.

    References:
        A Non-Parametric Test to Detect Data-Copying in Generative Models, Meehan, Chaudhuri and Dasgupta 2020.

    Arguments:
        samples, train, held_out: Features, or pixels as rows, shape (n, f) each. Decoded samples are best compared with
            decoded held-out images, which are as smooth as they are.

    Raises:
        UserError: there is too little to compare, or the features differ in number.

    Examples:
        >>> train, held_out = np.arange(0.0, 200, 2)[:, None], np.arange(1.0, 200, 2)[:, None]
        >>> found = memorisation(train[:30], train, held_out)
        >>> found.copies, found.share, found.nearer
        (True, 1.0, 1.0)
    """
    for name, rows in (
        ("samples", samples),
        ("training images", train),
        ("held-out images", held_out),
    ):
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != train.shape[1]:
            raise UserError(
                f"{name} have shape {rows.shape}; give (n, f) with n of 1 or more, and the same f as for the others"
            )
    index = NearestNeighbors(n_neighbors=1).fit(train)
    nearest, neighbours = (part[:, 0] for part in index.kneighbors(samples))
    usual = np.sort(index.kneighbors(held_out)[0][:, 0])
    # The share of real images that are nearer than the k-th of m others is Beta(k, m + 1 - k), whatever they are, so
    # the count among n real images is beta-binomial; a plain binomial test would cry wolf where m is small.
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
    )
