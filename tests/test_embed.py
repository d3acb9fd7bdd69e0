"""From a folder of images to a map that shows them, through the commands a user types."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.atlas.functions import networks
from latent_atlas.atlas.overview import COMPARISON, ImageList, Section, comparison_of
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.codes.embedder import digest_of, embedder
from latent_atlas.distributed import embedding
from latent_atlas.errors import UserError
from latent_atlas.explorer.facts import arrays_and_facts
from latent_atlas.runs import write_tensors
from runs import quick_gallery
from server_client import arrays, client_of, facts, tiny_atlas

FAST = (
    "--steps",
    "40",
    "--set",
    "map.width=16",
    "--set",
    "map.check_every=20",
    "--set",
    "map.depth=1",
)
MODEL = """
def corners(images):
    return images.mean(1)[:, ::7, ::7].flatten(1)
"""


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Walks of a few steps, where a map is drawn."""
    with quick_gallery():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images with transparency of 8 x 8 pixels in two kinds, a copy, one that is no image, and a model."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(60):
        kind = "dark" if number % 2 else "light"
        pixels = random.integers(0, 120, (8, 8, 4)) + (0 if number % 2 else 120)
        pixels[..., 3] = 255
        pixels[3:5, 3:5, 3] = 0
        (folder / "photos" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / kind / f"{number}.png")
    shutil.copy(folder / "photos/dark/1.png", folder / "photos/dark/again.png")
    (folder / "photos/dark/broken.png").write_bytes(b"no image")
    (folder / "corner_model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The collection on a map."""
    words = ("--model", "corner_model:corners", "--image-size", "8", *FAST)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert latent_atlas("embed", "photos", "--out", str(folder / "run"), *words) == 0
    return folder / "run"


def test_the_codes_are_those_of_the_images_that_they_are_shown_by(run: Path, folder: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    assert atlas.model is None
    assert len(atlas.collection.images) == 61
    assert atlas.label_names == ("dark", "light")
    for part, codes in atlas.codes.items():
        thumbnails = atlas.collection.thumbnails(atlas.collection.rows[part])
        torch.testing.assert_close(thumbnails.mean(1)[:, ::7, ::7].flatten(1), codes.means)
        assert torch.equal(atlas.decode(codes.means), thumbnails)
        names = [atlas.collection.names[int(row)] for row in atlas.collection.rows[part]]
        kinds = [atlas.label_names[int(label)] for label in atlas.labels[part]]
        assert [name.split("/")[0] for name in names] == kinds
    assert sum(map(len, atlas.codes.values())) == 60  # the copy has no code of its own
    picture = np.asarray(Image.open(folder / "photos" / "dark" / "1.png").convert("RGBA"))
    number = list(atlas.collection.names).index("dark/1.png")
    shown = np.moveaxis(np.asarray(atlas.collection.images[number]), 0, -1)
    assert (shown[3:5, 3:5] == 255).all()  # transparent parts are white
    assert (shown[:3] == picture[:3, :, :3]).all()


def test_the_run_says_which_model_made_its_codes(run: Path, folder: Path) -> None:
    about = json.loads((run / "manifest.json").read_text())
    assert about["embedder"]["model"] == "corner_model:corners"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert about["embedder"]["weights"] == digest_of("corner_model:corners")
    (reject,) = (run / "embeddings" / "rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["path"] == "dark/broken.png"


def test_frames_are_real_images_each_once_and_ends_are_their_own(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    ends = atlas.codes["held_out"].means[:2]
    path = atlas.travel(ends[:1], ends[1:], "linear", frames=9)
    assert path.images is not None
    assert path.nearest is not None
    rows = path.nearest.rows[:, 0]
    assert len(set(rows.tolist())) == 9
    assert rows[[0, -1]].tolist() == atlas.collection.rows["held_out"][:2].tolist()
    assert path.nearest.distances[[0, -1], 0].tolist() == [0, 0]
    assert torch.equal(path.strip(), atlas.collection.thumbnails(rows))
    every = {
        int(row): code
        for part in atlas.codes
        for row, code in zip(atlas.collection.rows[part], atlas.codes[part].means, strict=True)
    }
    for frame, row, distance in zip(
        path.points[:, 0], rows, path.nearest.distances[:, 0], strict=True
    ):
        assert (every[int(row)] - frame).norm() == pytest.approx(float(distance), abs=1e-5)
    there_and_back = atlas.travel(
        torch.stack([ends[0], ends[1], ends[0]]), frames=9, planner="linear"
    )
    assert there_and_back.nearest is not None
    assert there_and_back.nearest.rows[0] == there_and_back.nearest.rows[-1]


def test_frames_that_keep_a_class_are_shown_by_its_images(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    codes = atlas.collection.codes
    probe = atlas.properties["class"]
    assert isinstance(probe, ClassProbe)
    classes = probe.classify(codes)
    ends = torch.stack([codes[classes == kind][0] for kind in (0, 1)])
    path = atlas.travel(ends, ends.flip(0), "linear", frames=9, preserve="class")
    assert path.nearest is not None
    place = {int(row): i for i, row in enumerate(atlas.collection.on_map)}
    for n in (0, 1):
        seen = [place[row] for row in path.nearest.rows[:, n].tolist()]
        assert classes[seen].tolist() == [n] * 9
        distances = (codes[seen] - path.points[:, n]).norm(dim=1)
        torch.testing.assert_close(distances, path.nearest.distances[:, n])
    free = atlas.travel(*ends, "linear", frames=9)
    assert free.nearest is not None
    assert {int(classes[place[row]]) for row in free.nearest.rows[:, 0].tolist()} == {0, 1}


def test_where_frames_outnumber_images_they_repeat_and_it_is_said(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    ends = atlas.codes["held_out"].means[:2]
    path = atlas.travel(*ends, "linear", frames=70)
    assert path.nearest is not None
    assert len(path.nearest.rows.unique()) == 60
    assert "70 frames are shown by 60 images, so images repeat" in path.warnings
    assert not any("repeat" in one for one in atlas.travel(*ends, "linear", frames=60).warnings)


def test_an_atlas_embeds_images_by_the_model_of_its_collection(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    images = atlas.collection.images[:]
    torch.testing.assert_close(atlas.encode(images), atlas.collection.all_codes())
    rows = atlas.collection.rows["held_out"]
    codes = atlas.codes["held_out"].means
    table, wanted = atlas.anomaly(images[rows.numpy()]), atlas.anomaly(codes)
    assert table.rows() == wanted.rows()
    assert atlas.compare(images).shared == list(range(61))
    assert torch.equal(
        atlas.neighbours(images[rows.numpy()], 1, part="held_out").rows[:, 0],
        torch.arange(len(rows)),
    )
    with pytest.raises(UserError, match=r"shape \(n, 3, 8, 8\), as the model .* these have"):
        atlas.encode(torch.zeros(2, 3, 9, 9))
    with pytest.raises(UserError, match="are embeddings, which no decoder makes images of"):
        _ = atlas.image_shape


def test_samples_are_real_images(run: Path, generator: torch.Generator) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    every = {image.numpy().tobytes() for image in atlas.collection.images[:]}
    for image in (255 * atlas.sample(5, generator=generator)).round().to(torch.uint8):
        assert image.numpy().tobytes() in every


def test_the_commands_draw_real_images(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ("travel", "run", "photos/dark/again.png", "light/0.png", "--frames", "5", "--json")
    assert latent_atlas(*words) == 0
    told = json.loads(capsys.readouterr().out)["travel"]["typical"]["images"]
    assert [told[0]["name"], told[-1]["name"]] == ["dark/1.png", "light/0.png"]
    assert latent_atlas("travel", "run", "photos/nowhere.png", "test:0") == 2
    assert "'photos/nowhere.png' is neither a file nor an image of" in capsys.readouterr().err
    assert latent_atlas("sample", str(run), "--count", "90", "--json") == 0
    told = json.loads(capsys.readouterr().out)["images"]
    assert len(told) == 90 > len(set(told))
    assert latent_atlas("sample", str(run), "--count", "90") == 0
    said = f"the real images nearest to 90 new codes: {len(set(told))} images in all"
    assert said in capsys.readouterr().out
    for name in ("travel.png", "samples.png", "map.png"):
        assert (run / name).stat().st_size > 0


def test_photos_from_elsewhere_are_embedded_by_the_model_of_the_run(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    shutil.copy("photos/light/4.png", "elsewhere.png")
    Image.new("RGB", (8, 8), "black").save("black.png")
    assert latent_atlas("travel", "run", "elsewhere.png", "dark/3.png", "--json") == 0
    told = json.loads(capsys.readouterr().out)["travel"]["linear"]["images"]
    assert told[0]["name"] == "light/4.png"
    assert told[0]["distance"] == pytest.approx(0, abs=1e-6)
    assert latent_atlas("travel", "run", "dark/3.png", "black.png", "--out", "p.npz") == 0
    assert "images, and black.png itself" in capsys.readouterr().out
    with np.load("p.npz") as written:
        assert written["typical.images"][-1].max() == 0  # no image of the collection is black
        assert written["typical.images"][:-1].max(axis=(1, 2, 3)).min() > 0
    assert latent_atlas("anomalies", "run", "elsewhere.png", "black.png", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["most_anomalous"][0].endswith("black.png")
    (folder / "other_model.py").write_text(MODEL + "# another")
    monkeypatch.setattr(
        "latent_atlas.codes.embedder.inspect.getsourcefile",
        lambda _: str(folder / "other_model.py"),
    )
    assert latent_atlas("anomalies", "run", "elsewhere.png") == 2
    assert "has changed since it made the codes" in capsys.readouterr().err


DECODE = (
    "--decoder",
    "--set",
    "model.width=4",
    "--set",
    "model.latent_dim=4",
    "--set",
    "train.steps=20",
)


@pytest.fixture(scope="module")
def decoded(run: Path, folder: Path) -> Path:
    """The run with a decoder."""
    copied = shutil.copytree(run, folder / "decoded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert latent_atlas("embed", "photos", "--out", str(copied), *DECODE) == 0
    return copied


def test_a_decoder_shows_codes_beside_the_nearest_real_images(decoded: Path) -> None:
    atlas = Atlas.load(decoded, device="cpu")
    without = Atlas.load(decoded, device="cpu", nearest=True)
    assert (atlas.shown_by, without.shown_by) == ("decoded", "nearest real")
    ends = atlas.codes["held_out"].means[:2]
    path, real = (one.travel(ends[:1], ends[1:], "linear", frames=5) for one in (atlas, without))
    assert path.nearest is not None
    assert real.nearest is not None
    assert torch.equal(path.nearest.rows, real.nearest.rows)
    assert torch.equal(path.strip(), atlas.decode(path.points[:, 0]))
    assert not torch.equal(path.strip(), real.strip())
    assert torch.equal(atlas.pictures(ends), without.decode(ends))
    slope = torch.autograd.functional.jacobian(lambda z: atlas.planner("pullback").decode(z), ends)
    assert slope.abs().max() > 0
    assert {*networks(atlas)} == {"slopes", "decode"}  # the page of a static export decodes, too
    # The model that made the codes encodes images, not an encoder of the decoder.
    torch.testing.assert_close(atlas.encode(path.strip()), without.encode(path.strip()))


def test_its_pictures_say_what_is_decoded(
    decoded: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []

    def seen(strips: object, threshold: float, title: str | None) -> Figure:
        said.append(title)
        return Figure()

    monkeypatch.setattr("latent_atlas.report.figures.travel.strips_picture", seen)
    monkeypatch.chdir(folder)
    for flags in ((), ("--nearest",)):
        words = ("travel", "decoded", "dark/1.png", "light/0.png", "--frames", "3", *flags)
        assert latent_atlas(*words, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["shown"] == ("nearest real" if flags else "decoded")
        assert told["travel"]["typical"]["images"][0]["name"] == "dark/1.png"
        assert latent_atlas("sample", "decoded", "--count", "4", "--json", *flags) == 0
        assert json.loads(capsys.readouterr().out)["shown"] == told["shown"]
    assert said == [
        "Decoded frames, above the nearest real images",
        "Frames as the nearest real images",
    ]
    assert latent_atlas("doctor", "decoded") == 0
    assert "decoder/model.safetensors intact" in capsys.readouterr().out
    assert latent_atlas("report", "decoded") == 0
    (decoded / "map.png").unlink()
    assert latent_atlas("map", "decoded") == 0


def test_the_explorer_decodes_paths_and_shows_real_codes_as_they_are(
    decoded: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    atlas = Atlas.load(decoded, device="cpu")
    assert atlas.collection is not None
    ends = atlas.codes["held_out"].means[:2]
    with client_of(atlas, run=decoded) as client:
        told = client.get("/api/atlas").json()
        assert told["shown_by"] == "decoded"
        assert not {"photos", "pace"} & set(told["lacks"])
        shown = arrays(client.post("/api/decode", json={"codes": ends.tolist()}))["images"]
        wanted = (255 * atlas.decode(ends)).round().byte().permute(0, 2, 3, 1)
        assert np.array_equal(shown, wanted.numpy())
        asked = {"part": "held_out", "indices": "0", "size": 8}
        answer = client.get("/api/thumbnails", params=asked)
        picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
        real = atlas.collection.images[atlas.collection.rows["held_out"][:1].numpy()]
        assert np.array_equal(picture, real[0].permute(1, 2, 0).numpy())
        content = (folder / "photos/light/4.png").read_bytes()
        assert facts(client.post("/api/encode", content=content))["shown_by"] == "reconstruction"


def test_a_decoder_that_cannot_be_learned_is_told(
    decoded: Path,
    run: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)

    def refused(out: Path, *words: str, source: str = "photos") -> str:
        assert latent_atlas("embed", source, "--out", str(out), *DECODE, *words) == 2
        return capsys.readouterr().err

    assert "has a decoder of 8 pixels already; use it, or remove" in refused(decoded)
    plain = shutil.copytree(run, tmp_path / "run")
    assert "holds the images of 'photos', not of 'photos/dark'" in refused(
        plain, source="photos/dark"
    )
    assert "thumbnails that a decoder learns from have 8 pixels" in refused(
        plain, "--set", "model.image_size=16"
    )
    assert "have 4 principal ones; choose at most that" in refused(
        plain, "--set", "model.latent_dim=9"
    )
    assert "trains by itself; leave it out" in refused(plain, "--set", "train.mode=online")
    shutil.copytree(decoded / "decoder", plain / "decoder")
    (plain / "decoder" / "model.safetensors").unlink()
    assert "begun with train.steps 20, and now 30 is asked for; leave that out" in refused(
        plain, "--set", "train.steps=30"
    )
    assert latent_atlas("embed", "photos", "--out", str(plain), *DECODE) == 0  # goes on
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).normal(size=(60, 2)).astype("f4"))
    bare = tmp_path / "bare"
    assert latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(bare), *FAST) == 0
    assert "keeps no images of its codes, so no decoder can be learned" in refused(bare)


def test_the_explorer_shows_each_image_once_along_a_path(run: Path) -> None:
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    ends = atlas.codes["held_out"].means[:2]
    with client_of(atlas) as client:
        told = client.get("/api/atlas").json()
        assert told["image"] == {"channels": 3, "height": 8, "width": 8}
        assert "pace" in told["lacks"]
        body = {"waypoints": ends.tolist(), "planners": ["linear"], "frames": 7, "images": False}
        shown = arrays(client.post("/api/travel", json=body))["linear/images"]
        wanted = atlas.travel(ends[:1], ends[1:], "linear", frames=7).strip()
        assert np.array_equal(shown, (255 * wanted).round().byte().permute(0, 2, 3, 1).numpy())
        assert len({image.tobytes() for image in shown}) == 7
        alone = arrays(client.post("/api/decode", json={"codes": ends.tolist()}))["images"]
        assert np.array_equal(alone, shown[[0, -1]])
        answer = client.get(
            "/api/thumbnails", params={"part": "held_out", "indices": "0", "size": 8}
        )
        picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
        assert np.array_equal(picture, shown[0])


def test_the_explorer_takes_photos_by_the_model_of_the_run(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    atlas = Atlas.load(run, device="cpu")
    content = (folder / "photos/light/4.png").read_bytes()
    with client_of(atlas, run=run) as client:
        assert "photos" not in client.get("/api/atlas").json()["lacks"]
        answer = client.post("/api/encode", content=content)
        given, about = arrays(answer), facts(answer)
        assert np.array_equal(given["image"], given["reconstruction"])  # the nearest is itself
        assert atlas.collection is not None
        wanted = atlas.collection.code("light/4.png")
        torch.testing.assert_close(torch.from_numpy(given["code"]), wanted)
        assert about["shown_by"] == "nearest"
        (row,) = atlas.anomaly(given["code"]).rows()
        assert about["anomaly"]["p_value"] == row["p_value"]


def test_lists_of_images_of_two_sizes_are_shown_at_the_smaller() -> None:
    lists = tuple(
        ImageList(
            title, ("a",), torch.zeros(1, 3), torch.zeros(1, 3, side, side, dtype=torch.uint8)
        )
        for title, side in (("now", 4), ("before the decoder", 8))
    )
    found, _ = arrays_and_facts(tiny_atlas(), [Section("both", (), lists)])
    assert found["images"].shape == (2, 4, 4, 3)


def test_the_explorer_lists_the_images_and_the_last_comparison(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    copied, other = shutil.copytree(run, tmp_path / "run"), tmp_path / "other"
    other.mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8), (255, 40 * number, 0)).save(other / f"{number}.png")
    atlas = Atlas.load(copied, device="cpu")
    assert atlas.collection is not None
    names, rarity = atlas.real_images[1], atlas.rarity()
    with client_of(atlas, run=copied) as client:
        seen = facts(client.get("/api/overview"))["sections"]
        assert [section["title"] for section in seen] == ["Rare and typical", "Duplicates"]
        rarest, typical = seen[0]["lists"]
        assert rarest["names"] == [names[row] for row in rarity.argsort(descending=True)[:16]]
        assert typical["names"] == [names[row] for row in rarity.argsort()[:16]]
        assert rarest["values"] == pytest.approx(rarity.sort(descending=True).values[:16].tolist())
        assert seen[1]["lists"][0]["names"] == ["dark/1.png", "dark/again.png"]
        assert latent_atlas("compare", str(copied), str(other)) == 0
        answer = client.get("/api/overview")
    (title, unlike, missing) = (
        facts(answer)["sections"][2]["title"],
        *facts(answer)["sections"][2]["lists"],
    )
    assert title == "Compared with other"
    assert (unlike["own"], missing["own"]) == (False, True)
    assert set(unlike["names"]) <= {f"{number}.png" for number in range(6)}
    lists = [one for section in facts(answer)["sections"] for one in section["lists"]]
    every = arrays(answer)
    assert sum(len(one["names"]) for one in lists) == len(every["codes"]) == len(every["images"])
    own = sum(len(one["names"]) for one in lists[:-2])
    pixels = torch.from_numpy(every["images"]).permute(0, 3, 1, 2)
    torch.testing.assert_close(atlas.encode(pixels), torch.from_numpy(every["codes"]))
    numbers = [int(name.split(".")[0]) for name in unlike["names"]]
    assert every["images"][own : own + len(numbers), 0, 0, 1].tolist() == [40 * n for n in numbers]


def test_the_report_of_a_collection_shows_what_is_known_of_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    for picture in copied.glob("*.png"):
        picture.unlink()
    assert latent_atlas("report", str(copied)) == 0
    said = capsys.readouterr().out
    assert "Rare and typical: 60 images ranked by the mean distance to the ten nearest" in said
    assert "Duplicates: 1 group of copies" in said
    drawn = {file.name for file in copied.glob("*.png")}
    assert {"rarity.png", "duplicates.png", "samples.png", "travel.png", "map.png"} <= drawn
    page = (copied / "report.html").read_text()
    assert "RGB, embedded by corner_model:corners; run" in page
    assert "dark/1.png, dark/again.png" in page
    rarest = json.loads((copied / "metrics.json").read_text())["Rare and typical"]["rarest"]
    atlas = Atlas.load(copied, device="cpu")
    assert rarest.split(", ")[0] == atlas.real_images[1][int(atlas.rarity().argmax())]
    for other in ("Reconstructions:", "Geometry:", "Training curves:"):  # that it could not have
        assert other not in page
    assert latent_atlas("evaluate", str(copied)) == 2
    assert "`latent-atlas report`, `anomalies`, `duplicates`" in capsys.readouterr().err


def test_what_a_comparison_found_is_read_as_it_was_written(tmp_path: Path) -> None:
    codes = torch.arange(6.0).reshape(2, 3)
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    lists = (
        ImageList("a", ("x", "y"), codes, images, (1.0, 0.5), own=False),
        ImageList("b", (), codes[:0], None),
    )
    written = Section("title", ("one", "two"), lists)
    written.save(tmp_path / COMPARISON)
    (read,) = comparison_of(tmp_path)
    assert read.about() == written.about()
    for one, other in zip(read.lists, lists, strict=True):
        assert torch.equal(one.codes, other.codes)
        assert (one.images is None) == (other.images is None)
    assert comparison_of(tmp_path / "nowhere") == comparison_of(None) == []
    write_tensors(tmp_path / COMPARISON, {"0.codes": codes}, {"about": "{}"})
    with pytest.raises(UserError, match=r"comparison\.safetensors is damaged"):
        comparison_of(tmp_path)


def test_copies_and_near_duplicates_are_told_apart(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas("duplicates", str(run), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    copies = [group["names"] for group in told["groups"] if group["exact"]]
    assert copies == [["dark/1.png", "dark/again.png"]]
    assert (run / "duplicates.png").stat().st_size > 0
    collection = Atlas.load(run, device="cpu").collection
    assert collection is not None
    codes = collection.all_codes()
    for group in told["groups"]:
        first, *others = (codes[list(collection.names).index(name)] for name in group["names"])
        assert group["distance"] == pytest.approx(
            max(float((first - o).norm()) for o in others), abs=1e-5
        )
    near = {name for group in told["groups"] for name in group["names"]}
    distances = (codes[:, None] - codes).norm(dim=2).fill_diagonal_(torch.inf).min(dim=1).values
    assert {collection.names[i] for i in range(61) if distances[i] <= told["within"]} == near
    assert latent_atlas("duplicates", str(run), "--within", "2") == 2
    assert "the share is 2.0; choose one between 0 and 1" in capsys.readouterr().err


def test_the_rarest_and_the_most_typical_images_are_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas("anomalies", str(run), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    atlas = Atlas.load(run, device="cpu")
    assert atlas.collection is not None
    means = torch.cat([codes.means for codes in atlas.codes.values()])
    distances = (
        (means[:, None] - means)
        .norm(dim=2)
        .fill_diagonal_(torch.inf)
        .sort(dim=1)
        .values[:, :10]
        .mean(dim=1)
    )
    torch.testing.assert_close(atlas.rarity(), distances)
    for title, which in ("rarest", distances.argmax()), ("most_typical", distances.argmin()):
        row = torch.cat([*atlas.collection.rows.values()])[which]
        assert told[title][0] == atlas.collection.names[int(row)]
    assert (run / "anomalies.png").stat().st_size > 0
    assert len((run / "anomalies.csv").read_text().splitlines()) == 61


def test_a_run_without_a_collection_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(
        tmp_path / "codes.npy", np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    )
    assert (
        latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(tmp_path / "run"), *FAST) == 0
    )
    assert latent_atlas("duplicates", str(tmp_path / "run")) == 2
    assert "keeps no images of its collection" in capsys.readouterr().err


def test_a_collection_whose_images_are_gone_says_so(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "embeddings")
    with pytest.raises(UserError, match="embeddings"):
        Atlas.load(tmp_path / "run", device="cpu")


def test_an_embedding_that_was_interrupted_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls"
    model = f"""
import pathlib
calls = pathlib.Path({str(calls)!r})
def counted(images):
    with calls.open("a") as file:
        file.write(f"{{len(images)}} ")
    if len(calls.read_text().split()) == 3:
        raise KeyboardInterrupt
    return images.mean(1)[:, ::7, ::7].flatten(1)
"""
    (tmp_path / "counting_model.py").write_text(model)
    shutil.copytree(folder / "photos", tmp_path / "photos")
    words = (
        "embed",
        "photos",
        "--out",
        "run",
        "--model",
        "counting_model:counted",
        "--image-size",
        "8",
        *FAST,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(embedding, "ROWS", 20)
        assert latent_atlas(*words) == 130
        assert "stopped after 2 of 4 shards" in capsys.readouterr().err
        for command in ("sample", "doctor"):
            assert latent_atlas(command, "run") > 0
            assert "embed` that began it finishes it" in "".join(capsys.readouterr())
        shutil.copy("photos/light/0.png", "photos/light/new.png")
        assert latent_atlas(*words) == 2
        assert "'photos', of which 39 are done, and 'photos' has others now" in (
            capsys.readouterr().err
        )
        Path("photos/light/new.png").unlink()
        assert latent_atlas(*words) == 0
        assert (
            calls.read_text() == "20 19 20 20 2 "
        )  # of 62 files one is no image; only the third shard again
        assert len(Atlas.load("run", device="cpu").collection.images) == 61  # type: ignore[union-attr]
        assert latent_atlas(*words) == 2
        assert "holds a run already" in capsys.readouterr().err


def test_a_collection_that_moved_or_changed_is_told(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied, where = shutil.copytree(run, tmp_path / "run"), tmp_path / "photos"
    shutil.copytree(folder / "photos", where)
    model = ("--model", "corner_model:corners", "--image-size", "8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        again = ("embed", str(where), "--out", str(copied), *model)
        assert latent_atlas(*again) == 2
        assert "holds a run already; choose another --out" in capsys.readouterr().err
        shutil.copy(where / "light/0.png", where / "light/new.png")
        (where / "light/2.png").unlink()
        (where / "light/4.png").unlink()
        assert latent_atlas(*again) == 2
        assert f"'{where}' is not '{folder / 'photos'}': 1 image more, 2 fewer; choose" in (
            capsys.readouterr().err
        )
        other = ("--model", "torch:sum", "--image-size", "16", "--fit", "pad")
        assert latent_atlas("embed", "photos", "--out", str(copied), *other) == 2
        assert (
            "holds a run already, made with another model (corner_model:corners then, torch:sum "
            "now) and another image size (8 then, 16 now) and another fit (crop then, pad now); "
            "choose another --out"
        ) in capsys.readouterr().err
        shutil.copy(folder / "photos/light/0.png", folder / "photos/light/new.png")
        assert latent_atlas("embed", "photos", "--out", str(copied), *model) == 2
        (folder / "photos/light/new.png").unlink()
        assert "'photos' has changed since: 1 image more, 0 fewer; choose" in (
            capsys.readouterr().err
        )
        (folder / "photos").rename(folder / "moved")
        try:
            assert latent_atlas("doctor", str(copied)) == 0
            said = capsys.readouterr().out
            assert f"the images are no longer at {folder / 'photos'}" in said
            assert digest_of("corner_model:corners") in said
            words = ("travel", str(copied), "photos/light/2.png", "dark/1.png", "--frames", "3")
            assert latent_atlas(*words) == 0
        finally:
            (folder / "moved").rename(folder / "photos")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "resnet",
            "choose efficientnet, hf:OWNER/NAME of the Hugging Face hub, or module:function",
        ),
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("math:no_such_function", "has no function 'no_such_function'"),
    ],
)
def test_a_model_that_is_not_there_is_named(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        digest_of(name)


def test_a_function_that_fails_is_named_with_its_error(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "failing_model.py").write_text("def f(images): raise ValueError('no\\nway')")
    monkeypatch.chdir(tmp_path)
    words = ("embed", str(folder / "photos"), "--out", "run", "--model", "failing_model:f")
    assert latent_atlas(*words, "--image-size", "8") == 2
    assert (
        "1 shard failed, for instance: failing_model:f failed on images (32, 3, 8, 8) with "
        "ValueError: no; the others stay"
    ) in capsys.readouterr().err


def test_doctor_says_whether_the_model_has_changed(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for text, said in ((MODEL, False), (MODEL + "# another", True)):
        (folder / "corner_model.py").write_text(text)
        assert latent_atlas("doctor", str(run)) == 0
        assert ("has changed since, SHA-256" in capsys.readouterr().out) == said
    (folder / "corner_model.py").write_text(MODEL)


def test_what_makes_no_codes_is_refused() -> None:
    with pytest.raises(UserError, match="it has to return codes"):
        embedder("torch:sum", "cpu", "32")(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_efficientnet_makes_1280_numbers_of_an_image(generator: torch.Generator) -> None:
    model = embedder("efficientnet", "cpu", "32")
    noise = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=generator)
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    codes = model(torch.cat([noise, white]))
    assert codes.shape == (2, 1280)
    assert (codes[0] - codes[1]).norm() > 0.1 * codes[0].norm()
    torch.testing.assert_close(model(noise)[0], codes[0], rtol=1e-3, atol=1e-4)
    transparent = torch.cat([noise, torch.zeros(1, 1, 32, 32, dtype=torch.uint8)], dim=1)
    torch.testing.assert_close(model(transparent)[0], codes[1], rtol=1e-3, atol=1e-4)
    assert len(digest_of("efficientnet")) == 64
