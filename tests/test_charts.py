"""Planes: every pixel is a code, so charts can be checked against the map point by point."""

import pytest
import torch

from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.geometry.planes import Window, chart, fit_window, plane_through


def test_the_plane_contains_its_three_codes(generator: torch.Generator) -> None:
    codes = torch.randn(3, 7, generator=generator)
    plane = plane_through(*codes)
    torch.testing.assert_close(plane.axes @ plane.axes.T, torch.eye(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(plane.lift(plane.project(codes)), codes)
    assert plane.distance(codes).max() < 1e-4
    a, b, c = plane.project(codes)
    assert a.abs().max() < 1e-6
    assert b[0] > 0
    assert b[1].abs() < 1e-5
    assert c[1] > 0


def test_three_codes_on_a_line_span_no_plane() -> None:
    a, b = torch.zeros(4), torch.ones(4)
    with pytest.raises(UserError, match="one line"):
        plane_through(a, b, 3 * b)
    with pytest.raises(UserError, match="one line"):
        plane_through(a, a, b)


def test_every_pixel_of_a_chart_is_the_map_at_its_code() -> None:
    ratio = ExactRatio(two_clusters(5, 3.0), StandardNormal(5))
    plane = plane_through(torch.zeros(5), torch.eye(5)[0], torch.eye(5)[3])
    seen = chart(ratio, plane, Window(-2.0, 2.0, -1.0, 3.0), resolution=9)
    z = torch.zeros(1, 5)
    z[0, 0], z[0, 3] = 1.0, -0.5  # column 6 of -2..2, row 1 of -1..3
    for name, quantity in (("log_prob", ratio.log_prob), ("confusion", ratio.confusion)):
        torch.testing.assert_close(seen.fields[name][1, 6], quantity(z)[0])


def test_the_window_is_square_and_holds_all_it_was_fitted_to(generator: torch.Generator) -> None:
    coordinates = torch.randn(20, 2, generator=generator) * torch.tensor([3.0, 1.0])
    window = fit_window(coordinates)
    assert window.right - window.left == pytest.approx(window.top - window.bottom, rel=1e-5)
    x, y = coordinates.T
    assert window.left < x.min() < x.max() < window.right
    assert window.bottom < y.min() < y.max() < window.top
