"""Are the log-ratios honest? What held-out codes and the boundary say of a logit."""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.shapes import Values

__all__ = ["Calibration", "calibrate"]

CHASM = 20.0  # nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary
SATURATED = 0.05  # nats of cross-entropy below which it is, whatever KL the classifier then estimates


@dataclass(frozen=True)
class Calibration:
    """What a logit l = log q - log r must satisfy, as measured.

    Attributes:
        normaliser: E_r[exp l]; 1 if exp(l) r is a normalised density.
        normaliser_error: Standard error of `normaliser`.
        inverse: E_q[exp -l]; 1 if the population's support lies within the boundary's.
        kl: E_q[l], the estimate of KL(q || r) in nats.
        effective_share: Effective sample size of importance weights exp(l) on the boundary, as a share in (0, 1].
        cross_entropy: Of the discriminator on held-out codes, in nats; log 2 where it cannot tell.
        samples: How many boundary codes were drawn.
    """

    normaliser: float
    normaliser_error: float
    inverse: float
    kl: float
    effective_share: float
    cross_entropy: float
    samples: int

    def numbers(self) -> dict[str, float]:
        """The attributes by name."""
        return asdict(self)

    def verdict(self) -> str:
        """One sentence a user can act on."""
        measured = f"KL(q || r) about {self.kl:.1f} nats, E_r[exp l] = {self.normaliser:.2f}"
        if not all(map(math.isfinite, self.numbers().values())):
            return "the fit failed: its numbers are not finite; lower map.learning_rate"
        if self.kl > CHASM or self.cross_entropy < SATURATED:
            return f"a single level saturates here ({measured}): distrust the log-density, above all far away"
        if self.effective_share * self.samples < 100:
            return f"the map cannot be checked by sampling r, whose draws hardly meet the population ({measured})"
        if abs(self.normaliser - 1) > max(0.2, 3 * self.normaliser_error):
            return f"the map is not normalised ({measured}, which should be 1): give D_z more codes"
        if self.inverse > 2:
            return (
                f"the map is overconfident at the population's edge (E_q[exp -l] = {self.inverse:.1f}, which should be "
                f"1; {measured}): more codes would help"
            )
        return f"the map is honest: {measured}"


def calibrate(real: Values, fake: Values) -> Calibration:
    """Measure a logit on held-out real codes and on boundary codes.

    Arguments:
        real: Logits of held-out real codes, shape (n,), in nats.
        fake: Logits of boundary codes, shape (n,); as many or more.
    """
    weights = fake.exp()
    return Calibration(
        normaliser=weights.mean().item(),
        normaliser_error=(weights.std() / len(weights) ** 0.5).item(),
        inverse=(-real).exp().mean().item(),
        kl=real.mean().item(),
        effective_share=_effective_share(fake),
        cross_entropy=(0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())).item(),
        samples=len(fake),
    )


def _effective_share(log_weights: Tensor) -> float:
    """(Σ w)² / (n Σ w²), computed without overflow."""
    log_square = 2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0)
    return (log_square.exp() / len(log_weights)).item()
