"""An atlas as a folder without a server: networks as ONNX, codes as arrays, and the page."""

from latent_atlas.atlas.functions import networks
from latent_atlas.explorer.static_export.export import Written, add_page, check, write_folder

__all__ = ["Written", "add_page", "check", "networks", "write_folder"]
