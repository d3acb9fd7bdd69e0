"""Locally Euclidean: is the distance between two codes that between their images, near and far?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latent_atlas.codes.neighbours import nearest_codes
from latent_atlas.errors import UserError, checked
from latent_atlas.geometry.smoothness import See, distances
from latent_atlas.shapes import ArrayLike, Latents, as_floats, as_rows

__all__ = ["ByRadius", "correlations", "distances_by_radius", "neighbours", "random_pairs"]


@dataclass(frozen=True)
class ByRadius:
    """Pairs of places, k octaves of latent distance with as many pairs each.

    Attributes:
        radii: Upper end R of each octave (R / 2, R], ascending.
        latent: Distances in Z, shape (k, n).
        seen: Distances of features, shape (k, n).
    """

    radii: tuple[float, ...]
    latent: Tensor
    seen: Tensor

    def stretch(self) -> Tensor:
        """Feature distance per latent distance, shape (k, n): constant where Z is Euclidean."""
        return self.seen / self.latent

    def correlations(self) -> list[tuple[float, float]]:
        """Pearson's and Spearman's correlation in each octave."""
        return [correlations(one, other) for one, other in zip(self.latent, self.seen, strict=True)]


@torch.no_grad()
@checked
def distances_by_radius(
    see: See, codes: ArrayLike, pairs: int, *, octaves: int = 6, generator: torch.Generator
) -> ByRadius:
    """Latent and feature distances of places z and z + r u from far to near.

    z is a real code and u the direction to another one, so that no place is far from the codes; r
    is uniform in an octave (R / 2, R], where R is the median distance between two codes, half of
    it, a quarter and so on. Within each octave distances vary alike, so that the correlations of
    octaves can be compared.

    Arguments:
        see: Codes to features.
        codes: Real codes, shape (n, d).
        pairs: How many in each octave.
        octaves: How many radii.
        generator: Source of all randomness, on the codes' device.

    Raises:
        UserError: there are no two different codes.
    """
    codes = as_rows(codes).detach()
    start, end = random_pairs(codes, 4 * pairs, generator=generator)
    apart = (end - start).norm(dim=1)
    widest = apart.median()
    radii, latent, seen = [], [], []
    for octave in reversed(range(octaves)):
        outer = widest / 2**octave
        far_enough = (apart >= outer).nonzero()[:, 0]
        rows = far_enough[
            torch.randint(len(far_enough), (pairs,), generator=generator, device=codes.device)
        ]
        r = outer * (1 - 0.5 * torch.rand(pairs, generator=generator, device=codes.device))
        place = start[rows].lerp(end[rows], (r / apart[rows])[:, None].to(start))
        radii.append(outer.item())
        latent.append(r)
        seen.append(distances(see, start[rows], place))
    return ByRadius(tuple(radii), torch.stack(latent), torch.stack(seen))


def correlations(one: ArrayLike, other: ArrayLike) -> tuple[float, float]:
    """Pearson's correlation of two quantities, and Spearman's; 0 where one is constant.

    Examples:
        >>> correlations(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 9.0]))
        (0.9897..., 1.0)
    """
    # Imported here because loading it takes a second.
    from scipy.stats import rankdata

    a, b = (as_floats(values).detach().double().cpu().numpy() for values in (one, other))
    if a.ndim != 1 or a.shape != b.shape:
        raise UserError(
            f"two quantities that are correlated must have shape (n,); these have {a.shape} and "
            f"{b.shape}"
        )
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0, 0.0
    return float(np.corrcoef(a, b)[0, 1]), float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def random_pairs(codes: Latents, n: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """About `n` pairs of different codes, shape (<= n, d) each: pairs of equal ones are left out.

    Raises:
        UserError: there are no two different codes.
    """
    if not codes.isfinite().all():
        raise UserError("distances need finite codes; leave out those with NaN or infinity")
    if len(codes) < 2 or not (codes != codes[0]).any():
        raise UserError(
            f"distances need two or more different codes; there are {len(codes)}, all the same"
        )
    first = torch.randint(len(codes), (n,), generator=generator, device=codes.device)
    other = torch.randint(1, len(codes), (n,), generator=generator, device=codes.device)
    start, end = codes[first], codes[(first + other) % len(codes)]
    apart = (start != end).any(dim=1)
    if not apart.any():  # nearly all are the same: take the pair that is not
        odd = (codes != codes[0]).any(dim=1).nonzero()[0]
        return codes[:1], codes[odd]
    return start[apart], end[apart]


def neighbours(codes: Latents, rows: Tensor) -> Tensor:
    """Of some codes the nearest ones that differ from them, shape (len(rows), d)."""
    different = codes.unique(dim=0)
    return different[nearest_codes(codes[rows], different, 2).rows[:, -1]]
