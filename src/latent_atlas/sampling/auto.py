"""The sampler that is chosen where a density has no noise levels: by measurement."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from latent_atlas.density.base import Density
from latent_atlas.sampling.base import Sampler, Samples
from latent_atlas.sampling.importance import Importance
from latent_atlas.sampling.smc import SMC
from latent_atlas.sampling.target import Target
from latent_atlas.shapes import ArrayLike

__all__ = ["Auto"]

EFFECTIVE = 10  # effective proposals for each sample, from which on few samples repeat


@dataclass(frozen=True)
class Auto(Sampler):
    """Importance resampling where its weights allow it, else sequential Monte Carlo.

    Importance is tried where the proposals are known to cover the density: those of a map's
    boundary. It is kept if they have an effective sample size of 10 n or more, and where there is
    no log-density. The info says why.

    Attributes:
        codes: Real codes for sequential Monte Carlo, shape (m, d).
    """

    name: ClassVar[str] = "auto"
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def wants_codes(self, density: Density) -> bool:
        """Whether sequential Monte Carlo wants them."""
        return self.codes is None

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes by the sampler that is chosen."""
        reason = "nothing is known of where the density lies"
        if target.covering is not None or not target.has_log_prob:
            samples = Importance().draw(target, n, generator=generator)
            effective = samples.info.effective_sample_size or 0.0
            reason = f"importance proposals have an effective sample size of {effective:.0f}"
            if not target.has_log_prob:
                reason += ", and there is no log-density to move them by"
            if effective >= EFFECTIVE * n or not target.has_log_prob:
                return _because(reason, samples)
        return _because(reason, SMC(codes=self.codes).draw(target, n, generator=generator))


def _because(reason: str, samples: Samples) -> Samples:
    """The samples, with the reason in their info."""
    return replace(samples, info=replace(samples.info, reason=reason))
