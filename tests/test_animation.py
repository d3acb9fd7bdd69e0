"""Animations: every frame is where it should be, plays at the speed asked for, and keeps its
colours.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latent_atlas.errors import UserError
from latent_atlas.report.plots.animation import Animation, animation, save_animation


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    """Three journeys whose every pixel differs from its neighbours in space and time."""
    return np.random.default_rng(0).random((5, 3, 3, 9, 7)).astype(np.float32)


def gif_frames(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        frames = []
        for index in range(picture.n_frames):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")))
    return np.stack(frames).astype(int)


def mp4_frames(path: Path) -> np.ndarray:
    av = pytest.importorskip("av")
    with av.open(path) as container:
        frames = [
            frame.reformat(src_colorspace=1).to_ndarray(format="rgb24")
            for frame in container.decode(video=0)
        ]
    return np.stack(frames).astype(int)


def flat(color: tuple[float, ...], frames: int = 4) -> np.ndarray:
    """One journey of frames of one colour each, darker from frame to frame."""
    shades = np.linspace(1, 0.25, frames)[:, None, None, None]
    return shades * np.array(color)[:, None, None] * np.ones((frames, 1, 8, 8))


class TestPixels:
    def test_small_images_are_enlarged_by_a_whole_factor(self, films: np.ndarray) -> None:
        moving = animation(films[:, 0])
        factor = 29  # 29 * 9 = 261 is the first multiple above 256
        assert moving.pixels.shape == (5, 262, 204, 3)
        expected = (
            np.round(films[:, 0] * 255).transpose(0, 2, 3, 1).repeat(factor, 1).repeat(factor, 2)
        )
        assert (moving.pixels[:, :261, :203] == expected).all()

    def test_sides_are_even_by_repeating_the_edge(self, films: np.ndarray) -> None:
        pixels = animation(films[:, 0]).pixels
        assert (pixels[:, -1] == pixels[:, -2]).all()
        assert (pixels[:, :, -1] == pixels[:, :, -2]).all()

    def test_journeys_stand_side_by_side(self, films: np.ndarray) -> None:
        together = animation(films).pixels
        for journey, left in enumerate((0, 215, 430)):
            alone = animation(films[:, journey]).pixels[:, :261, :203]
            assert (together[:, :261, left : left + 203] == alone).all()

    def test_a_caption_stands_above_its_journey_and_is_not_cut(self, films: np.ndarray) -> None:
        text = "a caption that is much wider than the journey below it"
        pixels = animation(films[:, 0], [text]).pixels
        heading, below = pixels[0, :44], pixels[0, 44:]
        ink = (heading < 128).all(axis=2).any(axis=0).nonzero()[0]
        assert 0 < ink[0] < 8
        assert 0 < pixels.shape[2] - ink[-1] < 10
        left = (pixels.shape[2] - 203) // 2
        assert (
            below[:261, left : left + 203] == animation(films[:, 0]).pixels[0, :261, :203]
        ).all()

    def test_bounce_goes_back_without_showing_either_end_twice(self, films: np.ndarray) -> None:
        there, both = animation(films).pixels, animation(films, bounce=True).pixels
        assert len(both) == 2 * len(there) - 2
        assert (both == there[[0, 1, 2, 3, 4, 3, 2, 1]]).all()

    def test_a_single_frame_bounces_to_itself(self, films: np.ndarray) -> None:
        assert len(animation(films[:1], bounce=True).pixels) == 1

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_grey_colour_and_transparency_become_colour(self, channels: int) -> None:
        image = np.full((2, channels, 8, 8), 0.25)
        if channels in (2, 4):
            image[:, -1] = 1
        assert (animation(image).pixels == 64).all()

    @pytest.mark.parametrize("count", [1, 4, 12, 64])
    def test_many_small_journeys_fit(self, count: int) -> None:
        pixels = animation(np.zeros((1, count, 1, 28, 28))).pixels
        assert max(pixels.shape[1:3]) <= 1920

    def test_what_cannot_be_animated_is_said(self, films: np.ndarray) -> None:
        with pytest.raises(UserError, match="give at least one"):
            animation(films[:0])
        with pytest.raises(UserError, match="1 to 4 channels"):
            animation(np.zeros((2, 5, 8, 8)))
        with pytest.raises(UserError, match="3 paths and 2 captions"):
            animation(films, ["a", "b"])
        with pytest.raises(UserError, match="fps is 0"):
            animation(films, fps=0)


class TestGif:
    def test_greys_come_back_exactly(self, tmp_path: Path) -> None:
        greys = np.random.default_rng(0).random((3, 1, 16, 16))
        moving = animation(greys)
        assert (gif_frames(save_animation(moving, tmp_path / "a.gif")) == moving.pixels).all()

    def test_colours_come_back_nearly_and_do_not_flicker(self, tmp_path: Path) -> None:
        still = np.repeat(np.random.default_rng(0).random((1, 3, 8, 8)), 4, axis=0)
        still[:, 0, 0, 0] = [0, 0.3, 0.6, 1]  # one pixel moves
        moving = animation(still)
        frames = gif_frames(save_animation(moving, tmp_path / "a.gif"))
        assert np.abs(frames - moving.pixels).max() <= 4
        assert (frames[:, 64:] == frames[:1, 64:]).all()

    def test_it_repeats_for_ever_at_the_speed_asked_for(
        self, films: np.ndarray, tmp_path: Path
    ) -> None:
        with Image.open(save_animation(animation(films, fps=10), tmp_path / "a.gif")) as picture:
            assert picture.info["duration"] == 100
            assert picture.info["loop"] == 0
            assert picture.n_frames == 5

    def test_a_gif_that_browsers_would_slow_down_is_refused(
        self, films: np.ndarray, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="at most 50 frames a second, not 60"):
            save_animation(animation(films, fps=60), tmp_path / "a.gif")


class TestMp4:
    @pytest.mark.parametrize(
        "color", [(1.0, 0.2, 0.1), (0.1, 0.9, 0.2), (0.1, 0.2, 1.0), (0.5, 0.5, 0.5)]
    )
    def test_colours_come_back_nearly(self, color: tuple[float, ...], tmp_path: Path) -> None:
        moving = animation(flat(color))
        frames = mp4_frames(save_animation(moving, tmp_path / "a.mp4"))
        assert frames.shape == moving.pixels.shape
        assert np.abs(frames - moving.pixels).max() <= 6

    def test_the_order_is_kept(self, films: np.ndarray, tmp_path: Path) -> None:
        moving = animation(films)
        frames = mp4_frames(save_animation(moving, tmp_path / "a.mp4"))
        apart = np.abs(frames[:, None] - moving.pixels[None].astype(int)).mean(axis=(2, 3, 4))
        assert (apart.argmin(axis=1) == np.arange(5)).all()

    @pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
    def test_browsers_can_play_it(self, films: np.ndarray, tmp_path: Path) -> None:
        pytest.importorskip("av")
        path = save_animation(animation(films[:, 0], fps=12.5), tmp_path / "a.mp4")
        asked = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
        (stream,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)[
            "streams"
        ]
        assert stream["codec_name"] == "h264"
        assert stream["pix_fmt"] == "yuv420p"
        assert stream["color_space"] == "bt709"
        assert (stream["width"] % 2, stream["height"] % 2) == (0, 0)
        assert stream["r_frame_rate"] == "25/2"
        assert stream["nb_frames"] == "5"
        assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")

    def test_without_pyav_one_sentence_says_what_to_install(
        self, films: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(UserError, match=r"pip install latent-atlas\[video\]"):
            save_animation(animation(films), tmp_path / "a.mp4")
        assert not (tmp_path / "a.mp4").exists()

    def test_without_the_encoder_too(
        self, films: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        av = pytest.importorskip("av")
        monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
        with pytest.raises(UserError, match=r"libx264.* or write a \.gif"):
            save_animation(animation(films), tmp_path / "a.mp4")
        assert not (tmp_path / "a.mp4").exists()


def test_other_names_are_refused(films: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.gif or \.mp4"):
        save_animation(Animation(np.zeros((1, 2, 2, 3), np.uint8), 12), tmp_path / "a.webm")
