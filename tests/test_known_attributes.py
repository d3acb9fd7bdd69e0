"""What a table says of images, from training to paths and samples by its names."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from hub import Hub
from latent_atlas import Atlas
from latent_atlas.attributes.probes import ClassProbe, ValueProbe
from latent_atlas.cli.commands import demo
from latent_atlas.errors import UserError
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.facts import facts_of
from latent_atlas.runs import Run

SETTINGS = {
    "model": ("width=4", "discriminator_width=4", "latent_dim=2"),
    "train": ("steps=150", "batch_size=32", "adversarial=none", "precision=32"),
    "map": ("width=8", "depth=1", "steps=60", "check_every=20", "augment=false", "levels=1"),
}


@pytest.fixture(scope="module", autouse=True)
def quick_probes() -> Iterator[None]:
    """Probes that learn for a few steps, and no page."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for probe in (ClassProbe, ValueProbe):
            monkeypatch.setattr(probe, "fit", partial(probe.fit, steps=150))
        monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 bright bars with a table of their heights, in pixels, and of what is above half."""
    folder = tmp_path_factory.mktemp("bars")
    heights = np.random.default_rng(0).uniform(1, 7, 200).round(2)
    rows = ["file_name,height,size,owner"]
    for number, height in enumerate(heights):
        bar = np.clip(height - np.arange(8), 0, 1)[::-1, None].repeat(8, 1)
        Image.fromarray((255 * bar).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{height},{'tall' if height > 4 else 'low'},{number % 90}x")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    out = photos.parent / "run"
    settings = [
        word
        for section, some in SETTINGS.items()
        for setting in some
        for word in ("--set", f"{section}.{setting}")
    ]
    size = ("--image-size", "8", "--channels", "1", "--device", "cpu")
    assert latent_atlas("train", str(photos), "--out", str(out), *size, *settings) == 0
    return out


def test_a_run_keeps_them_in_the_order_of_its_codes(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.known is not None
    heights, words = atlas.known["height"]
    assert words == ()
    assert atlas.known["size"][1] == ("low", "tall")
    assert "owner" not in atlas.known  # of words that few images share
    shown = atlas.decode(atlas.codes["train"].means).sum(dim=(1, 2, 3)) / 8
    assert np.corrcoef(shown, torch.as_tensor(heights))[0, 1] > 0.8
    facts = facts_of(Known(atlas, lambda: None), "bars", {})
    height = next(one for one in facts.attributes if one.name == "height")
    assert height.kind == "value"
    assert (height.low, height.high) == (heights.min(), heights.max())
    assert facts.classes == []


def test_paths_and_samples_take_them_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--traverse", "height", "--by", "1", "--out", str(tmp_path / "more.json"), "--json")
    assert latent_atlas("travel", str(run), "test:0", *more) == 0
    told = capsys.readouterr()
    assert re.search(r"reads height from decoded images explains \d+ % of its variance", told.err)
    metrics = json.loads(told.out)["travel"]["traverse height"]
    assert metrics["reached"] > 0
    codes = torch.tensor(
        json.loads((tmp_path / "more.json").read_text())["traverse height"]["points"]
    )
    shown = Atlas.load(run, device="cpu").decode(codes).sum(dim=(1, 2, 3)) / 8
    assert shown[-1] > shown[0]  # what it says is what is seen
    out = str(tmp_path / "kept.json")
    assert (
        latent_atlas("travel", str(run), "test:0", "test:1", "--preserve", "size", "--out", out)
        == 0
    )
    assert "the classifier that reads" in capsys.readouterr().err
    few = ("--count", "20", "--where", "height=1..3", "--sampler", "importance")
    assert latent_atlas("sample", str(run), *few, "--out", str(tmp_path / "low.png")) == 0
    assert latent_atlas("travel", str(run), "test:0", "test:1", "--preserve", "weight") == 2
    sentence = (
        "no attribute 'weight'; choose size, height, one word of an attribute such as size=low"
    )
    assert sentence in capsys.readouterr().err


def test_a_run_of_before_gets_them_by_its_images(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Run(shutil.copytree(run, tmp_path / "old"))
    manifest = old.read_json("manifest.json") or {}
    old.write_json("manifest.json", {k: v for k, v in manifest.items() if k != "attributes"})
    old.file("attributes.safetensors").unlink()
    words = ("travel", str(old.path), "test:0", "--traverse", "height", "--by", "1")
    assert latent_atlas(*words, "--out", str(tmp_path / "x.json")) == 2
    assert "--resume --out RUN` adds them" in capsys.readouterr().err
    before = old.file("map.safetensors").read_bytes()
    assert latent_atlas("train", str(photos), "--resume", "--out", str(old.path)) == 0
    assert old.file("map.safetensors").read_bytes() == before
    assert (old.read_json("manifest.json") or {})["records"] == manifest["records"]
    assert Atlas.load(old.path, device="cpu").properties.kind("height") == "value"
    old.file("attributes.safetensors").write_bytes(b"half")
    assert latent_atlas("doctor", str(old.path)) > 0
    assert "attributes.safetensors is damaged" in "".join(capsys.readouterr())


def test_a_published_run_keeps_them(run: Path, hub: Hub, tmp_path: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    atlas.save_pretrained(tmp_path / "saved", own_images=True)
    atlas.push_to_hub("hf:somebody/bars", own_images=True)
    assert atlas.known is not None
    for place in (tmp_path / "saved", "hf:somebody/bars"):
        published = Atlas.load(place, device="cpu")
        assert published.known is not None
        assert published.known.keys() == atlas.known.keys()
        for name, (values, words) in atlas.known.items():
            np.testing.assert_array_equal(published.known[name][0], values)
            assert published.known[name][1] == words
        a = published.codes["held_out"].means[0]
        path = published.traverse(a, "height", by=1.0, frames=3, steps=4)
        assert torch.equal(
            path.points, atlas.traverse(a, "height", by=1.0, frames=3, steps=4).points
        )


def test_the_demo_of_glyphs_draws_what_it_is_about(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [f"{section}.{one}" for section, some in SETTINGS.items() for one in some]
    changes = ("model.image_size=16", "model.latent_dim=4", "train.feature_matching=0")
    monkeypatch.setattr(demo, "GLYPHS", [*small, *changes])
    out = tmp_path / "glyphs"
    assert latent_atlas("demo", "--glyphs", "--out", str(out)) == 0
    said = capsys.readouterr().err
    assert "goes from EB Garamond to Inter (test:57 and test:80)" in said
    assert "reads weight from decoded images explains" in said
    page = (out / "report.html").read_text()
    for name, title in (
        ("typefaces", "Between two"),
        ("weight", "Along"),
        ("outliers", "Outliers"),
    ):
        assert (out / f"{name}.png").stat().st_size > 0
        assert title in page
    with pytest.raises(UserError, match=r"is a run of .*, not of glyphs; choose another --out"):
        demo.draw_typefaces(run)
