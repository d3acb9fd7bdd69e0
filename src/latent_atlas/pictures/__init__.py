"""Arrays to PNG: sheets, strips, maps, curves. Knows no torch model.

Every function takes numpy arrays and gives a `matplotlib.figure.Figure` of fixed pixels; `save` writes it.
"""

from latent_atlas.pictures.curves import Curves, curves_picture
from latent_atlas.pictures.drawing import png, save
from latent_atlas.pictures.maps import Field, map_picture
from latent_atlas.pictures.sheets import comparison_sheet, sheet
from latent_atlas.pictures.strips import Strip, strips_picture

__all__ = [
    "Curves",
    "Field",
    "Strip",
    "comparison_sheet",
    "curves_picture",
    "map_picture",
    "png",
    "save",
    "sheet",
    "strips_picture",
]
