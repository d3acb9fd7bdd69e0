"""Pictures: every pixel that carries information is where it should be and has the right value."""

import io
import threading
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.contour import QuadContourSet
from PIL import Image
from sklearn.datasets import load_digits

from latent_atlas.display import tile, width_for
from latent_atlas.errors import UserError
from latent_atlas.report.plots import (
    Curves,
    Field,
    Space,
    Strip,
    comparison_sheet,
    curves_picture,
    map_picture,
    png,
    save,
    sheet,
    spaces_picture,
    strips_picture,
)
from latent_atlas.report.plots.style import LINES, SIGNAL

EXTENT = (-3.0, 3.0, -2.5, 2.5)
ORANGE = np.array(matplotlib.colors.to_rgb(SIGNAL)) * 255


def pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB")).astype(int)


def is_near(picture: np.ndarray, color: np.ndarray) -> np.ndarray:
    return (np.abs(picture - color) <= 1).all(axis=-1)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return (load_digits().images / 16)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Images whose every pixel differs from its neighbours, so that a shifted one cannot pass."""
    return np.random.default_rng(0).random((7, 3, 8, 8))


def gaussians(points: np.ndarray) -> np.ndarray:
    """Log-density of two Gaussians of spread 1/2, in nats."""
    parts = [
        np.log(0.5) - np.sum((points - c) ** 2, -1) / 2 / 0.25 - np.log(2 * np.pi * 0.25)
        for c in ((-1.2, 0.0), (1.2, 0.3))
    ]
    return np.logaddexp(*parts)


def plane(rows: int = 61, columns: int = 71) -> np.ndarray:
    x, y = np.linspace(*EXTENT[:2], columns), np.linspace(*EXTENT[2:], rows)
    return np.stack(np.meshgrid(x, y), axis=-1)


def fields() -> list[Field]:
    log_q = gaussians(plane())
    logit = log_q + np.sum(plane() ** 2, -1) / 2 + np.log(2 * np.pi)
    realness = 1 / (1 + np.exp(-logit))
    fake = np.clip(1 - realness, 1e-300, 1)
    confusion = -(realness * np.log2(np.clip(realness, 1e-300, 1)) + fake * np.log2(fake))
    return [
        Field("Confusion", "bits", confusion, "confusion"),
        Field("Realness", "probability", realness, "realness"),
        Field("Log-density", "nats", log_q, "log_prob"),
    ]


class TestTiles:
    def test_enlarging_repeats_each_pixel(self, noise: np.ndarray) -> None:
        tiles = tile(noise, 40)
        expected = np.round(noise * 255).astype(int).transpose(0, 2, 3, 1)
        assert (tiles[:, 2::5, 2::5] == expected).all()
        assert (tiles.reshape(7, 8, 5, 8, 5, 3).std(axis=(2, 4)) == 0).all()

    def test_a_width_leaves_pixels_square_or_fills_the_room(self) -> None:
        assert width_for(8, 107) % 8 == 0
        assert width_for(256, 60) == 60

    def test_values_outside_the_range_are_clipped_and_nan_is_black(self) -> None:
        images = np.array([-1.0, 0.5, 2.0, np.nan]).reshape(4, 1, 1, 1)
        assert tile(images, 1)[:, 0, 0, 0].tolist() == [0, 128, 255, 0]

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_opaque_images_keep_their_colours(self, channels: int) -> None:
        image = np.full((1, channels, 4, 4), 0.25)
        if channels in (2, 4):
            image[:, -1] = 1
        assert (tile(image, 8) == 64).all()

    def test_transparency_shows_a_chequerboard(self) -> None:
        image = np.concatenate([np.ones((1, 1, 8, 8)), np.zeros((1, 1, 8, 8))], axis=1)
        assert set(np.unique(tile(image, 32)).tolist()) == {205, 235}


class TestSheets:
    def test_samples_stand_row_by_row_with_their_values(self, noise: np.ndarray) -> None:
        picture = pixels(sheet(noise, columns=3))
        side = 8 * 12
        for index, image in enumerate(noise):
            top, left = 30 + index // 3 * (side + 6), 30 + index % 3 * (side + 6)
            seen = picture[top + 6 : top + side : 12, left + 6 : left + side : 12]
            assert (seen == np.round(image * 255).transpose(1, 2, 0)).all()

    def test_rows_wrap_to_bands_and_stay_aligned(self, noise: np.ndarray) -> None:
        negative = 1 - noise
        picture = pixels(comparison_sheet({"original": noise, "negative": negative}, columns=4))
        for image in noise[[0, 5]]:
            color = np.round(image[:, 0, 0] * 255)
            y, x = np.argwhere(is_near(picture, color))[0]
            assert is_near(picture[y + 96 + 6, x], np.round((1 - image[:, 0, 0]) * 255))

    def test_refusals_name_what_was_seen(self, digits: np.ndarray) -> None:
        with pytest.raises(UserError, match=r"original \(3, 1, 8, 8\), other \(2, 1, 8, 8\)"):
            comparison_sheet({"original": digits[:3], "other": digits[:2]})
        with pytest.raises(UserError, match=r"\(0, 1, 8, 8\)"):
            sheet(digits[:0])


class TestMap:
    def test_the_edge_lies_where_the_closed_form_says(self) -> None:
        center, spread, threshold = np.array([0.4, -0.3]), 0.6, -3.0
        log_q = -np.sum((plane() - center) ** 2, -1) / 2 / spread**2 - np.log(2 * np.pi * spread**2)
        radius = spread * np.sqrt(2 * (-threshold - np.log(2 * np.pi * spread**2)))
        figure = map_picture(
            [Field("Log-density", "nats", log_q, "log_prob")], EXTENT, threshold=threshold
        )
        (edge,) = [a for a in figure.axes[0].get_children() if a.get_gid() == "threshold"]
        assert isinstance(edge, QuadContourSet)
        distances = np.linalg.norm(edge.get_paths()[0].vertices - center, axis=1)
        assert len(distances) > 50
        np.testing.assert_allclose(distances, radius, atol=0.01)

    def test_every_panel_has_the_edge(self, digits: np.ndarray) -> None:
        lattice = digits[:48].reshape(6, 8, 1, 8, 8)
        figure = map_picture(fields(), EXTENT, threshold=-4.0, lattice=lattice)
        panels = [axes for axes in figure.axes if axes.get_xlim() == EXTENT[:2]]
        assert len(panels) == 4
        for axes in panels:
            assert sum(a.get_gid() == "threshold" for a in axes.get_children()) == 1

    def test_a_floor_beyond_the_window_draws_no_line(self) -> None:
        figure = map_picture(fields()[2:], EXTENT, threshold=50.0)
        assert not [a for a in figure.axes[0].get_children() if a.get_gid() == "threshold"]

    def test_the_colours_of_a_log_density_end_above_its_tail_and_the_bar_says_so(self) -> None:
        (field,) = fields()[2:]
        low, high = field.range(-4.0)
        assert high == field.values.max()
        assert field.values.min() < low < -4.0
        figure = map_picture([field], EXTENT, threshold=-4.0)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        assert f"nats, darkest at ≤ {low:.3g}".replace("-", "−") in texts
        (bar,) = [
            axes for axes in figure.axes if any(isinstance(c, QuadMesh) for c in axes.collections)
        ]
        assert bar.get_ylim() == pytest.approx((low, high))

    def test_the_first_row_of_a_lattice_is_the_lowest(self) -> None:
        lattice = np.zeros((2, 3, 1, 8, 8))
        lattice[0] = 1
        figure = map_picture([], EXTENT, lattice=lattice)
        picture, box = pixels(figure), figure.axes[0].bbox
        middle = int((box.x0 + box.x1) / 2)
        top = picture.shape[0] - int(box.y1)
        assert (picture[top + 40, middle] == 0).all()
        assert (picture[top + int(box.height) - 40, middle] == 255).all()

    def test_thumbnails_hide_no_path_and_no_anchor_and_stay_inside(
        self, digits: np.ndarray
    ) -> None:
        a, b, c = np.array([-1.4, 0.1]), np.array([1.3, 0.3]), np.array([0.0, 1.2])
        straight = a + (b - a) * np.linspace(0, 1, 9)[:, None]
        anchors = {"A": (a, digits[0]), "B": (b, digits[1]), "C": (c, digits[2])}
        figure = map_picture(
            fields(), EXTENT, threshold=-4.0, anchors=anchors, paths={"linear": straight}
        )
        panel = figure.axes[0]
        thumbnails = [axes for axes in figure.axes if not axes.axison]
        assert len(thumbnails) == 9
        marked = panel.transData.transform(np.concatenate([straight, [a, b, c]]))
        for axes in thumbnails[:3]:
            box = axes.bbox
            assert panel.bbox.x0 < box.x0 < box.x1 < panel.bbox.x1
            assert panel.bbox.y0 < box.y0 < box.y1 < panel.bbox.y1
            assert not any(box.contains(*point) for point in marked)

    def test_paths_codes_and_class_names_are_where_they_were_put(self) -> None:
        path = np.array([[-1.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
        codes = np.array([[-1.0, 0.2], [-1.2, 0.0], [1.0, 0.1]])
        figure = map_picture(
            fields()[1:2], EXTENT, codes=codes,
            code_labels=np.array([0, 0, 1]), label_names=["$a", "b"],
            paths={"walk": path},
        )  # fmt: skip
        axes = figure.axes[0]
        lines = [line for line in axes.lines if line.get_color() == LINES[0].color]
        np.testing.assert_allclose(lines[0].get_xydata(), path)
        places = {text.get_text(): text.get_position() for text in axes.texts}
        np.testing.assert_allclose(places["$a"], (-1.1, 0.1))
        np.testing.assert_allclose(places["b"], (1.0, 0.1))

    def test_many_codes_are_thinned_and_the_legend_says_so(self) -> None:
        codes = np.random.default_rng(0).normal(size=(2000, 2))
        figure = map_picture(fields()[:1], EXTENT, codes=codes)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "real codes (1 in 3)"
        ]
        dots = [c for c in figure.axes[0].collections if len(c.get_offsets()) > 10]
        np.testing.assert_array_equal(dots[0].get_offsets(), codes[::3])

    @pytest.mark.parametrize("value", [-np.inf, 0.0])
    def test_degenerate_fields_still_give_a_picture(self, value: float) -> None:
        field = Field("Log-density", "nats", np.full((5, 6), value), "log_prob")
        assert png(map_picture([field], EXTENT, threshold=-1.0)).startswith(b"\x89PNG")

    def test_a_map_of_nothing_is_refused(self) -> None:
        with pytest.raises(UserError, match="at least one"):
            map_picture([], EXTENT)


class TestStrips:
    def strip(self, digits: np.ndarray, outside: list[int], name: str = "walk") -> Strip:
        log_prob = np.full(9, -2.0)
        log_prob[outside] = -6.0
        return Strip(name, digits[:9], log_prob, log_prob < -4, f"{len(outside)} of 9 off-manifold")

    def test_exactly_the_frames_outside_are_outlined(self, digits: np.ndarray) -> None:
        figure = strips_picture([self.strip(digits, [2, 5])], threshold=-4.0)
        film = next(axes for axes in figure.axes if not axes.axison)
        picture, box = pixels(figure), film.bbox
        top, left = picture.shape[0] - round(box.y1), round(box.x0)
        pitch = (round(box.width) + 2) / 9
        for frame in range(9):
            edge = picture[top + 3, left + round(frame * pitch) + 3]
            assert is_near(edge, ORANGE if frame in (2, 5) else np.array([255, 255, 255]))

    def test_frames_keep_their_pixels(self, digits: np.ndarray) -> None:
        figure = strips_picture([self.strip(digits, [2])], threshold=-4.0)
        film = next(axes for axes in figure.axes if not axes.axison)
        canvas = np.asarray(film.images[0].get_array())
        factor = (canvas.shape[0] - 12) // 8
        seen = canvas[6 + factor // 2 :: factor, 6 + factor // 2 :: factor, 0][:8, :8]
        assert (seen == np.round(digits[0, 0] * 255)).all()

    def test_each_frame_number_stands_below_its_picture(self, digits: np.ndarray) -> None:
        figure = strips_picture([self.strip(digits, [])], threshold=-4.0)
        film = next(axes for axes in figure.axes if not axes.axison)
        curves = next(axes for axes in figure.axes if axes.axison)
        pitch = (film.bbox.width + 2) / 9
        for frame in (0, 8):
            x, _ = curves.transData.transform((frame, -2.0))
            assert x == pytest.approx(film.bbox.x0 + (frame + 0.5) * pitch - 1, abs=1)

    def test_the_curves_are_the_log_densities_and_the_floor_is_drawn(
        self, digits: np.ndarray
    ) -> None:
        strips = [self.strip(digits, [4], "linear"), self.strip(digits, [], "geodesic")]
        curves = next(axes for axes in strips_picture(strips, threshold=-4.0).axes if axes.axison)
        drawn = [line.get_ydata() for line in curves.lines]
        assert any(np.array_equal(y, strips[0].log_prob) for y in drawn)
        assert any(np.array_equal(y, [-4.0, -4.0]) for y in drawn)

    def test_a_fall_beyond_the_panel_is_told(self, digits: np.ndarray) -> None:
        strip = Strip(
            "linear", digits[:3], np.array([-2.0, -700.0, -2.5]), np.array([False, True, False])
        )
        curves = next(axes for axes in strips_picture([strip], threshold=-4.0).axes if axes.axison)
        assert curves.get_ylim()[0] > -100
        assert "linear falls to −700" in [text.get_text() for text in curves.texts]

    def test_strips_may_differ_in_length(self, digits: np.ndarray) -> None:
        short = Strip("walk", digits[:3], np.zeros(3), np.zeros(3, bool))
        assert png(
            strips_picture([self.strip(digits, [1]), short], threshold=-4.0, title="$x_1")
        ).startswith(b"\x89PNG")

    def test_no_strip_is_refused(self) -> None:
        with pytest.raises(UserError, match="at least one path"):
            strips_picture([], threshold=0.0)


class TestCurves:
    def test_values_are_drawn_as_they_are(self) -> None:
        steps, values = np.arange(50, 250, 50), np.array([1.0, 0.1, 0.01, 0.001])
        figure = curves_picture(
            [Curves("Loss", "nats", {"loss": (steps, values)}, logarithmic=True)]
        )
        (axes,) = figure.axes
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([steps, values], axis=1))
        assert axes.get_yscale() == "log"

    def test_a_logarithm_of_a_negative_value_is_not_attempted(self) -> None:
        series = {
            "a": (np.arange(3), np.array([1.0, -1.0, np.nan])),
            "b": (np.arange(2), np.ones(2)),
        }
        figure = curves_picture([Curves("Loss", "nats", series, logarithmic=True)])
        assert figure.axes[0].get_yscale() == "linear"
        png(figure)

    def test_no_panel_is_refused(self) -> None:
        with pytest.raises(UserError, match="at least one panel"):
            curves_picture([])


def test_drawing_leaves_the_process_as_it_was(digits: np.ndarray, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    pictures: dict[int, bytes] = {}

    def draw(number: int) -> None:
        pictures[number] = png(sheet(digits[:6], title="samples"))

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pictures.values())) == 1
    assert len(pictures) == 4
    assert dict(matplotlib.rcParams) == before
    assert (
        save(sheet(digits[:6], title="samples"), tmp_path / "sheet.png").read_bytes() == pictures[0]
    )


class TestSpaces:
    def test_bands_and_lines_are_drawn_through_their_numbers(self) -> None:
        at, shares = np.array([0.5, 1.0, 2.0]), np.array([0.25, 0.75])
        spaces = [
            Space(
                name,
                at,
                s * np.ones((3, 3)),
                np.array([-0.1, 0.5, 1.0]),
                shares,
                np.outer([1, 2, 4], [s, 3 * s]),
            )
            for name, s in (("plain", 1.0), ("isometric", 2.0))
        ]
        figure = spaces_picture(spaces, "pixels")
        stretch, correlation, spectrum = figure.axes
        for space, lines in zip(
            spaces, zip(*(axes.lines for axes in figure.axes), strict=True), strict=True
        ):
            drawn = [(line.get_xdata(), line.get_ydata()) for line in lines]
            for (x, y), expected in zip(
                drawn,
                (
                    (at, space.stretch[1]),
                    (at, space.correlation),
                    (shares, space.singular_values[1]),
                ),
                strict=True,
            ):
                np.testing.assert_array_equal(x, expected[0])
                np.testing.assert_array_equal(y, expected[1])
        assert stretch.get_xscale() == stretch.get_yscale() == spectrum.get_yscale() == "log"
        assert correlation.get_ylim()[0] < -0.1
        band = spectrum.collections[0].get_paths()[0].vertices
        assert {tuple(row) for row in band} >= {(0.25, 1.0), (0.25, 4.0), (0.75, 3.0), (0.75, 12.0)}
        assert pixels(figure).shape[1] == 2000

    def test_none_or_too_many_are_refused(self) -> None:
        one = Space("a", np.ones(1), np.ones((3, 1)), np.ones(1), np.ones(1), np.ones((3, 1)))
        for count in (0, 7):
            with pytest.raises(UserError, match=f"{count} spaces were given; draw 1 to 6"):
                spaces_picture([one] * count)
