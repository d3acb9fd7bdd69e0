"""An atlas that needs no server: its networks as ONNX, its codes as arrays, and the explorer's page beside them."""

from latent_atlas.explorer.static_export.export import Written, check, write_folder
from latent_atlas.explorer.static_export.functions import networks

__all__ = ["Written", "check", "networks", "write_folder"]
