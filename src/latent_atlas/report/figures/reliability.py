"""Whether the realness that D_z predicts is calibrated."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure

from latent_atlas.codes.posterior import Codes
from latent_atlas.density_ratio.calibration import Calibration, measure
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.report.plots.reliability import Groups, reliability_picture

__all__ = ["draw_reliability"]

DRAWS = 20_000  # codes of each class


def draw_reliability(
    latent_map: LatentMap, held_out: Codes, *, generator: torch.Generator
) -> Figure:
    """Predicted against observed realness of held-out codes, before and after correction."""
    scale, shift = latent_map.calibration.scale, latent_map.calibration.shift
    drawn = (
        held_out.sample(DRAWS, generator=generator),
        latent_map.boundary.sample(DRAWS, generator=generator),
    )
    real, fake = (latent_map.logit(codes) for codes in drawn)
    before, after = measure(real, fake), measure(scale * real + shift, scale * fake + shift)
    correction = f"{scale:.2f}\u00a0l\u00a0{'+' if shift >= 0 else '−'}\u00a0{abs(shift):.2f}"
    caption = (
        f"Held-out cross-entropy {before.cross_entropy:.3f} nats as trained, "
        f"{after.cross_entropy:.3f} corrected to {correction}; guessing has {math.log(2):.3f}. "
        "The area of a dot grows with the number of codes in its group."
    )
    return reliability_picture(
        [_groups("as trained", before), _groups("corrected", after)], caption
    )


def _groups(name: str, measured: Calibration) -> Groups:
    curve = measured.reliability
    return Groups(name, np.array(curve.predicted), np.array(curve.observed), np.array(curve.count))
