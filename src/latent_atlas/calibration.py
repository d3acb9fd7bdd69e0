"""Are the log-ratios honest? What held-out codes and the boundary say of a logit."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.shapes import Values

__all__ = ["Calibration", "calibrate"]

CHASM = 20.0  # nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary


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
    """

    normaliser: float
    normaliser_error: float
    inverse: float
    kl: float
    effective_share: float
    cross_entropy: float

    def numbers(self) -> dict[str, float]:
        """The attributes by name."""
        return asdict(self)

    def verdict(self) -> str:
        """One sentence a user can act on."""
        if self.kl > CHASM:
            return f"single level saturates here: KL(q || r) is about {self.kl:.0f} nats; distrust far places"
        off = abs(self.normaliser - 1)
        if off > 0.2 and off > 3 * self.normaliser_error:
            return (
                f"the map is not normalised: E_r[exp l] is {self.normaliser:.2f} and should be 1; give D_z more codes"
            )
        return f"the map is honest: E_r[exp l] = {self.normaliser:.2f}, KL(q || r) about {self.kl:.1f} nats"


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
    )


def _effective_share(log_weights: Tensor) -> float:
    """(Σ w)² / (n Σ w²), computed without overflow."""
    log_square = 2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0)
    return (log_square.exp() / len(log_weights)).item()
