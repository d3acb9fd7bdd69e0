"""From a density to codes: the samplers by name."""

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.sampling.baselines import flow, mixture, prior
from latent_atlas.sampling.importance import importance, rejection
from latent_atlas.sampling.mcmc import HMC, MALA, ULA, chains
from latent_atlas.sampling.probability_flow import annealed
from latent_atlas.sampling.target import LogWeight, Samples, Target

__all__ = ["BASELINES", "CHAINS", "SAMPLERS", "Samples", "chosen", "draw", "options_of"]

SAMPLERS: dict[str, Callable[..., Samples]] = {
    "annealed": annealed,
    "importance": importance,
    "rejection": rejection,
    "ula": partial(chains, ULA),
    "mala": partial(chains, MALA),
    "hmc": partial(chains, HMC),
    "prior": prior,
    "mixture": mixture,
    "flow": flow,
}
"""Every sampler: (target, n, generator=..., and its options) to draws."""

BASELINES = ("prior", "mixture", "flow")
"""Those that do not look at the density."""

CHAINS = ("ula", "mala", "hmc")
"""Those that need a start."""


@torch.no_grad()
def draw(
    density: Density,
    n: int,
    sampler: str = "auto",
    *,
    temperature: float = 1.0,
    near: Tensor | None = None,
    width: float = 0.5,
    where: LogWeight | None = None,
    generator: torch.Generator,
    **options: Any,
) -> Samples:
    """Draw codes from q(z)^(1/T) · N(z; c, w² I) · g(z): from a density, or from a part of it.

    | sampler | how | exact |
    |---|---|---|
    | `importance` | proposals from the boundary or the prior, resampled by their weights | as they grow many |
    | `rejection` | the same proposals, refused | yes, where it can be afforded |
    | `mala`, `hmc` | many Markov chains | as they grow long, in every cluster that they start in |
    | `ula` | a chain that refuses nothing | no: its step spreads the draws a little |
    | `annealed` | the levels of a map as a diffusion, then MALA; matched with `codes` | as steps and moves grow many |
    | `prior`, `mixture`, `flow` | N(0, I), or fitted to real `codes` | baselines: they do not look at q |

    Arguments:
        density: q, a map or any other density.
        n: How many draws, 1 or more.
        sampler: One of `SAMPLERS`; or auto: mala near a code, annealed where the density has levels, else importance.
        temperature: T, above 0: below 1 draws keep to the peaks, above 1 they spread.
        near: c, shape (d,): draw near this code.
        width: w, above 0: how near, in the units of the codes.
        where: log g, from codes (n, d) to (n,) in nats, -inf for those that are not wanted: draw with an attribute.
        generator: Source of all randomness, on the device of the density.
        **options: Of the sampler; see `sampling.importance`, `rejection`, `chains`, `annealed`, `mixture`, `flow`.

    Returns:
        The draws, with diagnostics in `info`.

    Raises:
        UserError: n < 1, there is no such sampler or option, or the sampler cannot draw that.

    Warns:
        UserWarning: for each of the draws' notes: weights collapse, chains do not mix, a bound does not hold.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> generator = torch.Generator().manual_seed(0)
        >>> draw(two_clusters(2, 4.0), 100, near=torch.tensor([2.0, 0.0]), generator=generator).points.shape
        torch.Size([100, 2])
    """
    if n < 1:
        raise UserError(f"{n} samples were asked for; choose 1 or more")
    target = Target(density, temperature, near, width, where)
    sampler = chosen(density, sampler, near=near is not None)
    _check_options(sampler, options)
    if sampler in BASELINES and not target.plain:
        raise UserError(
            f"sampler '{sampler}' does not look at the density, so it knows no temperature, no nearness and no "
            "attribute; choose annealed, mala or importance"
        )
    draws = SAMPLERS[sampler](target, n, generator=generator, **options)
    for note in draws.notes:
        warnings.warn(note, stacklevel=2)
    return draws


def chosen(density: Density, sampler: str = "auto", *, near: bool = False) -> str:
    """The sampler that auto stands for; any other is itself."""
    if sampler != "auto":
        return sampler
    return "mala" if near else "annealed" if density.noise_levels else "importance"


def options_of(sampler: str) -> dict[str, Any]:
    """Every option of a sampler with its default, which is `inspect.Parameter.empty` for those that must be given."""
    parameters = (
        inspect.signature(SAMPLERS[sampler]).parameters.values() if sampler in SAMPLERS else ()
    )
    only = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "generator"]
    return {one.name: one.default for one in only}


def _check_options(sampler: str, options: dict[str, Any]) -> None:
    """One sentence on a sampler that is unknown, or an option that is unknown or missing."""
    if sampler not in SAMPLERS:
        raise UserError(f"no sampler '{sampler}'; choose auto, {', '.join(SAMPLERS)}")
    known = options_of(sampler)
    for name in options:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UserError(f"sampler '{sampler}' has no option '{name}'; {has}")
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in options:
            raise UserError(f"sampler '{sampler}' was given no {name}; call it with {name}=...")
