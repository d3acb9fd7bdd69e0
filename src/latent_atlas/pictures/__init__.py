"""Arrays to PNG, GIF and MP4: sheets, strips, maps, curves, journeys in motion. Knows no torch model.

Every function takes numpy arrays and gives a `matplotlib.figure.Figure` of fixed pixels; `save` writes it.
"""

from latent_atlas.pictures.animation import animation, save_animation
from latent_atlas.pictures.boundaries import Against, boundaries_picture
from latent_atlas.pictures.contests import Dots, contests_picture
from latent_atlas.pictures.curves import Curves, curves_picture
from latent_atlas.pictures.drawing import png, save
from latent_atlas.pictures.fields import Field, Kind
from latent_atlas.pictures.levels import Level, levels_picture
from latent_atlas.pictures.maps import map_picture
from latent_atlas.pictures.reliability import Groups, reliability_picture
from latent_atlas.pictures.sheets import comparison_sheet, sheet
from latent_atlas.pictures.spaces import Space, spaces_picture
from latent_atlas.pictures.strips import Strip, strips_picture
from latent_atlas.pictures.trends import Trend, Trends, trends_picture

__all__ = [
    "Against",
    "Curves",
    "Dots",
    "Field",
    "Groups",
    "Kind",
    "Level",
    "Space",
    "Strip",
    "Trend",
    "Trends",
    "animation",
    "boundaries_picture",
    "comparison_sheet",
    "contests_picture",
    "curves_picture",
    "levels_picture",
    "map_picture",
    "png",
    "reliability_picture",
    "save",
    "save_animation",
    "sheet",
    "spaces_picture",
    "strips_picture",
    "trends_picture",
]
