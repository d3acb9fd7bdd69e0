"""Every setting of a run as frozen dataclasses, its presets, and how `name=value` is read.

This room imports no torch, so that the command line answers `--help` at once.
"""

from latent_atlas.config.data import DataConfig
from latent_atlas.config.density_ratio import BOUNDARIES, MapConfig, mixture_parts
from latent_atlas.config.model import ModelConfig
from latent_atlas.config.run import Config, with_settings
from latent_atlas.config.training import TrainConfig

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
