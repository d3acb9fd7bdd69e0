"""A boundary by its name: fitted to codes, or rebuilt from its tensors."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.mixture import PARTS, MixtureBoundary
from latent_atlas.config.density_ratio import BOUNDARIES, MapConfig
from latent_atlas.errors import UserError, checked, require_known
from latent_atlas.shapes import ArrayLike, Latents, as_floats

__all__ = ["fit_boundary", "load_boundary"]

FEWEST = 10


@checked
def fit_boundary(
    settings: MapConfig | str, real: ArrayLike, *, generator: torch.Generator
) -> Boundary:
    """Fit a boundary to real codes.

    Arguments:
        settings: A map's settings, or the name of a boundary, one of `config.BOUNDARIES`, whose
            settings are then the defaults.
        real: Samples of real codes, or their means, shape (n, d), n of 10 or more.
        generator: Source of all randomness; its device is where the boundary lives.

    Raises:
        UserError: there is no such boundary, or the codes are not finite, not of shape (n, d), too
            few or all equal, or so distributed that the boundary cannot be sampled.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> codes = 5 + torch.randn(500, 2, generator=generator)
        >>> boundary = fit_boundary("gaussian", codes, generator=generator)
        >>> boundary.sample(3, generator=generator).shape
        torch.Size([3, 2])
    """
    config = MapConfig(boundary=settings) if isinstance(settings, str) else settings
    return _kind(config.boundary).fit(
        _checked(real).to(generator.device), config, generator=generator
    )


@checked
def load_boundary(name: str, dimension: int, tensors: dict[str, Tensor]) -> Boundary:
    """Rebuild a fitted boundary from what `Boundary.tensors` gave, on their device.

    Arguments:
        name: One of `config.BOUNDARIES`.
        dimension: d, the number of coordinates of a code.
        tensors: Its tensors by name, in any order.

    Raises:
        UserError: there is no such boundary, or the tensors are not those of one in d dimensions.
    """
    try:
        boundary = _kind(name).load(dimension, tensors)
    except (KeyError, TypeError, RuntimeError):
        given = ", ".join(tensors) or "nothing"
        raise UserError(
            f"boundary '{name}' cannot be rebuilt from {given}; fit the map again"
        ) from None
    if boundary.dimension != dimension:
        raise UserError(
            f"boundary '{name}' has {boundary.dimension} dimensions, not {dimension}; "
            "fit the map again"
        )
    return boundary


def _kind(name: str) -> type[Boundary]:
    """The class of the boundary called `name`."""
    kinds = PARTS | {MixtureBoundary.name: MixtureBoundary}
    require_known("boundary", name, BOUNDARIES)
    return kinds[name]


def _checked(given: ArrayLike) -> Latents:
    """The codes as finite floats (n, d), or a UserError that says why they are not."""
    real = as_floats(given)
    if real.ndim != 2 or real.shape[1] == 0:
        raise UserError(f"codes must have shape (n, d); these have {tuple(real.shape)}")
    if len(real) < FEWEST:
        raise UserError(f"a boundary needs at least {FEWEST} codes; there are {len(real)}")
    real = real.detach().float()
    bad = ~real.isfinite().all(dim=1)
    if bad.any():
        raise UserError(
            f"{int(bad.sum())} of {len(real)} codes are not finite, the first at row "
            f"{int(bad.nonzero()[0])}; drop them"
        )
    if (real == real[0]).all():
        raise UserError(
            f"all {len(real)} codes are equal; look at the encoder, which has collapsed to one "
            "point"
        )
    return real
