"""`latent-atlas evaluate`: from a folder of images to numbers, JSON and a page."""

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.config import Config, with_settings
from latent_atlas.data import ImageSet, load_images
from latent_atlas.errors import UserError
from latent_atlas.evaluation import Evaluation, Number, evaluate
from latent_atlas.evaluation.evaluation_set import evaluation_set_of
from latent_atlas.evaluation.features import Pixels
from latent_atlas.evaluation.sections import SECTIONS
from latent_atlas.report import write_evaluation
from latent_atlas.runs import Run
from latent_atlas.training.loop import train
from runs import quick_gallery

SMALL = (
    "train.device=cpu data.held_out=0.4 model.image_size=12 model.channels=1 model.width=4 model.latent_dim=3 "
    "model.discriminator_width=4 train.steps=40 train.batch_size=16 train.adversarial_start=10 train.log_every=10 "
    "map.steps=60 map.width=16 map.check_every=20"
)
ROWS = {
    "reconstruction": ["the model", "3 principal components"],
    "sampling": [
        "other real images",
        "their reconstructions",
        "the map",
        "Gaussian mixture",
        "prior",
    ],
    "density": ["the map", "Gaussian mixture", "prior"],
    "calibration": ["the map"],
    "travel": ["linear", "slerp", "walk, arriving", "geodesic", "typical"],
    "geometry": ["the model"],
    "copies": ["the map"],
}


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Walks of a few steps."""
    with quick_gallery():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images of two kinds."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(90):
        pixels = random.integers(0, 60, (12, 12), dtype=np.uint8)
        pixels[2:9, (1 if index % 2 else 7) :][:, :4] += np.uint8(150)
        kind = folder / ("left" if index % 2 else "right")
        kind.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(kind / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "photos"
    out, config = Run(folder), with_settings(Config(), [f'data.source="{photos}"', *SMALL.split()])
    out.claim()
    out.begin(config)
    train(load_images(config.data, 12, 1), config, out, log=lambda entry: None)
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> Evaluation:
    atlas = Atlas.load(run, device="cpu")
    return evaluate(atlas, load_images(atlas.config.data, 12, 1), extractor="pixels", seed=3)


def test_every_question_has_its_opponents_its_sample_and_its_seed(found: Evaluation) -> None:
    assert {name: list(section.rows) for name, section in found.sections.items()} == ROWS
    for name, section in found.sections.items():
        assert section.seed == 3
        assert any(character.isdigit() for character in section.sample)
        assert (section.extractor is None) == (name in ("density", "calibration"))
    assert found.sections["sampling"].extractor == "means of pixels in a grid of 8 x 8"


def test_what_must_be_better_is_better(found: Evaluation) -> None:
    rows = found.sections["sampling"].rows
    assert rows["other real images"]["frechet"].value < rows["prior"]["frechet"].value
    assert rows["other real images"]["coverage"].value > 0.6
    densities = found.sections["density"].rows
    assert densities["Gaussian mixture"]["log_prob"].value > densities["prior"]["log_prob"].value
    planners = found.sections["travel"].rows
    assert planners["linear"]["length_ratio"].value == pytest.approx(1)
    assert all(row["distance_left"].value < 1e-4 for row in planners.values())


def test_samples_and_both_distances_have_error_bars(found: Evaluation) -> None:
    for row in found.sections["sampling"].rows.values():
        for name in ("frechet", "kernel"):
            assert row[name].error is not None
            assert row[name].error > 0


def test_no_image_is_on_both_sides_and_none_was_learned_from(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    images = load_images(atlas.config.data, 12, 1)
    given = evaluation_set_of(atlas, images, Pixels(), most=500, learned=500, seed=0)
    parts = [
        {image.numpy().tobytes() for image in part}
        for part in (given.reference, given.others, given.learned)
    ]
    held_out = {image.numpy().tobytes() for image in images.test.images}
    assert len(parts[0]) == len(parts[1]) == len(images.test) // 2
    assert parts[0].isdisjoint(parts[1])
    assert parts[0] | parts[1] <= held_out
    assert parts[2].isdisjoint(held_out)


def test_codes_of_images_are_those_of_the_run_spread_included(run: Path) -> None:
    """Means lie where the density is higher: with them the map would look better than it is."""
    atlas = Atlas.load(run, device="cpu")
    images = load_images(atlas.config.data, 12, 1)
    given = evaluation_set_of(atlas, images, Pixels(), most=500, learned=500, seed=0)
    codes, kept = given.codes(images.test.images), atlas.codes["held_out"]
    assert codes.log_variances is not None
    assert kept.log_variances is not None
    torch.testing.assert_close(codes.means, kept.means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(codes.log_variances, kept.log_variances, atol=1e-4, rtol=1e-4)


def test_the_same_seed_finds_the_same_and_json_is_whole(run: Path, found: Evaluation) -> None:
    atlas = Atlas.load(run, device="cpu")
    again = evaluate(atlas, load_images(atlas.config.data, 12, 1), extractor="pixels", seed=3)
    assert again.as_json() == found.as_json()
    text = json.dumps(found.as_json())
    assert "pictures" not in text
    assert Evaluation.from_json(json.loads(text)) == found


class Page(HTMLParser):
    """Tags with their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_says_what_each_number_means(
    found: Evaluation, tmp_path: Path
) -> None:
    hostile = Evaluation("<script>alert(1)</script>", 3, found.sections, ("a <b>note</b>",))
    page = Page(write_evaluation(hostile, tmp_path / "evaluation.html").read_text(encoding="utf-8"))
    assert {"script", "link", "iframe", "object", "b"}.isdisjoint(tag for tag, _ in page.tags)
    addresses = [a[key] for _, a in page.tags for key in ("src", "href", "srcset") if key in a]
    assert len(addresses) == 3
    assert all(address and address.startswith("data:image/png;base64,") for address in addresses)
    assert len([tag for tag, _ in page.tags if tag == "table"]) == len(SECTIONS)
    for section in found.sections.values():
        for words in (section.question, section.meaning, *section.rows, *section.notes):
            assert words in page.text
    for words in ("means of pixels in a grid of 8 x 8", "Seed 3", "±", "a <b>note</b>"):
        assert words in page.text


def test_the_command_writes_json_and_a_page(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    words = (
        "--images",
        "14",
        "--extractor",
        "classifier",
        "--out",
        str(out),
        "--json",
        "--device",
        "cpu",
    )
    assert latent_atlas("evaluate", str(run), *words) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((out / "evaluation.json").read_text())
    assert {name: told[name] for name in written} == written
    assert written["sections"]["sampling"]["sample"].startswith("14 images")
    assert "features of a classifier with" in written["sections"]["sampling"]["extractor"]
    assert (out / "evaluation.html").stat().st_size > 10_000


def test_images_that_have_moved_can_be_named_and_changed_ones_are_noted(
    run: Path,
    found: Evaluation,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluated = []  # the images; what is found in them is another test's

    def evaluate_nothing(atlas: Atlas, images: ImageSet, **settings: object) -> Evaluation:
        evaluated.append(len(images))
        return found

    module = import_module(
        "latent_atlas.evaluation.evaluate"
    )  # the package's name is the function's
    monkeypatch.setattr(module, "evaluate", evaluate_nothing)
    moved, copy = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(photos, moved)
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    del config["checksum"]
    config["data"]["source"] = str(tmp_path / "gone")
    (copy / "config.json").write_text(json.dumps(config))
    assert latent_atlas("evaluate", str(copy), "--extractor", "pixels", "--device", "cpu") == 2
    said = capsys.readouterr().err
    assert "give their place as --source" in said
    assert "Traceback" not in said
    words = (
        "evaluate",
        str(copy),
        "--source",
        str(moved),
        "--images",
        "12",
        "--extractor",
        "pixels",
        "--device",
        "cpu",
    )
    assert latent_atlas(*words) == 0
    assert "these are not the images" not in capsys.readouterr().err
    Image.new("L", (12, 12), 99).save(moved / "left" / "another.png")
    assert latent_atlas(*words) == 0
    assert "these are not the images" in capsys.readouterr().err
    assert evaluated == [90, 91]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("RUN", "--extractor", "pixelz"), "no extractor 'pixelz'"),
        (("RUN", "--images", "5"), "5 were asked for"),
        (("RUN", "--out", "RUN/config.json"), "is a file or lies in one"),
        (("nowhere",), "nowhere holds no run"),
        (("RUN", "--source", "nowhere"), "no images at 'nowhere'"),
    ],
)
def test_a_user_s_mistake_is_one_sentence(
    words: tuple[str, ...], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        latent_atlas(
            "evaluate", *(word.replace("RUN", str(run)) for word in words), "--device", "cpu"
        )
        == 2
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert not (run / "evaluation.json").exists()


def test_a_run_without_its_model_says_what_is_missing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "codes"
    shutil.copytree(run, copy)
    (copy / "model.safetensors").unlink()
    assert latent_atlas("evaluate", str(copy), "--device", "cpu") == 2
    assert "model.safetensors is missing" in capsys.readouterr().err


def test_images_of_another_shape_and_too_few_of_them_are_refused(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    images = load_images(atlas.config.data, 12, 1)
    with pytest.raises(
        UserError, match=r"the images have shape \(1, 16, 16\), those of the model \(1, 12, 12\)"
    ):
        evaluate(atlas, load_images(atlas.config.data, 16, 1), extractor="pixels")
    few: ImageSet = images.select(
        torch.cat([torch.arange(30), images.held_out.nonzero().flatten()[:1]])
    )
    few = few.select(
        torch.cat([(~few.held_out).nonzero().flatten(), few.held_out.nonzero().flatten()[:11]])
    )
    with pytest.raises(UserError, match="are held out"):
        evaluate(atlas, few, extractor="pixels")


def test_identical_images_are_refused(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    images = load_images(atlas.config.data, 12, 1)
    images.images[:] = 77
    with pytest.raises(UserError, match="same features"):
        evaluate(atlas, images, extractor="pixels")


def test_a_number_says_its_error() -> None:
    assert (str(Number(0.123456, 0.012)), str(Number(2.0))) == ("0.123 ± 0.012", "2")
