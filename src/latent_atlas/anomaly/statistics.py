"""The statistics of each image that anomaly scores are computed from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density, DensityRatioModel
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values, batched

__all__ = ["AnomalyStatistics", "Column", "gather"]

Column = Float[np.ndarray, " n"]
PIECE = 4_096  # codes per batch


@dataclass(frozen=True)
class AnomalyStatistics:
    """The statistics of n images.

    Attributes:
        means: mu(x), shape (n, d).
        log_prob: log q(mu(x)) in nats, shape (n,).
        realness: D_z(mu(x)) in [0, 1]; None if the density is not a density ratio.
        error: Mean squared error per pixel of G(mu(x)); None for codes without images.
        sharpness, texture: How much more x has of them than G(mu(x)), in nats, likewise; see
            `codes.codec.reconstruction_errors`.
        width: Geometric mean over the coordinates of sigma(x); None for a deterministic encoder.
        leading: log q in nats, up to a constant, of the leading coordinates of a wide code without
            an image; else None.
        residual: Length of the rest of such a code, in standard deviations of a coordinate.
    """

    means: Float[np.ndarray, "n d"]
    log_prob: Column
    realness: Column | None = None
    error: Column | None = None
    sharpness: Column | None = None
    texture: Column | None = None
    width: Column | None = None
    leading: Column | None = None
    residual: Column | None = None

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.means)

    def __getitem__(self, rows: np.ndarray) -> "AnomalyStatistics":
        """The statistics of some of the images, by their row numbers."""
        columns: dict[str, Any] = {
            name: value for name, value in vars(self).items() if value is not None
        }
        return AnomalyStatistics(**{name: value[rows] for name, value in columns.items()})


@torch.no_grad()
def gather(
    density: Density, codes: Codes, errors: Float[Tensor, "n 3"] | None = None
) -> AnomalyStatistics:
    """The statistics of images, from their codes.

    Arguments:
        density: The map, or any other density of the codes.
        codes: q(z|x) of every image.
        errors: Of the reconstructions, if there are images, by `codes.codec.reconstruction_errors`.

    Raises:
        UserError: there are no codes, a number is not finite, or the map has no log-density.
    """
    if len(codes) == 0:
        raise UserError("no images were given; give at least one image")
    log_prob, real = _densities(density, codes.means)
    spread = None if codes.log_variances is None else (codes.log_variances.mean(dim=1) / 2).exp()
    rest = None if errors is not None else density.of_rest(codes.means)
    found = AnomalyStatistics(
        means=_array(codes.means),
        log_prob=_array(log_prob),
        realness=None if real is None else _array(real),
        error=None if errors is None else _array(errors[:, 0]),
        sharpness=None if errors is None else _array(errors[:, 1]),
        texture=None if errors is None else _array(errors[:, 2]),
        width=None if spread is None else _array(spread),
        leading=None if rest is None else _array(log_prob - rest[0]),
        residual=None if rest is None else _array(rest[1]),
    )
    bad = np.isnan(found.log_prob) | ~np.isfinite(found.means).all(axis=1)
    if bad.any():
        raise UserError(
            f"{bad.sum()} of {len(bad)} images have codes that are not finite, the first is number "
            f"{bad.argmax()}; look for NaN or infinite pixels there"
        )
    return found


def _densities(density: Density, latents: Latents) -> tuple[Values, Values | None]:
    """log q (n,), and realness (n,) of a density ratio, by one evaluation of D_z."""
    if not isinstance(density, DensityRatioModel):
        return batched(density.log_prob, latents, PIECE), None
    pairs = [density.logit_and_log_prob(some) for some in latents.split(PIECE)]
    logit, log_prob = (torch.cat(part) for part in zip(*pairs, strict=True))
    return log_prob, torch.sigmoid(density.calibrated(logit))


def _array(values: Tensor) -> np.ndarray:
    """In double precision, as NumPy has it."""
    return values.detach().cpu().double().numpy()
