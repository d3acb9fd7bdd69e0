"""The leading principal coordinates of wide codes, and what describes them and the rest."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.codes.posterior import FLAT, Codes
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.nn.wide_discriminator import ScaleMixture
from latent_atlas.progress import doing
from latent_atlas.shapes import Latents, Values

__all__ = ["Axes", "Leading", "describe_leading", "principal_axes"]

LADDER = (8, 32, 128)  # coordinates that are tried
PER_COORDINATE = 20  # codes at least for each: two Gaussians have a covariance each
TRIED = 10_000  # codes that choose


class Axes(NamedTuple):
    """Orthonormal columns in whitened coordinates w.

    Attributes:
        leading: A (d, k): Aᵀw are the principal coordinates of largest variance, in descending
            order, each with variance 1 under the boundary.
        null: B (d, m): Bᵀw is 0 for all codes, since they span d - m dimensions.
    """

    leading: Tensor
    null: Tensor


def principal_axes(real: Latents, boundary: GaussianBoundary) -> Axes:
    """The leading axes of codes (n, d), and those they have no extent in, where n > d shows it.

    `boundary` is the Gaussian that whitens them.
    """
    n, d = real.shape
    variances, basis = torch.linalg.eigh(Codes(real).moments()[1])
    spanned = variances > FLAT * variances.max() if n > d else torch.ones(d, dtype=torch.bool)
    r = int(spanned.sum())
    # Codes m + V c have w = L⁻¹ V c.
    factor = boundary.factor.double().to(basis)
    white = torch.linalg.solve_triangular(factor, basis[:, spanned], upper=False)
    inside, null = torch.linalg.qr(white, mode="complete").Q.split([r, d - r], dim=1)
    # Of unit vectors in w, the ones that L makes longest.
    stretched = factor @ inside
    turns = torch.linalg.eigh(stretched.T @ stretched).eigenvectors.flip(1)
    leading = inside @ turns[:, : LADDER[-1]]
    return Axes(leading.to(real).contiguous(), null.to(real).contiguous())


class Leading(NamedTuple):
    """How whitened codes are divided: K leading coordinates u, and the rest v.

    Attributes:
        rest: The density of v.
        shared_scale: Whether the scale s that v tells is that of u, too.
        axes: Those of u, shape (d, K), and the null ones.
        shortening: |v|² of the codes that the axes were fitted to, as a share of that of others.
    """

    rest: ScaleMixture
    shared_scale: bool
    axes: Axes
    shortening: float

    def coordinates(self, white: Latents, *, fitted: bool = False) -> Float[Tensor, "n k"]:
        """u, or u / √s, of whitened codes (n, d); `fitted` are those of the axes."""
        u, squares = _parts(white, self.axes)
        stretched = squares / self.shortening if fitted else squares
        return u / _widths(self.rest, stretched) if self.shared_scale else u


def describe_leading(
    real: Latents, held_out: Float[Tensor, "m d"], axes: Axes, *, generator: torch.Generator
) -> tuple[Leading, GaussianMixture]:
    """A mixture of the K leading coordinates whose joint density differs most from a Gaussian.

    Gaussian mixtures are fitted to the first 8, 32 and 128 coordinates. The nats by which held-out
    codes are likelier under one than under N(0, I) are what would be lost if these coordinates were
    left to the rest; K is taken where they are most, as far as there are 20 codes a coordinate. A
    gain below its standard error is none. The rest shares its scale with the leading coordinates if
    held-out ones, divided by it, are likelier under N(0, I).

    Arguments:
        real: Whitened codes, shape (n, d), which the axes were fitted to.
        held_out: Others, which judge, shape (m, d).
        axes: The principal axes.
        generator: Of the mixtures.
    """
    real = real[torch.randperm(len(real), generator=generator, device=real.device)[:TRIED]]
    (d, available), unspanned = axes.leading.shape, axes.null.shape[1]
    fewest = min(LADDER[0], available)  # codes may span fewer
    best, most = None, torch.full_like(held_out[:, 0], -torch.inf)
    for k in (fewest, *LADDER[1:]):
        if k > fewest and (k > available or len(real) < PER_COORDINATE * k):
            break
        doing(f"fitting a mixture in {k} coordinates")
        those = Axes(axes.leading[:, :k].contiguous(), axes.null)
        (_, squares), (judges, judged) = _parts(real, those), _parts(held_out, those)
        rest, normal = ScaleMixture(d - k - unspanned).to(real.device), StandardNormal(k)
        rest.fit(judged)
        widths = _widths(rest, judged)
        volume, plain = k * widths.log().squeeze(1), normal.log_prob(judges)
        shared = rest.dimension > 0 and _confirmed(
            normal.log_prob(judges / widths) - volume - plain
        )
        shortening = (squares.median() / judged.median()).item()
        found = Leading(rest, shared, those, shortening)
        u, others = found.coordinates(real, fitted=True), found.coordinates(held_out)
        mixture = fit_gaussian_mixture(u, held_out=others, generator=generator)
        gain = mixture.log_prob(others) - shared * volume - plain
        if best is not None and not _confirmed(gain - most):
            break
        best, most = (found, mixture), gain
    assert best is not None
    return best


def _confirmed(gains: Values) -> bool:
    """Whether held-out codes gain more than the standard error."""
    return bool(gains.mean() > gains.std() / len(gains) ** 0.5)


def _parts(white: Latents, axes: Axes) -> tuple[Float[Tensor, "n k"], Values]:
    """u, and |v|² without the null coordinates, of whitened codes."""
    u, outside = white @ axes.leading, white @ axes.null
    squares = white.square().sum(dim=1) - u.square().sum(dim=1) - outside.square().sum(dim=1)
    return u, squares.clamp_min(0)


def _widths(rest: ScaleMixture, squares: Values) -> Float[Tensor, "n 1"]:
    """√s by |v|²."""
    one = squares.new_ones(1, 1)
    return rest.scale(squares[:, None], one, 0 * one).sqrt()
