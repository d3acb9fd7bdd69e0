"""An atlas as a folder without a server: networks as ONNX, codes as arrays, and the page."""

from latent_atlas.explorer.static_export.export import Written, check, write_folder
from latent_atlas.explorer.static_export.functions import networks

__all__ = ["Written", "check", "networks", "write_folder"]
