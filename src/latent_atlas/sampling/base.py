"""What a sampler is, and what it returns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from latent_atlas.density.base import Density
from latent_atlas.display import Tabular, coordinates, html_grid, html_table, html_text, png_grid
from latent_atlas.errors import UserError
from latent_atlas.sampling.target import Target
from latent_atlas.shapes import ArrayLike, Images, Latents, as_floats

__all__ = ["Sampler", "SamplerInfo", "Samples", "check_least", "checked_codes"]


@dataclass(frozen=True, kw_only=True)
class SamplerInfo:
    """Diagnostics of a sampler; None where the sampler does not have one.

    Attributes:
        sampler: Name of the sampler, which also says what `auto` chose.
        reason: Why `auto` chose it, where it measured.
        acceptance: Mean acceptance probability of moves or proposals, in [0, 1].
        effective_sample_size: Number of independent samples that the n samples amount to. For
            importance weights it is that of all proposals and may exceed n.
        effective_share: The same divided by the number of weighted or kept points, in (0, 1].
        r_hat: Largest rank-normalised split R-hat of any coordinate and of log q; 1 is converged.
        converged: Whether `r_hat` is at most 1.05.
        chains: Number of Markov chains.
        step_size: a of the Langevin or Hamiltonian steps, in squared standard deviations of the
            chains' starting points.
        flow_steps: Steps of the probability flow from noise to codes.
        proposals: Number of proposals that rejection sampling drew.
        log_bound: log M of rejection sampling in nats, the bound on the log-ratio.
        temperatures: Number of changes of the temperature in the last round of sequential Monte
            Carlo.
        log_constant: log ∫ of the target in nats, estimated by sequential Monte Carlo.
        log_constant_error: Its standard error in nats.
    """

    sampler: str
    reason: str | None = None
    acceptance: float | None = None
    effective_sample_size: float | None = None
    effective_share: float | None = None
    r_hat: float | None = None
    converged: bool | None = None
    chains: int | None = None
    step_size: float | None = None
    flow_steps: int | None = None
    proposals: int | None = None
    log_bound: float | None = None
    temperatures: int | None = None
    log_constant: float | None = None
    log_constant_error: float | None = None

    def known(self) -> dict[str, str | int | float]:
        """The diagnostics that this sampler has, by name.

        Examples:
            >>> SamplerInfo(sampler="diffusion", flow_steps=32).known()
            {'sampler': 'diffusion', 'flow_steps': 32}
        """
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Samples(Tabular):
    """Codes drawn from a density.

    Attributes:
        points: Shape (n, d).
        info: Diagnostics of the sampler.
        warnings: What limits the samples, a sentence each: collapsed weights, chains that did not
            converge, a bound that did not hold.
        images: What is decoded of them, (n, c, h, w) in [0, 1]; None where nothing was.
    """

    points: Latents
    info: SamplerInfo
    warnings: tuple[str, ...] = ()
    images: Images | None = None

    def columns(self) -> dict[str, Any]:
        """The coordinates z0, z1, ... of each code."""
        return coordinates(self.points)

    def _repr_html_(self) -> str:
        """The images, or else the first codes; the diagnostics, and what limits the samples."""
        about = f"{len(self.points)} samples"
        shown = super()._repr_html_() if self.images is None else html_grid(self.images, about)
        return shown + html_table([self.info.known()]) + html_text(*self.warnings)

    def _repr_png_(self) -> bytes | None:
        """The images, where a front end shows no HTML."""
        return None if self.images is None else png_grid(self.images)


@dataclass(frozen=True)
class Sampler(ABC):
    """A way to draw from a density; its fields are its settings."""

    name: ClassVar[str]
    uses_density: ClassVar[bool] = True  # False: a baseline, which draws from another density

    @abstractmethod
    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes from the target.

        Arguments:
            target: An unnormalised density with a proposal distribution.
            n: Number of samples, 1 or more.
            generator: Source of all randomness, on the device of the density.

        Raises:
            UserError: the target cannot be drawn from in this way.
        """

    def wants_codes(self, density: Density) -> bool:
        """Whether real codes in the field `codes`, which is None, would serve this density."""
        return False


def check_least(least: int, **settings: int | float | None) -> None:
    """Check that settings are at least `least`; None stands for a default and passes.

    Raises:
        UserError: one is smaller.
    """
    for name, value in settings.items():
        if value is not None and not value >= least:
            raise UserError(f"{name} is {value}; choose {least} or more")


def checked_codes(codes: ArrayLike, dimension: int, least: int = 1) -> Latents:
    """Codes that can be fitted or started from, as rows (m, d).

    Raises:
        UserError: they are not finite, not of shape (m, dimension), or fewer than `least`.
    """
    rows = as_floats(codes).detach()
    shape = tuple(rows.shape)
    if len(shape) != 2 or shape[1] != dimension or shape[0] < least or not rows.isfinite().all():
        raise UserError(
            f"the sampler's codes have shape {shape}; give finite codes of shape (m, {dimension}) "
            f"with m of {least} or more"
        )
    return rows
