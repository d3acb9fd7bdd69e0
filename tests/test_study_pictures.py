"""Pictures of repetitions: means with their spread along an axis, and contestants' dots beside each
other.
"""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from latent_atlas.errors import UserError
from latent_atlas.report.plots import Dots, Trend, Trends, dots_picture, png, trends_picture

AT = np.array([50.0, 200.0, 800.0])


def trend(level: float) -> Trend:
    return Trend(AT, np.full(3, level), np.full(3, 0.1))


def test_trends_have_a_panel_each_and_the_same_lines_everywhere() -> None:
    panels = [
        Trends("blur", "AUROC", {"D_z": trend(0.9), "D_x": trend(0.7)}),
        Trends("turn", "AUROC", {"D_x": trend(0.5)}),
    ]
    figure = trends_picture(panels, "real images", logarithmic=True, level=0.9)
    first, second = figure.axes
    assert first.get_xlabel() == second.get_xlabel() == "real images"
    assert list(first.get_xticks()) == list(AT)
    drawn = {line.get_color() for line in second.lines[:1]}
    assert drawn == {first.lines[1].get_color()}  # D_x, though it comes first here
    assert any(np.allclose(line.get_ydata(), 0.9) for line in second.lines)
    assert png(figure)[:4] == b"\x89PNG"


def test_bands_are_one_spread_wide() -> None:
    figure = trends_picture([Trends("a", "", {"x": trend(0.5)})], "step", limits=(0.0, 1.0))
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(0.4)
    assert corners[:, 1].max() == pytest.approx(0.6)
    assert figure.axes[0].get_ylim() == (0, 1)


def test_there_is_something_to_draw() -> None:
    with pytest.raises(UserError, match="0 panels"):
        trends_picture([], "step")
    with pytest.raises(UserError, match="7 series"):
        trends_picture([Trends("a", "", {str(i): trend(float(i)) for i in range(7)})], "step")
    with pytest.raises(UserError, match="there is nothing to draw"):
        dots_picture([Dots("a", "", {})])


def test_contestants_keep_their_colours_where_one_has_no_dots() -> None:
    full = {name: np.arange(3.0) + k for k, name in enumerate(("prior", "box", "radius"))}
    figure = dots_picture([Dots("one", "", full), Dots("two", "", full | {"box": np.array([])})])
    dots = [[c for c in axes.collections if isinstance(c, PathCollection)] for axes in figure.axes]
    assert [len(group) for group in dots] == [3, 2]
    assert np.array_equal(dots[0][2].get_facecolor(), dots[1][1].get_facecolor())
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [
        "prior",
        "box",
        "radius",
    ]


def test_a_bar_is_a_mean_and_a_thin_line_a_repetition() -> None:
    axes = dots_picture(
        [Dots("one", "", {"a": np.array([1.0, 2.0, 6.0]), "b": np.array([2.0, 3.0, 7.0])})]
    ).axes[0]
    lines = [np.array(line.get_xdata(), float).tolist() for line in axes.lines]
    assert [3.0, 3.0] in lines
    assert [4.0, 4.0] in lines
    assert [line for line in lines if line[0] != line[1]] == [[1.0, 2.0], [2.0, 3.0], [6.0, 7.0]]
