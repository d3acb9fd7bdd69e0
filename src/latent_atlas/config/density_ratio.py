"""How the map is fitted: the latent discriminator D_z and the boundary it trains against."""

from dataclasses import dataclass
from typing import Literal

from latent_atlas.errors import UserError, checked, did_you_mean, require, require_known

__all__ = ["BOUNDARIES", "MapConfig", "mixture_parts"]

BOUNDARIES = (
    "prior",
    "box",
    "radius",
    "low-density",
    "between",
    "mixture",
    "gaussian-diagonal",
    "gaussian",
    "gaussian-mixture",
)
COUNTS = (
    "width",
    "depth",
    "steps",
    "passes",
    "batch_size",
    "check_every",
    "patience",
    "ensemble_size",
)


@checked
@dataclass(frozen=True)
class MapConfig:
    """How the latent discriminator D_z trains, and against which boundary."""

    boundary: str = "prior"
    """The reference distribution that fake codes are drawn from, one of `BOUNDARIES`."""
    box_margin: float = 0.1
    """Boundary `box`: widen the box that holds the codes by this fraction of its side, 0 or more,
    at either end."""
    radius: float | None = None
    """Boundary `radius`: root mean square distance of a fake code from a real one, above 0, in
    latent units; null measures it on the codes."""
    quantile: float | None = None
    """Boundary `low-density`: fakes have a density below this quantile of the real codes,
    in (0, 1);
    null is 0.05."""
    parts: str = "prior 0.5, radius 0.5"
    """Boundary `mixture`: the names of its parts, each with a weight; see `mixture_parts`."""
    z_real: Literal["samples", "means"] = "samples"
    """Real codes: drawn anew from q(z|x) at each step, or the fixed means."""
    augment: bool = True
    """Whether D_z also learns from codes of changed copies of images, where a run has at most 5,000
    images to train on and its held-out codes gain by it."""
    levels: int | None = None
    """Noise levels of D_z, 1 for a single classifier; null chooses by the measured KL(q || r)."""
    score_weight: float | None = None
    """Weight, 0 or more, of the score matching term beside the cross-entropies of the levels; null
    chooses by the measured KL(q || r)."""
    reference: Literal["gaussian", "scale-mixture", "mixture", "none"] | None = None
    """The density at whose log-ratio D_z over several levels begins: `gaussian`, with the moments
    of the codes; `scale-mixture`, Gaussians of one centre and shape and several sizes, for heavy
    tails; `mixture`, as many Gaussians as held-out codes ask for; or `none`, which is 0. null is
    `gaussian`, and up to 64 coordinates another one if that alone describes held-out codes better
    than the D_z that began there. Wide codes that are compared with a Gaussian always begin at a
    `mixture` unless this is `gaussian` or `none`, and codes that are maps at a Gaussian field."""
    ensemble_size: int = 1
    """Number of discriminators that train independently, 1 or more: their mean is the map and
    their spread is its uncertainty."""
    width: int = 128
    """Units of a hidden layer of D_z, 1 or more; of spatial codes, it has a quarter as many maps at
    full resolution, at least 8."""
    depth: int = 3
    """Residual blocks of D_z, 1 or more."""
    steps: int = 2_000
    """Training steps at most, 1 or more; training stops earlier when the held-out loss has not
    fallen for `patience` checks, and at wide codes after as many as `passes` allows."""
    passes: int = 50
    """About how often training draws each wide code at most, 1 or more: D_z begins at a mixture
    there, to which later steps add little."""
    batch_size: int = 1_024
    """Real codes per step, 1 or more. With several levels the number is rounded, so that levels are
    spread evenly, to two for each level at least; with one, as many boundary codes are added."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of the matrix products of a training step: float32 or bfloat16; auto is bf16 on a CPU that is
    measured to be fast at it, and 32 on a GPU, which so small a network does not fill. The map is
    checked and evaluated in float32."""
    learning_rate: float = 8e-3
    """Learning rate of D_z, above 0."""
    weight_decay: float | None = None
    """Decoupled weight decay of D_z (AdamW), 0 or more; null is 1 where it also learns from copies
    of few images, and 0.01 elsewhere."""
    ema: float = 0.998
    """Decay per step of the averaged weights of D_z, the ones that are evaluated and saved."""
    check_every: int = 50
    """Compute the held-out loss every this many steps, 1 or more."""
    patience: int = 5
    """Checks without a lower held-out loss after which training stops, 1 or more."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        require_known("boundary", self.boundary, BOUNDARIES)
        limit = float("inf")
        require(
            0 <= self.box_margin < limit,
            f"map.box_margin is {self.box_margin}; choose a fraction of 0 or more",
        )
        fits = self.radius is None or 0 < self.radius < limit
        require(
            fits, f"map.radius is {self.radius}; choose a positive distance, or null to measure it"
        )
        fits = self.quantile is None or 0 < self.quantile < 1
        require(
            fits,
            f"map.quantile is {self.quantile}; choose a fraction between 0 and 1, or null for 0.05",
        )
        mixture_parts(self.parts)
        fits = self.weight_decay is None or self.weight_decay >= 0
        require(fits, f"map.weight_decay is {self.weight_decay}; choose 0 or more, or null")
        for name in COUNTS:
            value = getattr(self, name)
            require(value >= 1, f"map.{name} is {value}; choose 1 or more")
        fits = self.levels is None or self.levels >= 1
        require(
            fits,
            f"map.levels is {self.levels}; choose 1 or more, or null to choose by the measured "
            "KL divergence",
        )
        fits = self.score_weight is None or self.score_weight >= 0
        require(fits, f"map.score_weight is {self.score_weight}; choose 0 or more, or null")
        require(
            self.learning_rate > 0,
            f"map.learning_rate is {self.learning_rate}; choose a positive number",
        )


def mixture_parts(text: str) -> dict[str, float]:
    """The parts of the boundary `mixture` by name, with weights that sum to 1.

    Arguments:
        text: Names of boundaries, each followed by a positive weight, separated by commas.

    Raises:
        UserError: a part is not a boundary, is a mixture itself or is named twice, or its weight is
            not positive.

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
            f"map.parts has no boundary '{name}' to mix; choose from {', '.join(names)}"
            f"{did_you_mean(name, names)}",
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
