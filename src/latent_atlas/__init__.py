"""A map of a learned latent space, and the routes through it.

`Atlas` and `LatentMap` are loaded on first use, so that importing the package does not import
torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.density_ratio.latent_map import LatentMap

__all__ = ["Atlas", "LatentMap", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Atlas":
        from latent_atlas.atlas.atlas import Atlas

        return Atlas
    if name == "LatentMap":
        from latent_atlas.density_ratio.latent_map import LatentMap

        return LatentMap
    raise AttributeError(f"module 'latent_atlas' has no attribute {name!r}")
