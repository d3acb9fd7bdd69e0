"""A run: its images, its networks, how they learn, and all of it with the map as JSON."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.parse import require, split_setting, with_values
from latent_atlas.errors import UserError

__all__ = ["Config", "DataConfig", "ModelConfig", "TrainConfig", "with_settings"]

TrainingMode = Literal["separate", "online", "adversarial"]


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
        require(
            8 <= self.image_size <= 256,
            f"model.image_size is {self.image_size}; choose 8 to 256 pixels",
        )
        require(1 <= self.channels <= 4, f"model.channels is {self.channels}; choose 1, 2, 3 or 4")
        for name in ("latent_dim", "width", "depth", "discriminator_width"):
            value = getattr(self, name)
            require(value >= 1, f"model.{name} is {value}; choose 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """How E, G and D_x learn; the terms are those of `losses`."""

    arm: TrainingMode = "separate"
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
    """Steps over which the weights of KL and isometry grow from 0."""
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
    isometry: float = 0.0
    """Weight of keeping G near a scaled isometry, so that equal steps in Z change images equally; 0 for none. It is
    computed once in `penalty_every` steps and weighted by as much; see `losses.isometry` and benchmarks/isometry.py."""
    r1: float = 0.02
    """Weight of the gradient penalty of D_x on real images."""
    r2: float = 0.02
    """The same on generated images."""
    penalty_every: int = 4
    """R1, R2 and isometry are computed once in so many steps and weighted by as much (Karras et al. 2020)."""
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
            require(value >= 1, f"train.{name} is {value}; choose 1 or more")
        for name in ("learning_rate", "discriminator_learning_rate"):
            value = getattr(self, name)
            require(value > 0, f"train.{name} is {value}; choose a positive number")
        for name in (
            "kl_weight",
            "adversarial_weight",
            "feature_matching",
            "isometry",
            "r1",
            "r2",
            "fool_weight",
        ):
            value = getattr(self, name)
            require(value >= 0, f"train.{name} is {value}; choose 0 or more")
        require(0 <= self.seed < 2**63, f"train.seed is {self.seed}; choose 0 to below 2^63")
        require(0 <= self.ema < 1, f"train.ema is {self.ema}; choose 0 (none) to below 1")
        require(
            0 <= self.prior_share <= 1,
            f"train.prior_share is {self.prior_share}; choose a share from 0 to 1",
        )
        require(0 <= self.decay <= 1, f"train.decay is {self.decay}; choose a share from 0 to 1")
        require(
            self.adversarial == "none"
            or self.discriminator_start <= self.adversarial_start < self.steps,
            f"train.adversarial_start is {self.adversarial_start}; D_x has to learn, from train.discriminator_start "
            f"{self.discriminator_start} on, before its loss reaches G, and G to learn from it before the last step "
            f"{self.steps}: set it between them, or train.adversarial to none",
        )
        require(
            self.adversarial != "none" or self.feature_matching == 0,
            "train.feature_matching needs D_x; set train.adversarial to something else than none",
        )


@dataclass(frozen=True)
class Config:
    """Everything a run depends on; with the images, it determines the run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    map: MapConfig = field(default_factory=MapConfig)

    def __post_init__(self) -> None:
        """Refuse sections that cannot go together."""
        require(
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
            raise UserError(
                f"the configuration is not JSON ({error}); restore config.json of the run"
            ) from None
        require(
            isinstance(sections, dict),
            "the configuration is not a JSON object; restore config.json of the run",
        )
        version = sections.pop("format", 1)
        for name, section in sections.items():
            require(
                isinstance(section, dict),
                f"section '{name}' of the configuration is {section!r}, no JSON object",
            )
        require(
            version == 1,
            f"the configuration has format {version}, this version reads 1; upgrade latent-atlas",
        )
        return _with_sections(cls(), sections)

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

    Examples:
        >>> with_settings(Config(), ["train.steps=5000", "train.reconstruction=l1"]).train.steps
        5000
    """
    values: dict[str, dict[str, object]] = {}
    for setting in settings:
        place, value = split_setting(setting)
        section, dot, name = place.partition(".")
        require(bool(dot and name), f"setting '{setting}' is not of the form section.name=value")
        values.setdefault(section, {})[name] = value
    return _with_sections(config, values)


def _with_sections(config: Config, values: dict[str, dict[str, object]]) -> Config:
    """Replace settings all at once, so that those which belong together are checked together."""
    sections = [f.name for f in fields(config)]
    for name in values:
        require(
            name in sections,
            f"no section '{name}' in the configuration; choose {', '.join(sections)}",
        )
    parts = {
        name: with_values(
            getattr(config, name), settings, called=f"section '{name}'", prefix=f"{name}."
        )
        for name, settings in values.items()
    }
    return replace(config, **parts)
