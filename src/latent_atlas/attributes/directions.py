"""Directions found without labels, and how much attributes depend on each other."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.attributes.base import Attribute, Slopes
from latent_atlas.display import Tabular
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, as_rows

__all__ = ["Entanglement", "decoder_directions", "entanglement", "principal_components"]

MOST = 200_000  # codes whose principal components are computed
SMALL = 64  # d up to which all of the decoder's Jacobian is measured

Directions = tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]
LocalDirections = tuple[Slopes, Float[Tensor, "n k"]]


@checked
def principal_components(latents: ArrayLike, count: int = 5) -> Directions:
    """The directions in which codes vary most; above 200,000 codes, as many evenly spaced ones do.

    References:
        GANSpace: Discovering Interpretable GAN Controls, Härkönen et al. 2020.

    Arguments:
        latents: Codes, shape (n, d), n of 2 or more.
        count: k, 1 to d.

    Returns:
        Unit vectors (k, d), by falling variance, each with its largest coordinate positive; and the
        codes' standard deviations along them (k,).

    Raises:
        UserError: more directions than dimensions were asked for.
    """
    latents = as_rows(latents)
    _check_count(count, latents.shape[1])
    latents = latents[:: max(1, -(-len(latents) // MOST))]
    centred = latents - latents.mean(dim=0)
    _, lengths, vectors = torch.linalg.svd(centred, full_matrices=False)
    return _signed(vectors[:count]), lengths[:count] / (len(latents) - 1) ** 0.5


@checked
def decoder_directions(
    decode: Callable[[Tensor], Tensor],
    latents: ArrayLike,
    count: int = 5,
    *,
    iterations: int = 20,
    generator: torch.Generator,
) -> LocalDirections:
    r"""The directions in which the decoded image changes most: right singular vectors of J = dG/dz.

    Up to d = 64 the Jacobian is measured column by column. Beyond, a block V of 2 k orthonormal
    columns is turned by V <- orthonormalise(Jᵀ J V), and J V says the rest (Rayleigh-Ritz).

    References:
        The Geometry of Deep Generative Image Models and Its Applications, Wang and Ponce 2021.
        Finding Structure with Randomness, Halko, Martinsson and Tropp 2011, algorithm 4.4.

    Arguments:
        decode: G, (n, d) to (n, ...), each image depending on its own code; beyond d = 64 outside
            of `no_grad`.
        latents: Where, shape (n, d).
        count: k, 1 to d.
        iterations: Of the block, beyond d = 64.
        generator: Draws the block's first columns.

    Returns:
        Unit vectors (n, k, d), each with its largest coordinate positive; and the singular values
        (n, k), in units of the image per unit of the code.

    Raises:
        UserError: more directions than dimensions were asked for.
    """
    latents = as_rows(latents)
    n, d = latents.shape
    _check_count(count, d)

    def images(z: Tensor) -> Tensor:
        return decode(z).flatten(1)

    if d <= SMALL:
        block = torch.eye(d).to(latents).expand(n, d, d)
    else:
        draws = torch.randn(n, d, min(2 * count, d), generator=generator, device=generator.device)
        block = torch.linalg.qr(draws.to(latents)).Q
        for _ in range(iterations):
            block = torch.linalg.qr(_pulled_back(images, latents, block)).Q
    _, lengths, turns = torch.linalg.svd(_pushed(images, latents, block), full_matrices=False)
    vectors = turns @ block.mT
    return _signed(vectors[:, :count]), lengths[:, :count]


@dataclass(frozen=True, eq=False)
class Entanglement(Tabular):
    """How much moving along one attribute changes the others, averaged over codes.

    Attributes:
        names: Of the k attributes; of one with several values, with their numbers.
        cosines: E |cos(grad a_i, grad a_j)|, shape (k, k), symmetric, in [0, 1]: the identity for
            attributes whose gradients are orthogonal.
        changes: E <grad a_i, grad a_j> s_i / |grad a_i|² s_j, shape (k, k): by how many of its own
            standard deviations s_j attribute j changes when i is increased by s_i along its
            gradient. Not symmetric; 1 on the diagonal.
    """

    names: tuple[str, ...]
    cosines: Float[Tensor, "k k"]
    changes: Float[Tensor, "k k"]

    def columns(self) -> dict[str, Any]:
        """Of each pair of attributes: their names, the cosine, and the change of the other one."""
        one, other = np.repeat(self.names, len(self.names)), np.tile(self.names, len(self.names))
        numbers = {"cosine": self.cosines, "change": self.changes}
        flat = {name: pairs.flatten().cpu().numpy() for name, pairs in numbers.items()}
        return {"attribute": one.tolist(), "other": other.tolist(), **flat}


@checked
def entanglement(attributes: Sequence[Attribute], latents: ArrayLike) -> Entanglement:
    """Measure how entangled attributes are where `latents` are.

    References:
        Interpreting the Latent Space of GANs for Semantic Face Editing, Shen et al. 2020, section
        4.3: cosines between the normals of linear attributes.

    Arguments:
        attributes: One or more.
        latents: Real codes, shape (n, d), n of 2 or more.
    """
    latents, names, spreads, slopes = as_rows(latents), [], [], []
    for attribute in attributes:
        with torch.no_grad():
            spread = attribute.values(latents).std(dim=0)
        names += (
            [attribute.name]
            if len(spread) == 1
            else [f"{attribute.name} {i}" for i in range(len(spread))]
        )
        spreads.append(spread)
        slopes.append(attribute.slopes(latents))
    gradients, deviations = torch.cat(slopes, dim=1), torch.cat(spreads)
    products = gradients @ gradients.mT
    squares = products.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(products.dtype).tiny)
    cosines = products / (squares[:, :, None] * squares[:, None]).sqrt()
    changes = products / squares[:, :, None] * deviations[:, None] / deviations
    return Entanglement(tuple(names), cosines.abs().mean(dim=0), changes.mean(dim=0))


def _pushed(images: Callable[[Tensor], Tensor], latents: Latents, block: Tensor) -> Tensor:
    """J V, shape (n, p, k), for a block V (n, d, k)."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # torch's own, of torch.jit, on its first jvp
        columns = [
            torch.func.jvp(images, (latents,), (column.contiguous(),))[1]
            for column in block.unbind(dim=2)
        ]
    return torch.stack(columns, dim=2)


def _pulled_back(images: Callable[[Tensor], Tensor], latents: Latents, block: Tensor) -> Tensor:
    """Jᵀ J V, shape (n, d, k), for a block V (n, d, k)."""
    pull = torch.func.vjp(images, latents)[1]
    return torch.stack(
        [pull(column)[0] for column in _pushed(images, latents, block).unbind(dim=2)], dim=2
    )


def _signed(vectors: Tensor) -> Tensor:
    """Each vector (..., d) or its opposite, so that its largest coordinate is positive."""
    largest = vectors.gather(-1, vectors.abs().argmax(dim=-1, keepdim=True))
    return vectors * largest.sign()


def _check_count(count: int, dimension: int) -> None:
    if not 1 <= count <= dimension:
        raise UserError(
            f"codes of {dimension} coordinates have 1 to {dimension} directions, not {count}"
        )
