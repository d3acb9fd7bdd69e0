"""A density as a distribution of torch.distributions, for code that takes these."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from latent_atlas.density.affine_normal import AffineNormal
from latent_atlas.density.base import Density, SamplableDensity, StandardNormal
from latent_atlas.errors import checked
from latent_atlas.sampling.base import Sampler
from latent_atlas.sampling.registry import draw
from latent_atlas.shapes import ArrayLike, as_floats, as_rows

__all__ = ["TorchDistribution"]


class TorchDistribution(Distribution):
    """A density of codes (d,), as torch.distributions has it: `log_prob`, `sample`, `rsample`.

    Samples are drawn from the density itself where it can be sampled, and else by a sampler.

    Attributes:
        has_rsample: Whether `rsample` exists: for affine images of N(0, I), such as the boundaries
            "prior" and "gaussian". A sampler's draws have no gradient in the density.

    Examples:
        >>> from latent_atlas.density.toys import two_moons
        >>> q = TorchDistribution(two_moons(2), generator=torch.Generator().manual_seed(0))
        >>> q.log_prob(q.sample((3, 5))).shape
        torch.Size([3, 5])
    """

    # As torch's own distributions set them.
    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    support = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    @checked
    def __init__(
        self,
        density: Density,
        *,
        sampler: str | Sampler = "auto",
        generator: torch.Generator,
    ) -> None:
        """Hold the density.

        Arguments:
            density: q, such as a map.
            sampler: As for `sampling.draw`, where the density cannot be sampled itself.
            generator: Source of all randomness, on the device of the density.
        """
        super().__init__(event_shape=torch.Size([density.dimension]), validate_args=False)
        self.density = density
        self.has_rsample = isinstance(density, AffineNormal | StandardNormal)
        self._sampler = sampler
        self._generator = generator

    def log_prob(self, value: ArrayLike) -> Tensor:
        """log q in nats of codes (..., d), shape (...).

        Raises:
            UserError: these are no codes of the density.
        """
        codes = as_floats(value)
        rows = as_rows(
            codes.flatten(0, -2) if codes.ndim > 1 else codes[None], self.density.dimension
        )
        return self.density.log_prob(rows).reshape(codes.shape[:-1])

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw codes, shape (*sample_shape, d); errors as for `sampling.draw`."""
        return self._drawn(sample_shape)

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw codes that are differentiable in the density's mean and scales.

        Raises:
            NotImplementedError: `has_rsample` is False.
        """
        if not self.has_rsample:
            raise NotImplementedError(
                f"samples of {type(self.density).__name__} have no gradient in the density; use "
                "sample()"
            )
        return self._drawn(sample_shape)

    def _drawn(self, shape: tuple[int, ...]) -> Tensor:
        n, q = torch.Size(shape).numel(), self.density
        if isinstance(q, SamplableDensity):
            points = q.sample(n, generator=self._generator)
        else:
            points = draw(q, n, self._sampler, generator=self._generator).points
        return points.reshape(*shape, q.dimension)
