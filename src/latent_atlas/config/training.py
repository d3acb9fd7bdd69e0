"""How the encoder E, the decoder G and the image discriminator D_x train."""

from dataclasses import dataclass
from typing import Literal

from latent_atlas.errors import checked, require

__all__ = ["TrainConfig", "TrainingMode"]

TrainingMode = Literal["separate", "online", "adversarial"]


@checked
@dataclass(frozen=True)
class TrainConfig:
    """How E, G and D_x train; the terms of the loss are those of `training.losses`."""

    mode: TrainingMode = "separate"
    """When the latent discriminator D_z trains: `separate` after the networks, on their finished
    codes; `online` beside them; `adversarial` beside them, and E also trains to fool it."""
    steps: int = 10_000
    """Training steps of E, G and D_x, 1 or more."""
    passes: int | None = None
    """Passes over the training images (epochs) at most, 1 or more: the command `train` takes fewer
    `steps` of few images; null sets no limit."""
    batch_size: int = 128
    """Images per step, 1 or more."""
    learning_rate: float = 1e-3
    """Learning rate of E and G, above 0: constant, then lowered to 0 over the last `decay` of the
    run."""
    discriminator_learning_rate: float = 4e-4
    """Learning rate of D_x, and of D_z where it trains beside the networks; it follows the same
    schedule."""
    decay: float = 0.4
    """Fraction of the run, in [0, 1], over which the learning rates fall to 0 (half a cosine)."""
    reconstruction: Literal["l1", "l2"] = "l2"
    """Reconstruction error: mean absolute (l1) or mean squared (l2) difference per pixel."""
    kl_weight: float = 2e-4
    """Weight, 0 or more, of the KL term (nats per image) against the error per pixel."""
    kl_warmup: int = 500
    """Steps over which the weights of the KL and isometry terms grow from 0."""
    adversarial: Literal["relativistic", "hinge", "non-saturating", "none"] = "relativistic"
    """Loss of D_x and of G against it; `none` trains a plain VAE without D_x."""
    adversarial_weight: float = 0.0017
    """Weight of the adversarial loss of G, 0 or more; with `balance`, its share of the gradient of
    the reconstruction. More makes images look more real and follow their originals less; see
    benchmarks/reconstruction.py."""
    prior_share: float = 0.0
    """Fraction, in [0, 1], of the fake images that D_x sees that are decoded from the prior; the
    others are reconstructions."""
    balance: bool = False
    """Set the adversarial weight by gradient norms at the last layer of G (Esser et al. 2021)."""
    feature_matching: float = 0.0
    """Weight, 0 or more, of the reconstruction error in features of D_x (Larsen et al. 2016)."""
    isometry: float = 0.0
    """Weight, 0 or more, of the term that keeps G near a scaled isometry, so that equal steps in Z
    change images equally; see `losses.isometry` and benchmarks/isometry.py."""
    r1: float = 0.02
    """Weight, 0 or more, of the gradient penalty of D_x at real images."""
    r2: float = 0.02
    """Weight, 0 or more, of the gradient penalty of D_x at generated images."""
    penalty_every: int = 16
    """Compute R1, R2 and isometry once in this many steps, with their weights multiplied by it
    (Karras et al. 2020)."""
    discriminator_start: int = 0
    """D_x starts to train after this many steps."""
    adversarial_start: int = 500
    """The adversarial loss reaches G after this many steps: after `discriminator_start`, so that
    D_x has trained by then, and before the last step."""
    fool_weight: float = 0.01
    """Mode `adversarial` only: weight, 0 or more, of the loss of E against D_z."""
    ema: float = 0.999
    """Decay per step of the averaged weights of E and G, the ones that are saved, in [0, 1); 0
    saves the last weights."""
    seed: int = 0
    """Seed of the weights, the batches and the noise, in [0, 2^63)."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 or mps."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Floating point of the networks: 32 bits, or bfloat16 where it is safe; `auto` is bf16 where a
    short measurement finds it much faster, and the run keeps the choice."""
    compile: bool = False
    """Compile the networks with torch.compile: slower to start, faster per step on a GPU."""
    checkpoint_every: int = 1_000
    """Save the state for `--resume` every this many steps."""
    log_every: int = 50
    """Write the losses to log.jsonl every this many steps."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name in ("steps", "batch_size", "penalty_every", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name} is {value}; choose 1 or more")
        require(
            self.passes is None or self.passes >= 1,
            f"train.passes is {self.passes}; choose 1 or more, or null for all steps",
        )
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
            f"train.prior_share is {self.prior_share}; choose a fraction from 0 to 1",
        )
        require(0 <= self.decay <= 1, f"train.decay is {self.decay}; choose a fraction from 0 to 1")
        require(
            self.adversarial == "none"
            or self.discriminator_start <= self.adversarial_start < self.steps,
            f"train.adversarial_start is {self.adversarial_start}; D_x has to train before its "
            "loss reaches G: choose a step from train.discriminator_start "
            f"({self.discriminator_start}) to below train.steps ({self.steps}), "
            "or set train.adversarial to none",
        )
        require(
            self.adversarial != "none" or self.feature_matching == 0,
            f"train.feature_matching is {self.feature_matching}, but train.adversarial is none, so "
            "there is no D_x; set train.adversarial to relativistic, hinge or non-saturating",
        )
