"""Plates: what they show of a map is what the map says, checked on worlds whose answer is known."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from latent_atlas.boundary import PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import MapConfig
from latent_atlas.density.base import DensityRatioModel, StandardNormal, value_and_gradient
from latent_atlas.density.toys import arc
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.geometry.planes import Plane, Window, chart
from latent_atlas.report.figures.boundaries import draw_boundaries, fit_against
from latent_atlas.report.figures.levels import draw_levels
from latent_atlas.report.figures.map import NEAR
from latent_atlas.report.figures.reliability import draw_reliability
from latent_atlas.report.plots import (
    Against,
    Groups,
    Level,
    boundaries_picture,
    levels_picture,
    png,
    reliability_picture,
)
from latent_atlas.report.plots.levels import arrows
from latent_atlas.shapes import Latents, Values

EXTENT = (-3.0, 3.0, -2.0, 4.0)
QUICK = MapConfig(width=16, depth=1, steps=40, check_every=20)
ANCHORS = [torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]), torch.tensor([0.0, 2.0])]


def panels(figure: Figure) -> list[Axes]:
    """The axes that show the plane, without colour bars."""
    return [axes for axes in figure.axes if axes.get_images() or axes.get_xlim() == EXTENT[:2]]


def texts(figure: Figure) -> list[str]:
    return [
        text.get_text()
        for text in (*figure.texts, *(text for axes in figure.axes for text in axes.texts))
    ]


def places_of(axes: Axes) -> list[np.ndarray]:
    """Where the dots of each scatter are."""
    return [
        np.asarray(dots.get_offsets()) for dots in axes.collections if type(dots) is PathCollection
    ]


def quiver_of(axes: Axes) -> Quiver:
    (found,) = [part for part in axes.collections if isinstance(part, Quiver)]
    return found


def slope_to_the_right(rows: int = 41) -> np.ndarray:
    """Realness that crosses 1/2 on the line x = 0.6 and nowhere else."""
    x = np.linspace(EXTENT[0], EXTENT[1], rows)
    return np.tile(1 / (1 + np.exp(-2 * (x - 0.6))), (rows, 1))


def against(name: str, notes: tuple[str, ...] = ()) -> Against:
    fakes = np.array([[0.5, 1.0], [-1.0, 3.0], [2.0, -1.0]])
    return Against(name, slope_to_the_right(), fakes, np.array([True, False, True]), notes)


class TestBoundaries:
    @pytest.mark.parametrize("count", [1, 2, 4, 5, 8])
    def test_every_boundary_has_its_panel_name_and_notes_in_their_order(self, count: int) -> None:
        names = [f"boundary {number}" for number in range(count)]
        notes = [f"KL(q || r) {number}.5 nats" for number in range(count)]
        shown = [against(name, (note,)) for name, note in zip(names, notes, strict=True)]
        figure = boundaries_picture(shown, EXTENT, np.zeros((3, 2)))
        assert len(panels(figure)) == count
        headings = [
            next(text.get_text() for text in axes.texts if text.get_text())
            for axes in panels(figure)
        ]
        assert headings == names
        assert [text for text in texts(figure) if text in notes] == notes
        assert sum("probability" in text for text in texts(figure)) == 1

    def test_the_half_contour_is_where_realness_crosses_one_half(self) -> None:
        (axes,) = panels(boundaries_picture([against("prior")], EXTENT, np.zeros((0, 2))))
        (half,) = [part for part in axes.collections if part.get_gid() == "half"]
        assert isinstance(half, QuadContourSet)
        vertices = half.get_paths()[0].vertices
        np.testing.assert_allclose(np.asarray(vertices)[:, 0], 0.6, atol=0.01)
        assert np.ptp(np.asarray(vertices)[:, 1]) == pytest.approx(EXTENT[3] - EXTENT[2])

    def test_a_realness_that_never_crosses_has_no_half_contour(self) -> None:
        flat = Against("radius", np.full((9, 9), 0.4), np.zeros((1, 2)), np.array([True]))
        (axes,) = panels(boundaries_picture([flat], EXTENT, np.zeros((2, 2))))
        assert not [part for part in axes.collections if part.get_gid() == "half"]

    def test_codes_are_where_they_were_put_and_far_fakes_are_faint(self) -> None:
        real = np.array([[-1.0, 0.2], [1.2, 0.0]])
        (axes,) = panels(boundaries_picture([against("prior")], EXTENT, real))
        far, near, drawn = places_of(axes)
        np.testing.assert_allclose(far, against("prior").fakes[[1]])
        np.testing.assert_allclose(near, against("prior").fakes[[0, 2]])
        np.testing.assert_allclose(drawn, real)
        opacities = [
            dots.get_alpha() or 1.0 for dots in axes.collections if type(dots) is PathCollection
        ]
        assert opacities[0] < 0.5 < opacities[1]

    def test_texts_stay_inside_and_apart(self) -> None:
        notes = (
            "KL(q || r) 123.4 nats, 31 levels",
            "held-out cross-entropy 0.000 nats",
            "the map is overconfident",
        )
        figure = boundaries_picture(
            [against("gaussian-diagonal", notes)] * 8, EXTENT, np.zeros((1, 2))
        )
        boxes = [text.get_window_extent() for text in figure.texts]
        boxes += [
            text.get_window_extent()
            for axes in figure.axes
            for text in axes.texts
            if text.get_text()
        ]
        for index, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:index])

    def test_none_is_refused(self) -> None:
        with pytest.raises(UserError, match="at least one"):
            boundaries_picture([], EXTENT, np.zeros((0, 2)))


class TestLevels:
    def level(self, name: str = "sin t = 0") -> Level:
        x, y = np.meshgrid(np.linspace(-2.5, 2.5, 6), np.linspace(-1.5, 3.5, 6))
        places = np.stack([x.ravel(), y.ravel()], axis=1)
        grid = np.stack(
            np.meshgrid(np.linspace(*EXTENT[:2], 31), np.linspace(*EXTENT[2:], 31)), axis=-1
        )
        return Level(name, -np.sum(grid**2, -1) / 2, places, -places)

    def test_arrows_point_along_the_slopes_and_steeper_ones_are_longer(self) -> None:
        slopes = (
            np.random.default_rng(0).normal(size=(50, 2)) * np.geomspace(1e-3, 1e3, 50)[:, None]
        )
        drawn = arrows(slopes, longest=0.7)
        lengths, steepness = np.linalg.norm(drawn, axis=1), np.linalg.norm(slopes, axis=1)
        np.testing.assert_allclose(
            drawn / lengths[:, None], slopes / steepness[:, None], atol=1e-12
        )
        assert (np.diff(lengths[steepness.argsort()]) > 0).all()
        assert lengths.max() == pytest.approx(0.7)
        assert not arrows(np.zeros((3, 2)), longest=1.0).any()

    def test_the_score_of_a_normal_points_to_its_mode_from_everywhere(self) -> None:
        quiver = quiver_of(panels(levels_picture([self.level()], EXTENT))[0])
        drawn = np.stack([quiver.U, quiver.V], axis=1)
        inwards = -np.asarray(quiver.XY)
        cosines = (
            np.sum(drawn * inwards, 1)
            / np.linalg.norm(drawn, axis=1)
            / np.linalg.norm(inwards, axis=1)
        )
        np.testing.assert_allclose(cosines, 1)
        assert (quiver.angles, quiver.scale_units, quiver.scale) == ("xy", "xy", 1)

    @pytest.mark.parametrize("count", [1, 2, 6])
    def test_every_level_has_a_panel_a_name_and_colours_of_its_own(self, count: int) -> None:
        shown = [self.level(f"sin t = 0.{number}") for number in range(count)]
        shown = [
            Level(one.name, one.log_prob * (n + 1), one.places, one.slopes)
            for n, one in enumerate(shown)
        ]
        figure = levels_picture(shown, EXTENT, note="One sentence.")
        ranges = [axes.get_images()[0].get_clim() for axes in panels(figure)]
        assert len(set(ranges)) == len(ranges) == count
        assert {one.name for one in shown} | {"One sentence."} <= set(texts(figure))

    def test_where_the_score_is_unknown_there_is_no_arrow(self) -> None:
        level = self.level()
        level.slopes[:6] = np.nan
        quiver = quiver_of(panels(levels_picture([level], EXTENT))[0])
        np.testing.assert_allclose(quiver.XY, level.places[6:])

    def test_none_is_refused(self) -> None:
        with pytest.raises(UserError, match="at least one"):
            levels_picture([], EXTENT)


class TestReliability:
    said, seen, count = (
        np.array([0.1, 0.5, 0.9]),
        np.array([0.2, 0.4, 0.85]),
        np.array([400, 25, 100]),
    )

    def test_dots_are_at_said_and_seen_and_grow_with_the_count(self) -> None:
        other = Groups("corrected", self.seen, self.seen, self.count[::-1].copy())
        figure = reliability_picture(
            [Groups("as trained", self.said, self.seen, self.count), other], "A caption."
        )
        (axes,) = figure.axes
        first, second = (dots for dots in axes.collections if type(dots) is PathCollection)
        np.testing.assert_allclose(first.get_offsets(), np.stack([self.said, self.seen], axis=1))
        np.testing.assert_allclose(second.get_offsets(), np.stack([self.seen, self.seen], axis=1))
        assert first.get_sizes().argsort().tolist() == [1, 2, 0]
        assert second.get_sizes().argsort().tolist() == [1, 0, 2]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "calibrated",
            "as trained",
            "corrected",
        ]
        assert "A caption." in texts(figure)

    def test_the_diagonal_is_that_of_a_square(self) -> None:
        (axes,) = reliability_picture([Groups("as trained", self.said, self.seen, self.count)]).axes
        (diagonal,) = [line for line in axes.lines if line.get_gid() == "diagonal"]
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.bbox.width == pytest.approx(axes.bbox.height)

    def test_nothing_is_refused(self) -> None:
        empty = np.zeros(0)
        with pytest.raises(UserError, match="at least one"):
            reliability_picture([Groups("as trained", empty, empty, empty.astype(int))])


class Exact(LatentMap):
    """A map whose network is replaced by the closed form of the noised arc: log q_t of its
    Gaussians.
    """

    def logit(self, latents: torch.Tensor) -> Values:
        """log q_t - log p."""
        q = arc()
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        scale = torch.sqrt(cos**2 * q.scales**2 + sin**2)
        noised = type(q)(q.weights, cos * q.means, scale)
        return noised.log_prob(latents) - StandardNormal(2).log_prob(latents)

    def log_prob_and_score(self, latents: torch.Tensor) -> tuple[Values, torch.Tensor]:
        """Those of the closed form."""
        return value_and_gradient(self.log_prob, latents)


@pytest.fixture(scope="module")
def maps() -> dict[str, LatentMap]:
    draws = torch.Generator().manual_seed(0)
    train, held_out = (
        Codes(arc().sample(400, generator=draws)),
        Codes(arc().sample(200, generator=draws)),
    )
    return {name: fit_against(name, train, held_out, QUICK) for name in ("prior", "box", "radius")}


@pytest.fixture(scope="module")
def exact(maps: dict[str, LatentMap]) -> Exact:
    """With the correction of a logit three times too small, which it is not."""
    prior = maps["prior"]
    calibration = replace(prior.calibration, scale=3.0, shift=-0.001)
    return Exact(prior.network, PriorBoundary(2), torch.zeros(20, 2), calibration)


class Halfspace(DensityRatioModel):
    """A ratio against a boundary that has no density, as `LatentMap` is one."""

    dimension = 2
    has_log_prob = False

    def sample_boundary(self, n: int, *, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 2, generator=generator)

    def logit(self, latents: Latents) -> Values:
        """Real on the right."""
        return latents[:, 0]

    def log_prob(self, latents: Latents) -> Values:
        """Closed."""
        raise UserError("this boundary has no log-density")


class TestCharts:
    plane = Plane(torch.zeros(2), torch.eye(2))

    def test_without_a_density_realness_and_confusion_are_still_charted(self) -> None:
        seen = chart(Halfspace(), self.plane, Window(-1.0, 1.0, -1.0, 1.0), resolution=5)
        assert set(seen.fields) == {"realness", "confusion"}
        expected = torch.sigmoid(torch.linspace(-1, 1, 5)).expand(5, 5)
        torch.testing.assert_close(seen.fields["realness"], expected)

    def test_codes_of_another_dimension_are_still_refused(self, maps: dict[str, LatentMap]) -> None:
        plane = Plane(torch.zeros(3), torch.eye(3)[:2])
        with pytest.raises(UserError, match="codes of this map"):
            chart(maps["radius"], plane, Window(-1.0, 1.0, -1.0, 1.0), resolution=3)

    def test_the_nearest_codes_are_no_further_than_any_other(
        self, generator: torch.Generator
    ) -> None:
        codes = torch.randn(50, 5, generator=generator)
        plane = Plane(torch.zeros(5), torch.eye(5)[:2])
        near = plane.nearest(codes, 10)
        rest = torch.ones(50, dtype=torch.bool)
        rest[near] = False
        assert plane.distance(codes[near]).max() <= plane.distance(codes[rest]).min()

    def test_codes_in_the_plane_are_taken_in_their_order(self, generator: torch.Generator) -> None:
        turned = torch.linalg.qr(torch.randn(2, 2, generator=generator)).Q
        codes = 40 * torch.randn(200, 2, generator=generator)
        near = Plane(torch.tensor([1.7, 0.3]), turned).nearest(codes, 30)
        assert near.tolist() == list(range(30))


class TestPlates:
    def test_a_map_does_not_depend_on_the_others_and_says_nothing_on_the_way(
        self, maps: dict[str, LatentMap]
    ) -> None:
        draws = torch.Generator().manual_seed(0)
        train, held_out = (
            Codes(arc().sample(400, generator=draws)),
            Codes(arc().sample(200, generator=draws)),
        )
        again = fit_against("radius", train, held_out, QUICK)
        assert again.calibration == maps["radius"].calibration
        assert [maps[name].boundary.name for name in maps] == list(maps)
        assert maps["prior"].calibration.levels > 1 == maps["box"].calibration.levels

    def test_the_boundaries_show_realness_and_the_key_numbers(
        self, maps: dict[str, LatentMap], generator: torch.Generator
    ) -> None:
        codes = Codes(arc().sample(NEAR + 50, generator=generator))
        figure = draw_boundaries(maps, codes, ANCHORS, generator=generator, resolution=21)
        assert len(panels(figure)) == 3
        middle = panels(figure)[0].get_images()[0].get_array()
        assert middle is not None
        # The window is centred on the codes' box: between A and B, half way to C.
        z = torch.tensor([[0.0, 1.0]])
        assert float(middle[10, 10]) == pytest.approx(maps["prior"].realness(z).item(), abs=1e-5)
        shown = texts(figure)
        for latent_map in maps.values():
            assert (
                f"held-out cross-entropy {latent_map.calibration.cross_entropy:.3f} nats" in shown
            )
        assert len(places_of(panels(figure)[0])[-1]) == NEAR

    def test_the_arrows_of_every_level_point_along_the_exact_score(self, exact: Exact) -> None:
        figure = draw_levels(exact, ANCHORS, resolution=21)
        assert len(panels(figure)) == 6
        axes, origin = torch.tensor([[-1.0, 0.0], [0.0, 1.0]]), ANCHORS[0]
        for panel, sine in zip(panels(figure), (0.0, 0.2, 0.4, 0.6, 0.8, 0.98), strict=True):
            assert any(f"sin t = {sine:g}" in text.get_text() for text in panel.texts)
            quiver = quiver_of(panel)
            z = origin + torch.tensor(np.asarray(quiver.XY), dtype=torch.float32) @ axes
            score = (exact.at(float(np.arcsin(sine))).score(z) @ axes.T).numpy()
            drawn = np.stack([quiver.U, quiver.V], axis=1)
            cosines = (
                np.sum(drawn * score, 1)
                / np.linalg.norm(drawn, axis=1)
                / np.linalg.norm(score, axis=1)
            )
            np.testing.assert_allclose(cosines, 1, atol=1e-4)

    def test_a_single_level_is_one_panel_and_a_sentence(self, maps: dict[str, LatentMap]) -> None:
        figure = draw_levels(maps["box"], ANCHORS, resolution=21)
        assert len(panels(figure)) == 1
        assert any("single level" in text for text in texts(figure))
        # Outside the box its density is 0: no arrow there.
        quiver = quiver_of(panels(figure)[0])
        z = ANCHORS[0] + torch.tensor(np.asarray(quiver.XY), dtype=torch.float32) * torch.tensor(
            [-1.0, 1.0]
        )
        assert maps["box"].log_prob(z).isfinite().all()
        assert 0 < len(z) < 225

    def test_an_exact_map_lies_on_the_diagonal_and_an_overdone_correction_leaves_it(
        self, exact: Exact, generator: torch.Generator
    ) -> None:
        held_out = Codes(arc().sample(20_000, generator=generator))
        figure = draw_reliability(exact, held_out, generator=generator)
        learned, corrected = places_of(figure.axes[0])
        assert len(learned) > 5
        np.testing.assert_allclose(learned[:, 0], learned[:, 1], atol=0.05)
        assert (corrected[:, 1] < corrected[:, 0])[corrected[:, 0] > 0.6].all()
        assert (corrected[:, 1] > corrected[:, 0])[corrected[:, 0] < 0.4].all()
        assert "corrected to 3.00 l − 0.00" in " ".join(texts(figure)).replace("\u00a0", " ")


def test_drawing_leaves_the_process_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    assert png(boundaries_picture([against("prior")], EXTENT, np.zeros((2, 2)))).startswith(
        b"\x89PNG"
    )
    assert dict(matplotlib.rcParams) == before
