"""Whether two sets of codes are of one distribution, and where they differ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.display import Tabular, html_table, html_text
from latent_atlas.errors import checked, counted, printable, require
from latent_atlas.geometry.manifold import NEIGHBOURS, Overlap, overlap
from latent_atlas.shapes import Latents

__all__ = ["Comparison", "compare", "kernel_test"]

MOST = 1_000  # codes of either set that the test takes; its time grows with their square
PERMUTATIONS = 999
RARE = 0.05  # p-value from which on two sets differ
CLUSTERS, ROUNDS = 16, 20  # of k-means, at most
TINY = 1e-30


@dataclass(frozen=True)
class Comparison(Tabular):
    """A set of codes compared with real codes.

    Attributes:
        overlap: Density and coverage of the set among the real codes.
        expected_coverage: Mean coverage of as many codes of the real ones' distribution.
        drift: Squared maximum mean discrepancy, without bias: 0 on average where there is no drift.
        p_value: Share of random divisions of all codes that drift at least as much, in (0, 1].
        shared: Numbers of the set's images whose code is that of a real one, ascending.
        missing: Numbers of the real images in whose ball no image of the set is, ascending.
        examples: Of these, one for each of 16 clusters, that of the largest cluster first.
        names: Names of the set's images, m.
        real_names: Names of the real images, n.
    """

    overlap: Overlap
    expected_coverage: float
    drift: float
    p_value: float
    shared: list[int]
    missing: list[int]
    examples: list[int]
    names: tuple[str, ...]
    real_names: tuple[str, ...]

    @property
    def unlike(self) -> list[int]:
        """Numbers of the set's images that are unlike the real ones, the farthest first.

        They are farther from their fifth nearest real image than 95 % of the real images are from
        theirs, and not shared; of images of the same distribution 5 % are unlike.
        """
        apart = self.overlap.apart.copy()
        apart[self.shared] = 0
        order = np.argsort(-apart, kind="stable")
        return order[apart[order] > np.quantile(self.overlap.radii, 1 - RARE)].tolist()

    def numbers(self) -> dict[str, Any]:
        """All numbers and names, for JSON."""
        return {
            "images": len(self.names),
            "real_images": len(self.real_names),
            "density": self.overlap.density,
            "coverage": self.overlap.coverage,
            "expected_coverage": self.expected_coverage,
            "drift": self.drift,
            "p_value": self.p_value,
            "shared": [self.names[row] for row in self.shared],
            "unlike": [self.names[row] for row in self.unlike],
            "missing": [self.real_names[row] for row in self.missing],
            "examples": [self.real_names[row] for row in self.examples],
        }

    def columns(self) -> dict[str, Any]:
        """Of each image of the set: its distance to the fifth nearest real one, and the lists."""
        rows = np.arange(len(self.names))
        lists = {"shared": np.isin(rows, self.shared), "unlike": np.isin(rows, self.unlike)}
        return {"name": list(map(printable, self.names)), "apart": self.overlap.apart, **lists}

    def _repr_html_(self) -> str:
        """What the numbers say, and the images, those that are unlike the real ones first."""
        rows = self.rows()
        rest = [row for row in rows if not row["unlike"]]
        return html_text(*self.sentences()) + html_table([rows[i] for i in self.unlike] + rest)

    def sentences(self) -> list[str]:
        """What the numbers say."""
        found = "differ" if self.p_value <= RARE else "are not seen to differ"
        both = (
            f"{counted(len(self.shared), 'image')} of the set are real images as well, so density "
            "and coverage are too high, and the p-value finds less"
        )
        return [
            *([both] if self.shared else []),
            f"the distributions {found}: drift {self.drift:.3g}, p-value {self.p_value:.3g} "
            f"({len(self.names):,} images, {len(self.real_names):,} real ones)",
            f"density {self.overlap.density:.2f}, where images of the same distribution have 1.00",
            f"coverage {self.overlap.coverage:.2f}, where as many images of the same distribution "
            f"have {self.expected_coverage:.2f} on average",
        ]


@checked
def compare(
    real: Latents,
    other: Float[Tensor, "m d"],
    *,
    names: tuple[str, ...] = (),
    real_names: tuple[str, ...] = (),
    generator: torch.Generator,
) -> Comparison:
    """Compare a set of codes with real codes.

    Density and coverage take all codes, the test at most a thousand of either set. Of n real codes
    and m others of one distribution, the expected coverage is 1 - prod_i (n - i) / (n + m - i), for
    i from 1 to k: that the k nearest neighbours of a real code are all real.

    References:
        Reliable Fidelity and Diversity Metrics for Generative Models, Naeem et al. 2020.

    Arguments:
        real: Codes of real images, shape (n, d); n of 6 or more.
        other: Codes of the set, shape (m, d); m of 6 or more.
        names, real_names: A name for each image; by default row:0, row:1, ...
        generator: Draws the codes and the permutations of the test.

    Raises:
        UserError: there are too few codes.
    """
    n, m = len(real), len(other)
    require(
        min(n, m) > NEIGHBOURS,
        f"a comparison needs {NEIGHBOURS + 1} images or more on either side; there are {m} to "
        f"compare with {n} real ones",
    )
    found = overlap(other.cpu().numpy(), real.cpu().numpy())
    drift, p_value = kernel_test(
        _some(real, generator), _some(other, generator), generator=generator
    )
    missing = np.flatnonzero(found.nearest > found.radii)
    known = set(map(bytes, real.cpu().numpy()))
    shared = [row for row, code in enumerate(other.cpu().numpy()) if bytes(code) in known]
    i = np.arange(1, NEIGHBOURS + 1)
    return Comparison(
        found,
        float(1 - np.prod((n - i) / (n + m - i))),
        drift,
        p_value,
        shared,
        missing.tolist(),
        missing[_examples(real[missing].cpu().numpy())].tolist(),
        names or _numbered(m),
        real_names or _numbered(n),
    )


@checked
@torch.no_grad()
def kernel_test(
    a: Latents,
    b: Float[Tensor, "m d"],
    *,
    permutations: int = PERMUTATIONS,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Test whether two sets of codes are of one distribution.

    The statistic is the squared maximum mean discrepancy by a Gaussian kernel,

        mean over i ≠ j of k(a_i, a_j) + mean over i ≠ j of k(b_i, b_j) - 2 mean of k(a_i, b_j),

    k(x, y) = exp(-|x - y|² / 2 w²), where w is the median distance between two of all codes. Under
    one distribution all divisions of the codes into n and m are equally likely, so the share of
    them with a statistic as large is a p-value, however few codes there are.

    References:
        A Kernel Two-Sample Test, Gretton et al. 2012.

    Arguments:
        a, b: Codes, shape (n, d) and (m, d), of two rows or more.
        permutations: Number of random divisions.
        generator: Draws them.

    Returns:
        The statistic and its p-value.
    """
    n, m = len(a), len(b)
    pooled = torch.cat([a, b]).cpu().double()
    squares = torch.cdist(pooled, pooled).square()
    width = squares[tuple(torch.triu_indices(n + m, n + m, 1))].median().clamp(min=TINY)
    kernel = torch.exp(squares / (-2 * width)).fill_diagonal_(0)
    draws = torch.rand(permutations + 1, n + m, generator=generator, device=generator.device)
    order = draws.argsort(dim=1).cpu()
    order[0] = torch.arange(n + m)  # the division that was observed
    first = torch.zeros_like(draws, dtype=torch.double, device="cpu").scatter(1, order[:, :n], 1)
    sums = first @ kernel
    within = (sums * first).sum(dim=1)
    between = sums.sum(dim=1) - within
    rest = kernel.sum() - within - 2 * between
    statistic = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * between / (n * m)
    as_far = statistic >= statistic[0] - 1e-12  # equal divisions differ by rounding
    return float(statistic[0]), float(as_far.double().mean())


def _examples(codes: Float[np.ndarray, "n d"]) -> list[int]:
    """Rows that stand for all: those nearest to the centres of clusters by k-means."""
    from sklearn.cluster import KMeans

    count = min(CLUSTERS, len(np.unique(codes, axis=0)))
    if count == 0:
        return []
    distances = KMeans(count, max_iter=ROUNDS, random_state=0).fit_transform(codes)
    sizes = np.bincount(distances.argmin(axis=1), minlength=count)
    return distances.argmin(axis=0)[np.argsort(-sizes, kind="stable")].tolist()


def _some(codes: Tensor, generator: torch.Generator) -> Tensor:
    """At most a thousand of the codes."""
    order = torch.randperm(len(codes), generator=generator, device=generator.device)
    return codes[order[:MOST].to(codes.device)]


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"row:{i}" for i in range(count))
