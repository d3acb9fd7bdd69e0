"""What a run is made of: frozen dataclasses and their JSON.

This room imports no torch, so that the command line answers `--help` at once.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from latent_atlas.errors import UserError

__all__ = [
    "BOUNDARIES",
    "Config",
    "DataConfig",
    "MapConfig",
    "ModelConfig",
    "TrainConfig",
    "mixture_parts",
    "with_settings",
]

Arm = Literal["separate", "online", "adversarial"]
BOUNDARIES = ("prior", "box", "radius", "density", "mixture", "gaussian-diagonal", "gaussian", "gaussian-mixture")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how each becomes a square."""

    source: str = ""
    """A named set (digits, fashion-mnist, mnist, faces), a folder, a zip or tar, a .npy or .npz file."""
    fit: Literal["crop", "pad"] = "crop"
    """How a non-square image becomes square: the centre is cropped, or the short side is padded."""
    held_out: float = 0.1
    """Share of the images, chosen by content hash, that no network learns from; sets with a test part keep it."""
    max_rejects: float = 0.05
    """Share of undecodable files above which loading stops."""
    limit: int | None = None
    """Use at most so many images, the first ones in content-hash order; None uses all."""


@dataclass(frozen=True)
class ModelConfig:
    """The shapes of E, G and D_x."""

    image_size: int = 32
    """Side of the square images in pixels, 8 to 256."""
    channels: int = 3
    """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    latent_dim: int = 32
    """d, the number of coordinates of a latent code."""
    width: int = 32
    """Channels of E and G at full resolution; doubled at each halving up to four times as many."""
    depth: int = 1
    """Residual blocks per resolution."""
    discriminator_width: int = 32
    """The same for D_x."""
    spectral_norm: bool = False
    """Divide each weight of D_x by its largest singular value (Miyato et al. 2018)."""

    def __post_init__(self) -> None:
        """Refuse shapes that no network here can have."""
        _require(8 <= self.image_size <= 256, f"model.image_size is {self.image_size}; choose 8 to 256 pixels")
        _require(1 <= self.channels <= 4, f"model.channels is {self.channels}; choose 1, 2, 3 or 4")
        for name in ("latent_dim", "width", "depth", "discriminator_width"):
            value = getattr(self, name)
            _require(value >= 1, f"model.{name} is {value}; choose 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """How E, G and D_x learn; the terms are those of `losses`."""

    arm: Arm = "separate"
    """D_z learns afterwards (separate), beside them (online), or the encoder also learns to fool it (adversarial)."""
    steps: int = 10_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    """Of E and G; held, then lowered to zero over the last `decay` of the run."""
    discriminator_learning_rate: float = 4e-4
    """Of D_x, likewise; and of D_z where it learns beside them."""
    decay: float = 0.4
    """Share of the run over which the learning rates fall to zero (half a cosine)."""
    reconstruction: Literal["l1", "l2"] = "l2"
    kl_weight: float = 2e-4
    """Weight of the KL term (nats per image) against the mean error per pixel."""
    kl_warmup: int = 500
    """Steps over which the KL weight grows from 0."""
    adversarial: Literal["relativistic", "hinge", "non-saturating", "none"] = "relativistic"
    adversarial_weight: float = 0.0017
    """Fixed weight of D_x's loss, or, balanced, the share of the reconstruction's gradient it may have. More makes
    images look more real and follow their originals less: see benchmarks/reconstruction.py."""
    prior_share: float = 0.0
    """Share of D_x's fakes that are decoded prior codes; the others are reconstructions."""
    balance: bool = False
    """Set the adversarial weight by gradient norms at the decoder's last layer (Esser et al. 2021)."""
    feature_matching: float = 0.0
    """Weight of the reconstruction error in D_x's features (Larsen et al. 2016)."""
    r1: float = 0.02
    """Weight of the gradient penalty of D_x on real images."""
    r2: float = 0.02
    """The same on generated images."""
    penalty_every: int = 4
    """The penalties are computed once in so many steps and weighted by as much (Karras et al. 2020)."""
    discriminator_start: int = 0
    """D_x learns after so many steps."""
    adversarial_start: int = 500
    """D_x's loss reaches G after so many steps; D_x has to have learned by then."""
    fool_weight: float = 0.01
    """Adversarial arm only: weight of the encoder's loss against D_z."""
    ema: float = 0.999
    """Decay per step of the averaged weights of E and G, the ones that are used afterwards; 0 for none."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["32", "bf16"] = "32"
    compile: bool = False
    """Compile the networks with torch.compile: slower to start, faster per step on a GPU."""
    checkpoint_every: int = 1_000
    log_every: int = 50

    def __post_init__(self) -> None:
        """Refuse numbers that would only fail later."""
        for name in ("steps", "batch_size", "penalty_every", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            _require(value >= 1, f"train.{name} is {value}; choose 1 or more")
        for name in ("learning_rate", "discriminator_learning_rate"):
            value = getattr(self, name)
            _require(value > 0, f"train.{name} is {value}; choose a positive number")
        for name in ("kl_weight", "adversarial_weight", "feature_matching", "r1", "r2", "fool_weight"):
            value = getattr(self, name)
            _require(value >= 0, f"train.{name} is {value}; choose 0 or more")
        _require(0 <= self.seed < 2**63, f"train.seed is {self.seed}; choose 0 to below 2^63")
        _require(0 <= self.ema < 1, f"train.ema is {self.ema}; choose 0 (none) to below 1")
        _require(0 <= self.prior_share <= 1, f"train.prior_share is {self.prior_share}; choose a share from 0 to 1")
        _require(0 <= self.decay <= 1, f"train.decay is {self.decay}; choose a share from 0 to 1")
        _require(
            self.adversarial == "none" or self.discriminator_start <= self.adversarial_start < self.steps,
            f"train.adversarial_start is {self.adversarial_start}; D_x has to learn, from train.discriminator_start "
            f"{self.discriminator_start} on, before its loss reaches G, and G to learn from it before the last step "
            f"{self.steps}: set it between them, or train.adversarial to none",
        )
        _require(
            self.adversarial != "none" or self.feature_matching == 0,
            "train.feature_matching needs D_x; set train.adversarial to something else than none",
        )


@dataclass(frozen=True)
class MapConfig:
    """How D_z learns, and against what."""

    boundary: str = "prior"
    """Where z_fake comes from, one of `BOUNDARIES`."""
    box_margin: float = 0.1
    """Boundary box: by which share of its side the box that holds the codes is widened at either end."""
    radius: float | None = None
    """Boundary radius: root mean square distance of a fake code from a real one; None measures it on the codes."""
    quantile: float | None = None
    """Boundary density: share of real codes as unlikely as the fakes, in (0, 1); None is 0.05."""
    parts: str = "prior 0.5, radius 0.5"
    """Boundary mixture: the names of its parts, each with a weight; see `mixture_parts`."""
    z_real: Literal["samples", "means"] = "samples"
    """Real codes drawn afresh from q(z|x) at each step, or the fixed means."""
    levels: int | None = None
    """Noise levels D_z is telescoped over, 1 for a single classifier; None chooses by the measured KL(q || r)."""
    score_weight: float | None = None
    """Weight of score matching beside the cross-entropies of the levels; None chooses by the measured KL(q || r)."""
    reference: Literal["gaussian", "none"] = "gaussian"
    """Whether D_z over levels starts from the log-ratio of the Gaussian with the codes' moments, or from 0."""
    members: int = 1
    """Discriminators learned independently: their mean is the map, their spread its uncertainty."""
    width: int = 128
    depth: int = 3
    """Residual blocks of D_z."""
    steps: int = 4_000
    """Upper limit; learning stops earlier when the held-out loss has not fallen for `patience` checks."""
    batch_size: int = 512
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    ema: float = 0.998
    """Decay per step of the averaged weights of D_z, the ones that are judged and kept."""
    check_every: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse what would only fail later."""
        _require(self.boundary in BOUNDARIES, f"no boundary '{self.boundary}'; choose {', '.join(BOUNDARIES)}")
        limit = float("inf")
        _require(0 <= self.box_margin < limit, f"map.box_margin is {self.box_margin}; choose a share of 0 or more")
        fits = self.radius is None or 0 < self.radius < limit
        _require(fits, f"map.radius is {self.radius}; choose a positive distance, or null to measure it")
        fits = self.quantile is None or 0 < self.quantile < 1
        _require(fits, f"map.quantile is {self.quantile}; choose a share between 0 and 1, or null for 0.05")
        mixture_parts(self.parts)
        _require(self.weight_decay >= 0, f"map.weight_decay is {self.weight_decay}; choose 0 or more")
        for name in ("width", "depth", "steps", "batch_size", "check_every", "patience", "members"):
            value = getattr(self, name)
            _require(value >= 1, f"map.{name} is {value}; choose 1 or more")
        fits = self.levels is None or self.levels >= 1
        _require(fits, f"map.levels is {self.levels}; choose 1 or more, or null to choose by the measured divergence")
        fits = self.score_weight is None or self.score_weight >= 0
        _require(fits, f"map.score_weight is {self.score_weight}; choose 0 or more, or null")
        _require(self.learning_rate > 0, f"map.learning_rate is {self.learning_rate}; choose a positive number")


@dataclass(frozen=True)
class Config:
    """Everything a run depends on; with the images, it determines the run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    map: MapConfig = field(default_factory=MapConfig)

    def __post_init__(self) -> None:
        """Refuse sections that cannot go together."""
        _require(
            self.train.arm == "separate" or self.map.boundary == "prior",
            f"boundary '{self.map.boundary}' is fitted to finished codes, but train.arm is {self.train.arm}; set "
            "train.arm to separate, or map.boundary to prior",
        )

    def to_json(self) -> str:
        """The configuration as indented JSON, with the format's version."""
        return json.dumps({"format": 1, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Read what `to_json` wrote.

        Raises:
            UserError: the text is no JSON object, or names a section or setting that does not exist.
        """
        try:
            sections = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"the configuration is not JSON ({error}); restore config.json of the run") from None
        _require(
            isinstance(sections, dict),
            "the configuration is not a JSON object; restore config.json of the run",
        )
        version = sections.pop("format", 1)
        for name, section in sections.items():
            _require(isinstance(section, dict), f"section '{name}' of the configuration is {section!r}, no JSON object")
        _require(
            version == 1,
            f"the configuration has format {version}, this version reads 1; upgrade latent-atlas",
        )
        return _with_values(cls(), sections)

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Read a config.json; see `from_json`."""
        return cls.from_json(path.read_text())


def with_settings(config: Config, settings: list[str]) -> Config:
    """Return `config` with settings such as `train.steps=500` applied.

    Arguments:
        config: What to start from.
        settings: Each `section.name=value`; the value is JSON, or plain text for words.

    Raises:
        UserError: a setting is misspelt, or its value has the wrong type.

    Example:
        >>> with_settings(Config(), ["train.steps=5000", "train.reconstruction=l1"]).train.steps
        5000
    """
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        place, equals, text = setting.partition("=")
        section, dot, name = place.partition(".")
        _require(bool(equals and dot), f"setting '{setting}' is not of the form section.name=value")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        values.setdefault(section, {})[name] = value
    return _with_values(config, values)


def mixture_parts(text: str) -> dict[str, float]:
    """The parts of boundary mixture, by name, with weights that sum to 1.

    Raises:
        UserError: a part is no boundary, a mixture itself or named twice, or its weight is not positive.

    Example:
        >>> mixture_parts("prior 1, box 3")
        {'prior': 0.25, 'box': 0.75}
    """
    parts: dict[str, float] = {}
    names = [name for name in BOUNDARIES if name != "mixture"]
    for part in text.split(","):
        name, _, weight = part.strip().partition(" ")
        _require(name in names, f"map.parts has no boundary '{name}' to mix; choose from {', '.join(names)}")
        _require(name not in parts, f"map.parts names '{name}' twice; give each part once, with its whole weight")
        try:
            parts[name] = float(weight)
        except ValueError:
            raise UserError(f"map.parts gives '{name}' no weight; write it as in 'prior 0.5, radius 0.5'") from None
        fits = 0 < parts[name] < float("inf")
        _require(fits, f"map.parts gives '{name}' the weight {weight.strip()}; choose a positive number")
    return {name: weight / sum(parts.values()) for name, weight in parts.items()}


def _with_values(config: Config, values: dict[str, dict[str, Any]]) -> Config:
    """Replace settings all at once, so that those which belong together are judged together."""
    sections = [f.name for f in fields(config)]
    changed: dict[str, Any] = {}
    for section, settings in values.items():
        _require(section in sections, f"no section '{section}' in the configuration; there are {', '.join(sections)}")
        part = getattr(config, section)
        types = get_type_hints(type(part))
        for name in settings:
            _require(name in types, f"no setting '{section}.{name}'; {section} has {', '.join(types)}")
        checked = {name: _checked(f"{section}.{name}", value, types[name]) for name, value in settings.items()}
        changed[section] = replace(part, **checked)
    return replace(config, **changed)


def _checked(place: str, value: Any, kind: Any) -> Any:
    """The value, if it is of the kind its setting has."""
    choices = get_args(kind)
    if choices and isinstance(choices[0], str):
        value = str(value) if isinstance(value, int) else value  # JSON reads the word 32 as a number
        _require(value in choices, f"{place} is {value!r}; choose {', '.join(choices)}")
        return value
    allowed = choices or (kind,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
    expected = " or ".join(getattr(t, "__name__", str(t)).replace("NoneType", "null") for t in allowed)
    _require(fits, f"{place} is {value!r}; expected {expected}")
    return value


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)
