"""Data sets of the hub as they are streamed by the library datasets itself, from files made here."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas.config import DataConfig
from latent_atlas.data import ImageSet, huggingface, load_images, probe_source
from latent_atlas.data.load import open_source
from latent_atlas.data.source import Item
from latent_atlas.distributed.parquet import image_table, write_table
from latent_atlas.errors import UserError

datasets: Any = pytest.importorskip("datasets")

FILES, EACH, HELD_OUT = 3, 40, 12


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "PNG")
    return file.getvalue()


def rows(numbers: range) -> dict[str, list[Any]]:
    """Row 3 is damaged, row 4 has no image, and row 5 no class; the class is the file."""
    images: list[Any] = [{"bytes": png(n), "path": None} for n in numbers]
    labels: list[Any] = [n // EACH for n in numbers]
    if 3 in numbers:
        images[3]["bytes"], images[4], labels[5] = b"damaged", None, None
    return {"picture": images, "kind": labels, "words": ["w"] * len(images)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a data set in four Parquet files."""
    root = tmp_path_factory.mktemp("hub")
    features = datasets.Features(
        picture=datasets.Image(),
        kind=datasets.ClassLabel(names=["a", "b", "c", "d"]),
        words=datasets.Value("string"),
    )
    numbers = {f"train-{i:05}": range(i * EACH, (i + 1) * EACH) for i in range(FILES)}
    numbers["test-00000"] = range(FILES * EACH, FILES * EACH + HELD_OUT)
    for name, some in numbers.items():
        table = datasets.Dataset.from_dict(rows(some), features=features)
        table.to_parquet(str(root / "set" / "data" / f"{name}.parquet"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        yield f"hf:{root / 'set'}"


def downloads(place: str) -> list[Path]:
    """What the library has put into its cache."""
    return list((Path(place.removeprefix("hf:")).parent / "cache").glob("**/*.arrow"))


def loaded(source: str, limit: int | None = None) -> ImageSet:
    return load_images(DataConfig(source=source, limit=limit), 8, 1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the rows that are streamed, as they come."""
    names: list[str] = []
    items = huggingface.HubFile.items

    def noting(self: huggingface.HubFile) -> Iterator[Item]:
        for item in items(self):
            names.append(item.name)
            yield item

    monkeypatch.setattr(huggingface.HubFile, "items", noting)
    return names


def shown(found: ImageSet) -> list[int]:
    """The numbers of the images in a set."""
    known = {pixels(n).tobytes(): n for n in range(FILES * EACH + HELD_OUT)}
    return [known[image.numpy().tobytes()] for image in found.images]


def test_a_limit_ends_the_stream(place: str, read: list[str]) -> None:
    came: list[tuple[int, int, int]] = []
    data = DataConfig(source=place, limit=60)
    found = load_images(data, 8, 1, progress=lambda *counts: came.append(counts))
    assert len(read) == 60
    assert shown(found.train) == [*range(3), *range(5, 18), *range(40, 58), *range(80, 98)]
    assert shown(found.test) == [*range(120, 126)]
    assert found.test.names[2] == "test:2"
    assert found.train.names[-1] == "train-00002:17"
    assert [reject.path for reject in found.rejects] == ["train-00000:3", "train-00000:4"]
    assert found.label_names == ("a", "b", "c", "d")
    assert found.labels is not None
    assert found.labels[:4].tolist() == [0, 0, 0, -1]
    assert found.notes[0] == "60 rows were streamed; the rest was not downloaded"
    assert came[:60] == [(n, 60, 0) for n in range(1, 61)]
    assert came[-1] == (60, 60, 2)


def test_a_limit_above_the_size_takes_what_there_is(place: str) -> None:
    assert len(loaded(place, 10_000)) == FILES * EACH + HELD_OUT - 2


def test_few_images_suggest_the_size(place: str, read: list[str]) -> None:
    assert probe_source(place) == (8, 1)
    assert len(read) == 64


def test_a_pack_streams_file_by_file_and_has_all_images(place: str, tmp_path: Path) -> None:
    assert latent_atlas("pack", place, str(tmp_path / "p")) == 0
    assert not downloads(place)
    pack, whole = loaded(str(tmp_path / "p")), loaded(place)
    assert downloads(place)
    torch.testing.assert_close(pack.images[:], whole.images)
    assert torch.equal(pack.held_out, whole.held_out)
    assert whole.labels is not None
    assert pack.labels is not None
    assert torch.equal(pack.labels, whole.labels)
    assert pack.label_names == whole.label_names
    assert [one.path for one in whole.rejects] == ["row:3", "row:4"]
    rejects = (tmp_path / "p" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in rejects] == ["train-00000:3", "train-00000:4"]


def test_a_file_that_stops_is_read_again_next_time(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(place.removeprefix("hf:"), tmp_path / "set")
    file = folder / "data" / "train-00001.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes(len(content) // 3) + content[-2000:])
    with pytest.raises(UserError, match=r"cannot read train-00001, row \d+, of"):
        loaded(f"hf:{folder}", 60)
    command = ("pack", f"hf:{folder}", str(tmp_path / "p"), "--image-size", "8", "--channels", "1")
    assert latent_atlas(*command) == 1
    assert "shard-00001) could not be read: cannot read train-00001" in capsys.readouterr().err
    file.write_bytes(content)
    assert latent_atlas(*command) == 0
    assert len(loaded(str(tmp_path / "p"))) == FILES * EACH + HELD_OUT - 2


def test_files_of_a_folder_are_streamed_too(tmp_path: Path) -> None:
    for number in range(24):
        path = tmp_path / "set" / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number) if number != 5 else b"damaged")
    with closing(open_source(f"hf:{tmp_path / 'set'}", 10)) as source:
        assert [item.label for item in source.items] == [0] * 10
        assert source.items[1].read() == png(10)


def test_an_exported_table_is_a_data_set(tmp_path: Path) -> None:
    pictures = [png(n) for n in range(24)]
    table = image_table([f"test:{n}" for n in range(24)], torch.rand(24, 3), {}, pictures)
    (tmp_path / "table").mkdir()
    write_table(table, tmp_path / "table" / "images.parquet")
    with closing(open_source(f"hf:{tmp_path / 'table'}", 24)) as source:
        assert [item.read() for item in source.items] == pictures


def test_what_cannot_be_streamed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot load '.*nowhere' from Hugging Face") as caught:
        loaded(f"hf:{tmp_path}/nowhere", 9)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="'hf:' names no data set; write hf:OWNER/NAME"):
        loaded("hf:")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "train.csv").write_text("text\nhello\n")
    with pytest.raises(UserError, match="has no column of images; choose"):
        loaded(f"hf:{tmp_path}/words", 9)
