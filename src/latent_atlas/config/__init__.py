"""What a run is made of: frozen dataclasses and their JSON.

This room imports no torch, so that the command line answers `--help` at once.
"""

from latent_atlas.config.density_ratio import BOUNDARIES, MapConfig, mixture_parts
from latent_atlas.config.run import Config, DataConfig, ModelConfig, TrainConfig, with_settings

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
