"""The samplers by name, and `draw`, which draws codes from a density with one of them."""

import warnings
from dataclasses import replace

import torch

from latent_atlas.density.base import Density, on_sphere
from latent_atlas.errors import UserError, checked, require_known
from latent_atlas.sampling.auto import Auto
from latent_atlas.sampling.base import Sampler, Samples
from latent_atlas.sampling.baselines import Flow, Mixture, Prior
from latent_atlas.sampling.diffusion import Diffusion
from latent_atlas.sampling.importance import Importance, Rejection
from latent_atlas.sampling.mcmc import HMC, MALA, ULA
from latent_atlas.sampling.smc import SMC
from latent_atlas.sampling.target import LogWeight, Target
from latent_atlas.shapes import ArrayLike

__all__ = ["SAMPLERS", "draw", "sampler_for"]

SAMPLERS: dict[str, type[Sampler]] = {
    sampler.name: sampler
    for sampler in (Diffusion, SMC, Importance, Rejection, ULA, MALA, HMC, Prior, Mixture, Flow)
}
"""Every sampler by its name."""


@torch.no_grad()
@checked
def draw(
    density: Density,
    n: int,
    sampler: str | Sampler = "auto",
    *,
    temperature: float = 1.0,
    near: ArrayLike | None = None,
    width: float = 0.5,
    where: LogWeight | None = None,
    generator: torch.Generator,
) -> Samples:
    """Draw codes from q(z)^(1/T) · N(z; c, w² I) · g(z): from a density, or from a part of it.

    | sampler | method | exact |
    |---|---|---|
    | `Diffusion` | probability flow through the noise levels, then MALA | as steps and moves grow |
    | `SMC` | particles tempered from a wide density, then from one fitted to them | as they grow |
    | `Importance` | proposals from the boundary or the prior, resampled | as proposals grow |
    | `Rejection` | the same proposals, accepted or rejected | yes, if it is affordable |
    | `MALA`, `HMC` | many Markov chains | as they grow long, in every cluster they start in |
    | `ULA` | Markov chains without rejection | no: samples are slightly too wide |
    | `Prior`, `Mixture`, `Flow` | N(0, I), or fitted to real codes | baselines without q |

    Arguments:
        density: q, a map or any other density.
        n: Number of samples, 1 or more.
        sampler: A sampler, or the name of one in `SAMPLERS` with its default settings; or "auto":
            mala near a code, diffusion where the density has noise levels and a log-density, else
            importance or smc by measurement, as `sampling.auto.Auto` says.
        temperature: T, above 0: below 1 samples concentrate at the modes, above 1 they spread.
        near: c, shape (d,): sample near this code.
        width: w, above 0: standard deviation of the Gaussian around c, in the units of the codes.
        where: log g in nats, from codes (n, d) to (n,), -inf where a code is not wanted.
        generator: Source of all randomness, on the device of the density.

    Returns:
        The samples, with diagnostics in `info`.

    Raises:
        UserError: n < 1, there is no such sampler, or it cannot draw from this target.

    Warns:
        UserWarning: for each of the samples' `warnings`.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> generator = torch.Generator().manual_seed(0)
        >>> code = torch.tensor([2.0, 0.0])
        >>> draw(two_clusters(2, 4.0), 100, near=code, generator=generator).points.shape
        torch.Size([100, 2])
    """
    if n < 1:
        raise UserError(f"{n} samples were asked for; choose 1 or more")
    target = Target(density, temperature, near, width, where)
    chosen = sampler_for(density, sampler, near=near is not None)
    if not (chosen.uses_density or target.is_density):
        raise UserError(
            f"sampler '{chosen.name}' does not use the density, so it has no temperature, no near "
            "and no where; choose diffusion, smc or importance"
        )
    samples = chosen.draw(target, n, generator=generator)
    if density.sphere is not None:
        samples = replace(samples, points=on_sphere(samples.points, density.sphere))
    for warning in samples.warnings:
        warnings.warn(warning, stacklevel=3)  # points at the caller of `draw`, which is checked
    return samples


@checked
def sampler_for(
    density: Density, sampler: str | Sampler = "auto", *, near: bool = False
) -> Sampler:
    """The sampler of a name, with its default settings; a sampler is itself.

    Arguments:
        density: Decides what "auto" is.
        sampler: A sampler, a name in `SAMPLERS`, or "auto".
        near: Whether samples near a code are asked for.

    Raises:
        UserError: there is no sampler of that name.
    """
    if isinstance(sampler, Sampler):
        return sampler
    if sampler == "auto":
        flows = density.noise_levels and density.has_log_prob
        if not (near or flows):
            return Auto()
        sampler = "mala" if near else "diffusion"
    require_known("sampler", sampler, ["auto", *SAMPLERS])
    return SAMPLERS[sampler]()
