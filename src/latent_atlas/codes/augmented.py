r"""Codes of changed copies of few images, which keep D_z from learning single codes by heart.

A copy is mirrored or not, moved, scaled, and made a little brighter or darker. Whether such a copy
still belongs to the data depends on the data: a mirrored face is a face, a mirrored digit is none.
So held-out codes z decide, by a kernel density of the codes c_i alone, and of these with as many
codes of copies:

    log q(z) = log 1/m Σ_i N(z; c_i, s² I),    with the best of some widths s for each.

Of the changes with which held-out codes are not surely less likely than with the best one, or than
without copies, the greatest is taken: D_z needs variety more than a kernel density does, which is
smooth by itself.

References:
    A survey on Image Data Augmentation for Deep Learning, Shorten and Khoshgoftaar 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.density.kernel import KernelDensity
from latent_atlas.shapes import Images, Latents, Pixels, Values, to_float

__all__ = ["CHANGES", "MOST", "Change", "choose_change", "with_copies"]

MOST = 5_000  # images; the codes of more are not learned by heart
FEWEST = 10  # held-out codes that can choose
COPIES = 8  # of each image, each changed in another way
SURE = 2.0  # standard errors
ASKED, TRIED = 2_000, 2  # images, and held-out codes, by which the change is chosen; copies of each
BATCH = 512  # images encoded at a time
WIDTHS = tuple(0.1 * i for i in range(1, 11))  # of a kernel, in standard deviations of the codes

Encode = Callable[[Images], Codes]
"""q(z|x) of images in [0, 1] on the CPU; where the codes are is up to it."""


@dataclass(frozen=True)
class Change:
    """What may happen to a copy of an image.

    Attributes:
        mirror: Whether every second copy is mirrored, left to right.
        moved: How far a copy is moved at most along each side, as a share of the side, 0 or more;
            as large is the greatest change of its size and of its brightness.
    """

    mirror: bool
    moved: float

    def __str__(self) -> str:
        """In words."""
        parts = ["mirrored or not"] if self.mirror else []
        if self.moved:
            parts.append(f"moved, scaled and brightened by up to {100 * self.moved:.0f} %")
        return " and ".join(parts)

    def of(self, images: Images, *, generator: torch.Generator) -> Images:
        """A copy of each image, in [0, 1]; a fourth channel, opacity, keeps its brightness.

        Arguments:
            images: In [0, 1], shape (n, c, h, w), on the CPU.
            generator: Draws what happens to each, on the CPU.
        """
        n, colours = len(images), min(3, images.shape[1])
        zoom, bright, x, y = self.moved * (2 * torch.rand(4, n, generator=generator) - 1)
        flips = self.mirror * torch.randint(2, (n,), generator=generator)
        places = torch.zeros(n, 2, 3)
        places[:, 0, 0], places[:, 1, 1] = (1 - 2 * flips) * (1 + zoom), 1 + zoom
        places[:, 0, 2], places[:, 1, 2] = 2 * x, 2 * y  # these coordinates go from -1 to 1
        grid = F.affine_grid(places, list(images.shape), align_corners=False)
        copies = F.grid_sample(images, grid, "bicubic", "border", align_corners=False)
        copies[:, :colours] *= (1 + bright)[:, None, None, None]
        return copies.clamp(0, 1)


# The later ones change more.
CHANGES = (
    Change(mirror=True, moved=0),
    Change(mirror=False, moved=1 / 32),
    Change(mirror=True, moved=1 / 32),
    Change(mirror=False, moved=1 / 16),
    Change(mirror=True, moved=1 / 16),
)


def with_copies(
    codes: Codes,
    images: Pixels,
    held_out: Codes,
    encode: Encode,
    *,
    change: Change | None = None,
    generator: torch.Generator,
) -> tuple[Codes, Change | None]:
    """The codes and as many of changed copies, and the change; they alone if every one harms.

    They are so too where there are more than 5,000 images or fewer than 10 held-out codes, and
    where an image is one point.

    Arguments:
        codes: Of the images, in their order.
        images: In 0..255 or in [0, 1], shape (n, c, h, w).
        held_out: Codes of other images, which choose the change.
        encode: Of the model.
        change: Of the copies; None for the one that `choose_change` finds.
        generator: Source of all randomness, on the CPU.
    """
    points = codes.log_variances is None or held_out.log_variances is None
    if points or len(codes) > MOST or len(held_out) < FEWEST:
        return codes, None
    change = change or choose_change(codes, images, held_out, encode, generator=generator)
    if change is None:
        return codes, None
    copies = [_encoded(images, encode, change, generator) for _ in range(COPIES)]
    return _joined([codes] * COPIES + copies), change


def choose_change(
    codes: Codes, images: Pixels, held_out: Codes, encode: Encode, *, generator: torch.Generator
) -> Change | None:
    """The greatest change that does not harm held-out codes; None if each does."""
    rows = torch.randperm(len(codes), generator=generator)[:ASKED].sort().values
    asked = torch.randperm(len(held_out), generator=generator)[:ASKED]
    some, pixels = codes[rows.to(codes.means.device)], images[rows]
    deviations = some.moments()[1].diagonal().sqrt().float()
    other = held_out[asked.to(held_out.means.device)]
    noise = torch.randn(other.means.shape, generator=generator).to(other.means)
    assert other.log_variances is not None
    z = (other.means + noise * (0.5 * other.log_variances).exp()) / deviations

    def likelihoods(parts: list[Codes]) -> Values:
        return _likelihoods(torch.cat([part.means for part in parts]) / deviations, z)

    found: dict[Change | None, Values] = {None: likelihoods([some] * TRIED)}
    for change in CHANGES:
        copies = [_encoded(pixels, encode, change, generator) for _ in range(TRIED)]
        found[change] = likelihoods([some] * TRIED + copies)
    best = max(found.values(), key=lambda values: values.mean().item())
    return [change for change, values in found.items() if not _surely_less(values, best)][-1]


def _surely_less(values: Values, best: Values) -> bool:
    """Whether the mean of `values` is below that of `best` by more than can be chance."""
    lost = best - values
    return lost.mean().item() > SURE * lost.std().item() / len(lost) ** 0.5


def _likelihoods(centres: Float[Tensor, "m d"], codes: Latents) -> Values:
    """Log-density of codes (n, d) by kernels at centres (m, d), of the width that is best, (n,)."""
    found = (KernelDensity(centres, width).log_prob(codes) for width in WIDTHS)
    return max(found, key=lambda values: values.mean().item())


def _encoded(images: Pixels, encode: Encode, change: Change, generator: torch.Generator) -> Codes:
    """Codes of one changed copy of each image."""
    starts = range(0, len(images), BATCH)
    parts = (to_float(images[start : start + BATCH]) for start in starts)
    return _joined([encode(change.of(part, generator=generator)) for part in parts])


def _joined(parts: list[Codes]) -> Codes:
    """All codes of some parts, which have posterior widths."""
    spreads = [part.log_variances for part in parts if part.log_variances is not None]
    return Codes(torch.cat([part.means for part in parts]), torch.cat(spreads))
