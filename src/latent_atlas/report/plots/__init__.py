"""Arrays to PNG, GIF and MP4: image grids, film strips, maps, curves, animations, without torch.

Functions take numpy arrays and return a `matplotlib.figure.Figure` of fixed pixels; `save` writes
it.
"""

from latent_atlas.report.plots.animation import animation, save_animation
from latent_atlas.report.plots.boundaries import Against, boundaries_picture
from latent_atlas.report.plots.dots import Dots, dots_picture
from latent_atlas.report.plots.film_strip import Strip, strips_picture
from latent_atlas.report.plots.geometry import Space, spaces_picture
from latent_atlas.report.plots.heatmap import Field, Kind
from latent_atlas.report.plots.image_grid import comparison_sheet, sheet
from latent_atlas.report.plots.levels import Level, levels_picture
from latent_atlas.report.plots.lines import Curves, Trend, Trends, curves_picture, trends_picture
from latent_atlas.report.plots.map import map_picture
from latent_atlas.report.plots.reliability import Groups, reliability_picture
from latent_atlas.report.plots.style import png, save

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
    "curves_picture",
    "dots_picture",
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
