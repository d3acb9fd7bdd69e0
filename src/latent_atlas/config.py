"""What a run is made of: frozen dataclasses, the preset table, and their JSON.

This room imports no torch, so that the command line answers `--help` at once.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from latent_atlas.errors import UserError

__all__ = [
    "BOUNDARIES",
    "PRESETS",
    "Config",
    "DataConfig",
    "MapConfig",
    "ModelConfig",
    "TrainConfig",
    "preset_for_size",
    "with_settings",
]

Arm = Literal["separate", "online", "adversarial"]
BOUNDARIES = ("prior",)


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
    adversarial_weight: float = 0.002
    """Fixed weight of D_x's loss, or, balanced, the share of the reconstruction's gradient it may have. More makes
    images look more real and follow their originals less: see benchmarks/reconstruction.py."""
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
    z_real: Literal["samples", "means"] = "samples"
    """Real codes drawn afresh from q(z|x) at each step, or the fixed means."""
    width: int = 256
    depth: int = 3
    """Residual blocks of D_z."""
    steps: int = 4_000
    """Upper limit; learning stops earlier when the held-out loss has not fallen for `patience` checks."""
    batch_size: int = 512
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    check_every: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse what would only fail later."""
        _require(self.boundary in BOUNDARIES, f"no boundary '{self.boundary}'; choose {', '.join(BOUNDARIES)}")
        _require(self.weight_decay >= 0, f"map.weight_decay is {self.weight_decay}; choose 0 or more")
        for name in ("width", "depth", "steps", "batch_size", "check_every", "patience"):
            value = getattr(self, name)
            _require(value >= 1, f"map.{name} is {value}; choose 1 or more")
        _require(self.learning_rate > 0, f"map.learning_rate is {self.learning_rate}; choose a positive number")


@dataclass(frozen=True)
class Config:
    """Everything a run depends on; with the images, it determines the run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    map: MapConfig = field(default_factory=MapConfig)

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


def preset_for_size(image_size: int) -> str:
    """Name of the generic preset for square images of `image_size` pixels.

    Example:
        >>> preset_for_size(48)
        '64px'
    """
    for size in (16, 32, 64, 128):
        if image_size <= size:
            return f"{size}px"
    return "256px"


def _with_values(config: Config, values: dict[str, dict[str, Any]]) -> Config:
    """Replace settings, section by section at once, so that those which belong together are judged together."""
    sections = [f.name for f in fields(config)]
    for section, settings in values.items():
        _require(section in sections, f"no section '{section}' in the configuration; there are {', '.join(sections)}")
        part = getattr(config, section)
        types = get_type_hints(type(part))
        for name in settings:
            _require(name in types, f"no setting '{section}.{name}'; {section} has {', '.join(types)}")
        checked = {name: _checked(f"{section}.{name}", value, types[name]) for name, value in settings.items()}
        config = replace(config, **{section: replace(part, **checked)})
    return config


def _checked(place: str, value: Any, kind: Any) -> Any:
    """The value, if it is of the kind its setting has."""
    choices = get_args(kind)
    if choices and isinstance(choices[0], str):
        value = str(value) if isinstance(value, int) else value  # JSON reads the word 32 as a number
        _require(value in choices, f"{place} is {value!r}; choose {', '.join(choices)}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    allowed = choices or (kind,)
    fits = isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))
    expected = " or ".join(getattr(t, "__name__", str(t)).replace("NoneType", "null") for t in allowed)
    _require(fits, f"{place} is {value!r}; expected {expected}")
    return value


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)


def _generic(image_size: int, width: int, latent_dim: int, batch_size: int, steps: int) -> Config:
    """A starting point for photographs of one size, in colour."""
    return Config(
        model=ModelConfig(image_size, 3, latent_dim, width=width, discriminator_width=width),
        train=TrainConfig(steps=steps, batch_size=batch_size),
    )


PRESETS: dict[str, Config] = {
    "digits": Config(
        data=DataConfig(source="digits"),
        model=ModelConfig(image_size=8, channels=1, latent_dim=8, width=24, discriminator_width=24),
        train=TrainConfig(
            adversarial_weight=0.01,
            steps=800,
            batch_size=64,
            kl_weight=5e-4,
            kl_warmup=200,
            adversarial_start=150,
            ema=0.995,
            checkpoint_every=200,
        ),
        map=MapConfig(steps=1_200, width=128),
    ),
    "fashion-mnist": Config(
        data=DataConfig(source="fashion-mnist"),
        model=ModelConfig(image_size=28, channels=1, latent_dim=16, width=32, discriminator_width=32),
        train=TrainConfig(steps=5_000, batch_size=256),
    ),
    "mnist": Config(
        data=DataConfig(source="mnist"),
        model=ModelConfig(image_size=28, channels=1, latent_dim=12, width=32, discriminator_width=32),
        train=TrainConfig(steps=3_000),
    ),
    "faces": Config(
        data=DataConfig(source="faces"),
        model=ModelConfig(image_size=64, channels=3, latent_dim=32, width=24, discriminator_width=24),
        train=TrainConfig(steps=4_000, batch_size=64),
    ),
    "16px": _generic(16, 48, 16, 256, 10_000),
    "32px": _generic(32, 48, 32, 256, 20_000),
    "64px": _generic(64, 48, 64, 128, 30_000),
    "128px": _generic(128, 32, 128, 64, 40_000),
    "256px": _generic(256, 24, 128, 32, 50_000),
}
"""Named starting points; every setting can be overridden with `--set section.name=value`."""
