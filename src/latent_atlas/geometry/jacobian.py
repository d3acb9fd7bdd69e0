"""The decoder's Jacobian: how unequally do steps in different directions change the image?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Values, as_rows

__all__ = ["Spectrum", "estimated_spectrum", "exact_spectrum", "spectrum"]

Decode = Callable[[Tensor], Tensor]

LARGEST = 2**22  # numbers in the Jacobian of one code, up to which it is written out
LEAST = (
    1e-6  # of the largest singular value: what is smaller is a rounding error of single precision
)
STEPS = 24  # of Lanczos


@dataclass(frozen=True)
class Spectrum:
    """Singular values of J_G at n codes, and which share of all directions each stands for.

    Attributes:
        values: Ascending at each code, in image units per latent unit, shape (n, k).
        weights: Shape (n, k), rows sum to 1; 1 / d each where the values are exact.
        dimension: d.
        exact: Whether these are all singular values, or those that one random direction sees at
            each code.
    """

    values: Tensor
    weights: Tensor
    dimension: int
    exact: bool

    def condition(self) -> Values:
        """Largest over smallest singular value at each code, 1 to 10⁶, shape (n,)."""
        least = self.values.masked_fill(self.weights == 0, torch.inf).amin(dim=1)
        largest = self.values.amax(dim=1)
        return largest / least.maximum(LEAST * largest)

    def log_spread(self) -> Values:
        """Standard deviation of log σ over directions at each code, (n,): 0 for a scaled
        isometry.
        """
        logs = self.values.maximum(LEAST * self.values.amax(dim=1, keepdim=True)).log()
        mean = (self.weights * logs).sum(dim=1, keepdim=True)
        return (self.weights * (logs - mean).square()).sum(dim=1).sqrt()

    def distortion(self) -> float:
        """E[s²] / E[s]² - 1, s = |J_G v|², over codes and unit directions v, as `losses.isometry`.

        With m_k the mean of σ^k over all directions, E_v[s] = m_2 and E_v[s²] = (d m_2² + 2 m_4) /
        (d + 2). As one direction v sees them, m_2 is its s.
        """
        second, fourth = ((self.weights * self.values**k).sum(dim=1) for k in (2, 4))
        d = self.dimension
        squared = (d * second.square() + 2 * fourth) / (d + 2) if self.exact else second.square()
        return max(0.0, (squared.mean() / second.mean().square() - 1).item())

    def quantiles(self, shares: Tensor) -> Tensor:
        """The singular value that a share of directions reaches, at each code, (n, len(shares))."""
        reached = self.weights.cumsum(dim=1)
        places = torch.searchsorted(
            reached.contiguous(), shares.to(reached).expand(len(reached), -1).contiguous()
        )
        return self.values.gather(1, places.clamp(max=self.values.shape[1] - 1))


@checked
def spectrum(decode: Decode, latents: ArrayLike, *, generator: torch.Generator) -> Spectrum:
    """Singular values of J_G: exact for small decoders, by Lanczos quadrature for large ones.

    Arguments:
        decode: G, codes (n, d) to images (n, ...), differentiable.
        latents: Where, shape (n, d).
        generator: Of the estimate, on the codes' device.

    Raises:
        UserError: the decoder has no derivative at any of the codes.
    """
    # A tensor made in inference mode cannot be differentiated at, so the clone is taken outside of
    # it. Of the ways to compute attention only the plain one has derivatives of every kind.
    with torch.inference_mode(False), sdpa_kernel(SDPBackend.MATH):
        z = as_rows(latents).detach().clone()
        with torch.no_grad():
            size = decode(z[:1]).numel() * z.shape[1]
        found = (
            exact_spectrum(decode, z)
            if size <= LARGEST
            else estimated_spectrum(decode, z, generator=generator)
        )
    alive = found.values.amax(dim=1) > 0
    if not alive.any():
        raise UserError(
            "the decoder's images do not change with the codes, or have no derivative; give one "
            "that does not turn "
            "gradients off"
        )
    return Spectrum(found.values[alive], found.weights[alive], found.dimension, found.exact)


@torch.no_grad()
@checked
def exact_spectrum(decode: Decode, latents: ArrayLike) -> Spectrum:
    """All d singular values of J_G at each code, from its columns J_G e_i, in double precision."""
    latents = as_rows(latents).detach()
    d = latents.shape[1]
    units = torch.eye(d, device=latents.device, dtype=latents.dtype)
    squares = []
    for z in latents.split(max(1, LARGEST // max(1, d * decode(latents[:1]).numel()))):
        columns = (
            torch.stack([_push(decode, z, unit.expand_as(z)) for unit in units], dim=1)
            .cpu()
            .double()
        )
        squares.append(torch.linalg.eigvalsh(columns @ columns.mT).clamp_min(0))
    values = torch.cat(squares).sqrt()
    return Spectrum(values, torch.full_like(values, 1 / d), d, exact=True)


@torch.no_grad()
@checked
def estimated_spectrum(
    decode: Decode, latents: ArrayLike, steps: int = STEPS, *, generator: torch.Generator
) -> Spectrum:
    """Singular values of J_G by random directions: stochastic Lanczos quadrature of J_Gᵀ J_G.

    `steps` products with J_Gᵀ J_G make a tridiagonal T at each code. Its eigenvalues are the nodes,
    and the squared first components of its eigenvectors the weights, of a Gauss quadrature of vᵀ
    f(J_Gᵀ J_G) v, whose mean over directions v is tr f / d. The smallest values are found last, so
    that `condition` is a lower bound, and `log_spread` some per cent low.

    References:
        Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature, Ubaru, Chen and Saad 2017.

    Arguments:
        decode, latents: As for `spectrum`.
        steps: Of Lanczos; at most d are taken, and then all values are exact.
        generator: Draws the directions.
    """
    latents = as_rows(latents).detach()
    n, d = latents.shape
    steps = min(steps, d)
    pull = torch.func.vjp(decode, latents)[1]
    draws = torch.randn(n, d, generator=generator, device=latents.device, dtype=latents.dtype)
    basis = F.normalize(draws)[:, None]
    t = torch.zeros(n, steps, steps, dtype=torch.float64)
    for k in range(steps):
        w = pull(_push(decode, latents, basis[:, k], flat=False))[0]
        t[:, k, k] = (w * basis[:, k]).sum(dim=1).cpu().double()
        if k + 1 == steps:
            break
        size = w.norm(dim=1, keepdim=True)
        for _ in range(2):  # twice: the rounding error of one pass would bring found values back
            w = w - torch.einsum("nkd,nk->nd", basis, torch.einsum("nkd,nd->nk", basis, w))
        beta = w.norm(dim=1, keepdim=True)
        beta = torch.where(beta > LEAST * size, beta, 0.0)  # at 0 no further direction is reached
        t[:, k, k + 1] = t[:, k + 1, k] = beta[:, 0].cpu().double()
        basis = torch.cat([basis, torch.where(beta > 0, w / beta, 0.0)[:, None]], dim=1)
    squares, vectors = torch.linalg.eigh(t)
    weights = vectors[:, 0].square()
    return Spectrum(
        squares.clamp_min(0).sqrt(), torch.where(weights > 1e-12, weights, 0.0), d, exact=False
    )


def _push(decode: Decode, latents: Latents, directions: Latents, *, flat: bool = True) -> Tensor:
    """J_G v at each code: shape (n, pixels), or that of the images."""
    changes = torch.func.jvp(decode, (latents,), (directions,))[1]
    return changes.flatten(1) if flat else changes
