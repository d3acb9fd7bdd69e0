"""Named configurations; `--set section.name=value` overrides any of their settings."""

from collections.abc import Sequence
from dataclasses import replace

from latent_atlas.config.data import DataConfig
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.model import FEWEST_PATCHES, ModelConfig
from latent_atlas.config.parse import split_setting
from latent_atlas.config.run import Config, with_settings
from latent_atlas.config.training import TrainConfig

__all__ = [
    "PRESETS",
    "decoder_of_codes",
    "for_cpu",
    "preset_for_size",
    "quick",
    "with_changes",
    "with_image_size",
    "with_images",
]

PATCHED = 16  # pixels from which smaller networks see patches
FEWEST_OF_MAP = 100  # steps that the map of a short run may take
# In the same time on a CPU, patches of two pixels at twice the width, four for E, and a D_x of half
# of the width lower the error; smaller batches, more weight of D_x, matched features and less
# weight of the KL term make images sharper, and samples of the map too. Where colours are flat, as
# in drawings, the absolute difference makes them sharper still, with less weight of D_x; but it can
# lose thin lines on a plain ground. See benchmarks/model_variants.py; for the passes over few
# images, benchmarks/few_images.py.
SMALL = TrainConfig(batch_size=16, passes=150)
SHARP = replace(SMALL, kl_weight=5e-5, adversarial_weight=0.0025, feature_matching=0.03)
FLAT = replace(SMALL, reconstruction="l1", kl_weight=1e-4, adversarial_weight=0.0015)


def preset_for_size(image_size: int) -> str:
    """Name of the generic preset for square images of `image_size` pixels.

    Examples:
        >>> preset_for_size(48)
        '64px'
    """
    for size in (16, 32, 64, 128):
        if image_size <= size:
            return f"{size}px"
    return "256px"


def quick(config: Config) -> Config:
    """A smaller model of the same kind that trains in some minutes on two CPU cores.

    Examples:
        >>> quick(PRESETS["64px"]).model.image_size
        32
    """
    return _smaller(config, side=32, latent_dim=32, steps=4_500)


def for_cpu(config: Config) -> Config:
    """A smaller model of the same kind that trains within an hour on two CPU cores.

    Examples:
        >>> for_cpu(PRESETS["128px"]).model.image_size
        64
    """
    return _smaller(config, side=64, latent_dim=64, steps=24_000)


def _smaller(config: Config, *, side: int, latent_dim: int, steps: int) -> Config:
    """At most so many pixels and coordinates, and so many steps of few images.

    A configuration of no more pixels and images than that is small already, and stays as it is.
    """
    model, train = config.model, config.train
    few = FLAT if train.reconstruction == "l1" else SHARP
    few_images = train.steps * train.batch_size <= steps * few.batch_size
    if model.image_size <= side and few_images:
        return config
    side, latent_dim = min(model.image_size, side), min(model.latent_dim, latent_dim)
    model = _networks(replace(model, image_size=side, latent_dim=latent_dim))
    return replace(config, model=model, train=replace(few, steps=steps))


def _networks(model: ModelConfig) -> ModelConfig:
    """The same model with the smaller networks that learn most in a given time on a CPU."""
    small = replace(model, width=16, discriminator_width=16, patch_size=1, encoder_patch_size=None)
    if model.image_size < PATCHED:
        return small
    return replace(small, width=32, patch_size=2, encoder_patch_size=4)


def with_changes(config: Config, settings: Sequence[str]) -> Config:
    """A preset with settings `section.name=value`, to which others of the preset give way.

    What begins after some steps begins earlier in a short run; without D_x no features are matched;
    E takes patches of `patch_size` where that is set, or where its own do not fit.

    Arguments:
        config: The preset.
        settings: As for `with_settings`.

    Raises:
        UserError: as for `with_settings`.

    Examples:
        >>> with_changes(PRESETS["glyphs"], ["train.adversarial=none"]).train.feature_matching
        0.0
    """
    for place, value in map(split_setting, settings):
        if place == "train.steps" and type(value) is int:
            config = with_steps(config, value)
        elif place == "model.image_size" and type(value) is int:
            config = with_image_size(config, value)
        elif place == "model.patch_size":
            config = replace(config, model=replace(config.model, encoder_patch_size=None))
        elif (place, value) == ("train.adversarial", "none"):
            config = replace(config, train=replace(config.train, feature_matching=0.0))
    return with_settings(config, list(settings))


def with_image_size(config: Config, image_size: int) -> Config:
    """The same for square images of so many pixels a side.

    E takes patches of `patch_size` where fewer than four of its own would fit on a side.

    Examples:
        >>> with_image_size(PRESETS["faces"], 8).model.patch_of_encoder
        2
    """
    model = config.model
    patch = model.encoder_patch_size
    if patch is not None and image_size < FEWEST_PATCHES * patch:
        patch = None
    return replace(config, model=replace(model, image_size=image_size, encoder_patch_size=patch))


def with_images(config: Config, n: int) -> Config:
    """The same for `n` images to train on: if they are few, with no more steps than `passes` allow.

    Examples:
        >>> with_images(quick(PRESETS["64px"]), 100).train.steps
        937
    """
    train = config.train
    if train.passes is None:
        return config
    steps = max(1, train.passes * n // min(train.batch_size, n))
    return replace(config, train=_of_steps(train, steps)) if steps < train.steps else config


def with_steps(config: Config, steps: int) -> Config:
    """A run of so many steps of any images, whose map has no more of them, but up to 100.

    What begins or ends after some steps of the networks does so after a third of them at most.

    Examples:
        >>> short = with_steps(PRESETS["digits"], 30).train
        >>> short.adversarial_start, short.kl_warmup
        (10, 10)
    """
    train = _of_steps(replace(config.train, passes=None), steps)
    density_ratio = replace(config.map, steps=min(config.map.steps, max(steps, FEWEST_OF_MAP)))
    return replace(config, train=train, map=density_ratio)


def _of_steps(train: TrainConfig, steps: int) -> TrainConfig:
    """So many steps; what begins after some of them does so after a third at most."""
    start = train.adversarial_start if train.adversarial_start < steps else steps // 3
    return replace(
        train,
        steps=steps,
        adversarial_start=start,
        discriminator_start=min(train.discriminator_start, start),
        kl_warmup=min(train.kl_warmup, max(steps // 3, 1)),
    )


def decoder_of_codes(image_size: int, channels: int, most: int) -> Config:
    """The decoder of codes that another network makes: of 256 coordinates, or of the most."""
    latent_dim = min(256, most)
    return Config(
        model=ModelConfig(image_size, channels, latent_dim, width=16, discriminator_width=16),
        train=TrainConfig(
            steps=3_000,
            batch_size=64,
            kl_weight=2e-3,
            adversarial="none",
            checkpoint_every=100,
        ),
    )


def _generic(image_size: int, width: int, latent_dim: int, batch_size: int, steps: int) -> Config:
    """A configuration for colour photographs of one size."""
    return Config(
        model=ModelConfig(
            image_size, 3, latent_dim, width=width, discriminator_width=width, patch_size=2
        ),
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
        # A width of 128 memorises so few codes.
        map=MapConfig(width=64, steps=800, batch_size=512, check_every=25),
    ),
    "fashion-mnist": Config(
        data=DataConfig(source="fashion-mnist"),
        model=ModelConfig(
            image_size=28, channels=1, latent_dim=16, width=32, discriminator_width=32
        ),
        train=TrainConfig(steps=5_000, batch_size=256),
    ),
    "mnist": Config(
        data=DataConfig(source="mnist"),
        model=ModelConfig(
            image_size=28, channels=1, latent_dim=12, width=32, discriminator_width=32
        ),
        train=TrainConfig(steps=3_000),
    ),
    "faces": Config(
        data=DataConfig(source="faces"),
        model=_networks(ModelConfig(image_size=64, channels=3, latent_dim=32)),
        train=replace(FLAT, steps=12_000),
    ),
    "glyphs": Config(
        data=DataConfig(source="glyphs"),
        model=_networks(ModelConfig(image_size=64, channels=1, latent_dim=16)),
        train=replace(SHARP, steps=12_000),
    ),
    "16px": _generic(16, 64, 16, 256, 10_000),
    "32px": _generic(32, 64, 32, 256, 20_000),
    "64px": _generic(64, 64, 64, 128, 30_000),
    "128px": _generic(128, 48, 128, 64, 40_000),
    "256px": _generic(256, 32, 128, 32, 50_000),
}
