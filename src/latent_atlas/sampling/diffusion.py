"""The default sampler: a diffusion through the noise levels, then MALA on the density itself."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least, checked_codes
from latent_atlas.sampling.entropy_balancing import enough, matching
from latent_atlas.sampling.mala_correction import corrected
from latent_atlas.sampling.probability_flow import flow_down
from latent_atlas.sampling.target import Target
from latent_atlas.sampling.weights import effective_sample_size, resampled
from latent_atlas.sampling.whitened import PIECE, Whitened, round_coordinates
from latent_atlas.shapes import ArrayLike, Latents, Values, batched

__all__ = ["Diffusion"]

CONDITIONED = 10  # samples of q for each sample of a target other than q, before resampling
MATCHED = 2  # samples of q for each sample that is matched with codes, so that hardly any repeats


@checked
@dataclass(frozen=True)
class Diffusion(Sampler):
    """Probability flow from N(0, I) through the noise levels, then MALA moves on the target.

    With real codes, twice as many samples are drawn, and n of them are kept so that their mean,
    covariance and shares of regions are those of the codes (`entropy_balancing.matching`): a
    learned density knows which codes are likely better than how much probability each region has.
    This is left out where n is too small for these statistics, or where the target is not q. For
    such a target, ten times as many samples are drawn and resampled by their importance weights;
    the moves then separate samples that repeat. Without churn, moves and codes, the samples are a
    deterministic function of their noise.

    Attributes:
        steps: Steps of the flow from noise to codes, 1 or more; two evaluations of the score each.
        churn: Noise added before each step, in steps, 0 or more; 0 is deterministic.
        moves: MALA moves on the target, 0 or more; the first half tunes their step size.
        codes: Real codes to match, shape (m, d); None matches none.
    """

    name: ClassVar[str] = "diffusion"
    steps: int = 32
    churn: float = 0.0
    moves: int = 20
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        check_least(1, steps=self.steps)
        check_least(0, churn=self.churn, moves=self.moves)

    def wants_codes(self, density: Density) -> bool:
        """Real codes are matched wherever there are none yet."""
        return self.codes is None

    @torch.no_grad()
    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes.

        The info has the number of flow steps; the acceptance of the moves, if there are any; and
        the effective sample size of the resampling weights, if samples were resampled.

        Raises:
            UserError: the density has no noise levels, or the codes do not fit it.
        """
        if not target.density.noise_levels:
            raise UserError(
                "sampler 'diffusion' needs a density with noise levels, and this one has none; "
                "choose smc, or a map with levels"
            )
        codes = self._matched_codes(target, n)
        factor = CONDITIONED if not target.is_density else 1 if codes is None else MATCHED
        level = round_coordinates(target.density, generator.device)
        w = torch.randn(n * factor, target.dimension, generator=generator, device=generator.device)
        w = flow_down(level, w, steps=self.steps, churn=self.churn, generator=generator)
        points, warnings = level.back(w), ()
        info = SamplerInfo(sampler=self.name, flow_steps=self.steps)
        if not target.is_density:
            log_weights, warnings = _conditioned(target, points, n)
            points, info = _resampled(points, log_weights, n, info, generator)
        if self.moves:
            sharp = Whitened(target, level.mean, level.factor)
            w, acceptance = corrected(sharp, level.there(points), self.moves, generator=generator)
            points, info = sharp.back(w), replace(info, acceptance=acceptance)
        if codes is not None:
            log_weights, warnings = _matched(points, codes, generator)
            points, info = _resampled(points, log_weights, n, info, generator)
        return Samples(points, info, warnings)

    def _matched_codes(self, target: Target, n: int) -> Tensor | None:
        """The codes to match, if the target is the density and n suffices."""
        if self.codes is None:
            return None
        codes = checked_codes(self.codes, target.dimension)
        return codes if target.is_density and enough(MATCHED * n, codes) else None


def _resampled(
    points: Latents, log_weights: Values, n: int, info: SamplerInfo, generator: torch.Generator
) -> tuple[Tensor, SamplerInfo]:
    """`n` of the points by their weights, and the info with the effective sample size of these."""
    effective = effective_sample_size(log_weights)
    share = effective / len(points)
    kept = points[resampled(log_weights, n, generator=generator)]
    return kept, replace(info, effective_sample_size=effective, effective_share=share)


def _conditioned(target: Target, points: Latents, n: int) -> tuple[Values, tuple[str, ...]]:
    """Log-weights target / q of samples of q, and a warning where their effective size is small."""
    log_weights = batched(target.log_weight, points, PIECE)
    log_weights = log_weights.nan_to_num(-math.inf, None, -math.inf)
    effective = effective_sample_size(log_weights)
    rare = (
        f"the conditions are rare: {len(points)} samples of the density have an effective sample "
        f"size of {effective:.0f} under them, for {n} samples asked for, so some resemble each "
        "other; ask for fewer samples, or for a wider condition"
    )
    return log_weights, () if effective >= 0.1 * n else (rare,)


def _matched(
    points: Latents, codes: Tensor, generator: torch.Generator
) -> tuple[Values, tuple[str, ...]]:
    """Log-weights that match the statistics of the codes, and a warning where none do."""
    log_weights = matching(points, codes, generator=generator)
    if log_weights is not None:
        return log_weights, ()
    far = (
        "the samples are not matched with the real codes: no weights give them the mean and the "
        "covariance of these, so the map is far from the codes; train it longer"
    )
    return points.new_zeros(len(points)), (far,)
