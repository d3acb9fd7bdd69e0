"""Settings of the density ratio: how D_z is trained, and against which boundary."""

from dataclasses import dataclass
from typing import Literal

from latent_atlas.config.parse import require
from latent_atlas.errors import UserError

__all__ = ["BOUNDARIES", "MapConfig", "mixture_parts"]

BOUNDARIES = (
    "prior",
    "box",
    "radius",
    "low-density",
    "mixture",
    "gaussian-diagonal",
    "gaussian",
    "gaussian-mixture",
)
COUNTS = ("width", "depth", "steps", "batch_size", "check_every", "patience", "ensemble_size")


@dataclass(frozen=True)
class MapConfig:
    """How D_z is trained, and against which boundary."""

    boundary: str = "prior"
    """Where z_fake comes from, one of `BOUNDARIES`."""
    box_margin: float = 0.1
    """Boundary box: share of its side by which the box is widened at either end."""
    radius: float | None = None
    """Boundary radius: root mean square length of the displacements; None measures it."""
    quantile: float | None = None
    """Boundary low-density: share of real codes under its threshold, in (0, 1); None is 0.05."""
    parts: str = "prior 0.5, radius 0.5"
    """Boundary mixture: the names of its parts, each with a weight; see `mixture_parts`."""
    z_real: Literal["samples", "means"] = "samples"
    """Whether real codes are drawn from q(z|x) at each step, or are the fixed means."""
    levels: int | None = None
    """Noise levels of D_z, 1 for a single classifier; None chooses by KL(q || r)."""
    score_weight: float | None = None
    """Weight of score matching beside cross-entropy; None chooses by KL(q || r)."""
    reference: Literal["gaussian", "none"] = "gaussian"
    """Whether D_z starts from the log-ratio of a Gaussian with the codes' moments, or from 0."""
    ensemble_size: int = 1
    """Discriminators trained independently: their mean is the map, their spread its uncertainty."""
    width: int = 128
    depth: int = 3
    """Residual blocks of D_z."""
    steps: int = 4_000
    """Upper limit; training stops when the held-out loss has not fallen for `patience` checks."""
    batch_size: int = 512
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    ema: float = 0.998
    """Decay per step of the averaged weights of D_z, the ones that are checked and kept."""
    check_every: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse what would only fail later."""
        require(
            self.boundary in BOUNDARIES,
            f"no boundary '{self.boundary}'; choose {', '.join(BOUNDARIES)}",
        )
        limit = float("inf")
        require(
            0 <= self.box_margin < limit,
            f"map.box_margin is {self.box_margin}; choose a share of 0 or more",
        )
        fits = self.radius is None or 0 < self.radius < limit
        require(
            fits, f"map.radius is {self.radius}; choose a positive distance, or null to measure it"
        )
        fits = self.quantile is None or 0 < self.quantile < 1
        require(
            fits,
            f"map.quantile is {self.quantile}; choose a share between 0 and 1, or null for 0.05",
        )
        mixture_parts(self.parts)
        require(
            self.weight_decay >= 0, f"map.weight_decay is {self.weight_decay}; choose 0 or more"
        )
        for name in COUNTS:
            value = getattr(self, name)
            require(value >= 1, f"map.{name} is {value}; choose 1 or more")
        fits = self.levels is None or self.levels >= 1
        require(
            fits,
            f"map.levels is {self.levels}; choose 1 or more, or null to choose by KL(q || r)",
        )
        fits = self.score_weight is None or self.score_weight >= 0
        require(fits, f"map.score_weight is {self.score_weight}; choose 0 or more, or null")
        require(
            self.learning_rate > 0,
            f"map.learning_rate is {self.learning_rate}; choose a positive number",
        )


def mixture_parts(text: str) -> dict[str, float]:
    """The parts of boundary mixture, by name, with weights that sum to 1.

    Raises:
        UserError: a part is not a boundary, is a mixture, or is named twice, or its weight is not
            positive.

    Examples:
        >>> mixture_parts("prior 1, box 3")
        {'prior': 0.25, 'box': 0.75}
    """
    parts: dict[str, float] = {}
    names = [name for name in BOUNDARIES if name != "mixture"]
    for part in text.split(","):
        name, _, weight = part.strip().partition(" ")
        require(
            name in names,
            f"map.parts has no boundary '{name}' to mix; choose from {', '.join(names)}",
        )
        require(
            name not in parts,
            f"map.parts names '{name}' twice; give each part once, with its whole weight",
        )
        try:
            parts[name] = float(weight)
        except ValueError:
            raise UserError(
                f"map.parts gives '{name}' no weight; write it as in 'prior 0.5, radius 0.5'"
            ) from None
        fits = 0 < parts[name] < float("inf")
        require(
            fits, f"map.parts gives '{name}' the weight {weight.strip()}; choose a positive number"
        )
    return {name: weight / sum(parts.values()) for name, weight in parts.items()}
