"""Jobs on shards: the same files by any number of processes, after an interruption and a repair."""

import csv
import errno
import importlib.util
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas.atlas.loading import read_model
from latent_atlas.data import shards as sharding
from latent_atlas.data.shards import shards_of
from latent_atlas.distributed import jobs
from latent_atlas.errors import UserError
from latent_atlas.runs import Run, read_tensors, write_tensors

EACH = 12  # images of an archive
ARCHIVES = 4


def png(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def archive(path: Path, numbers: range) -> None:
    """Images in a tar archive; that of number 15 is cut."""
    with tarfile.open(path, "w") as tar:
        for number in numbers:
            content = png(number)[: 20 if number == 15 else None]
            member = tarfile.TarInfo(f"ä/{number:03}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four archives of twelve images, of which one is cut."""
    folder = tmp_path_factory.mktemp("source") / "tars"
    folder.mkdir()
    for part in range(ARCHIVES):
        archive(folder / f"{part}.tar", range(part * EACH, (part + 1) * EACH))
    return folder


@pytest.fixture(scope="module")
def codes(digits_run: Path, tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives encoded by one process."""
    out = tmp_path_factory.mktemp("codes") / "c"
    assert latent_atlas("encode", str(digits_run), str(tars), "--out", str(out)) == 0
    return out


def content(out: Path) -> dict[str, bytes]:
    """All that a finished job leaves to its readers."""
    files = [*out.glob("*.safetensors"), out / "manifest.json", out / "rejects.jsonl"]
    return {path.name: path.read_bytes() for path in files}


def tensors_of(out: Path) -> list[dict[str, torch.Tensor]]:
    return [read_tensors(path)[0] for path in sorted(out.glob("*.safetensors"))]


def names_of(tensors: dict[str, torch.Tensor]) -> list[str]:
    text, offsets = tensors["names"].numpy().tobytes(), tensors["name_offsets"].tolist()
    return [text[a:b].decode() for a, b in pairwise(offsets)]


def test_codes_are_those_of_the_encoder(codes: Path, digits_run: Path) -> None:
    found = tensors_of(codes)
    assert [len(one["means"]) for one in found] == [12, 11, 12, 12]
    numbers = [number for number in range(48) if number != 15]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(png(n)))) for n in numbers])
    model = read_model(Run(digits_run), torch.device("cpu"))
    expected = model.posterior(torch.from_numpy(pixels)[:, None])
    for name, rows in zip(("means", "log_variances"), expected, strict=True):
        assert rows is not None
        seen = torch.cat([one[name] for one in found])
        assert seen.dtype == torch.float16
        torch.testing.assert_close(seen.float(), rows, rtol=1e-3, atol=1e-3)
    assert [name for one in found for name in names_of(one)] == [f"ä/{n:03}.png" for n in numbers]
    digests = torch.cat([one["digests"] for one in found])
    assert (digests.dtype, digests.shape) == (torch.uint8, (47, 16))
    assert len(digests.unique(dim=0)) == 47
    assert all("labels" not in one for one in found)


def test_the_manifest_counts_and_the_rejects_are_named(codes: Path, digits_run: Path) -> None:
    manifest = json.loads((codes / "manifest.json").read_text())
    assert (manifest["rows"], manifest["rejects"], manifest["failed"]) == (47, 1, [])
    assert manifest["dimension"] == 3
    for shard in manifest["shards"]:
        path = codes / shard["file"]
        assert jobs.file_in_mark(path) == {k: shard[k] for k in ("file", "bytes", "sha256")}
    (reject,) = (json.loads(line) for line in (codes / "rejects.jsonl").read_text().splitlines())
    assert (reject["path"], reject["shard"]) == ("ä/015.png", "shard-00001")


def test_labels_and_a_pack_give_the_same_codes(digits_run: Path, tmp_path: Path) -> None:
    source, run = tmp_path / "f", str(digits_run)
    for number in range(30):
        path = source / ("odd" if number % 2 else "even") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    shape = ("--image-size", "8", "--channels", "1")
    assert latent_atlas("pack", str(source), str(tmp_path / "p"), *shape) == 0
    assert latent_atlas("encode", run, str(source), "--out", str(tmp_path / "a")) == 0
    assert latent_atlas("encode", run, str(tmp_path / "p"), "--out", str(tmp_path / "b")) == 0
    (found,), (same,) = tensors_of(tmp_path / "a"), tensors_of(tmp_path / "b")
    assert found["labels"].tolist() == [0] * 15 + [1] * 15
    assert found.keys() == same.keys()
    assert all(torch.equal(found[name], same[name]) for name in found)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["label_names"] == [
        "even",
        "odd",
    ]


def test_shards_that_were_cut_or_deleted_later_are_made_again(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(codes, out)
    (out / "shard-00001.safetensors").unlink()
    cut = out / "shard-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:100])
    assert latent_atlas("encode", str(digits_run), str(tars), "--out", str(out)) == 0
    assert content(out) == content(codes)


def test_an_interrupted_job_goes_on(
    codes: Path,
    digits_run: Path,
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("encode", str(digits_run), str(tars), "--out", str(tmp_path / "c"))
    do = jobs.Job.do

    def interrupted(job: jobs.Job, shard: sharding.Shard) -> jobs.Outcome:
        if shard.name == "shard-00002":
            raise KeyboardInterrupt
        return do(job, shard)

    monkeypatch.setattr(jobs.Job, "do", interrupted)
    assert latent_atlas(*command) == 130
    assert "stopped after 2 of 4 shards" in capsys.readouterr().err
    assert not (tmp_path / "c" / "manifest.json").exists()
    done: list[str] = []

    def counted(job: jobs.Job, shard: sharding.Shard) -> jobs.Outcome:
        done.append(shard.name)
        return do(job, shard)

    monkeypatch.setattr(jobs.Job, "do", counted)
    assert latent_atlas(*command) == 0
    assert done == ["shard-00002", "shard-00003"]
    assert content(tmp_path / "c") == content(codes)


def test_a_full_disk_ends_the_job_and_leaves_what_is_whole(
    codes: Path,
    digits_run: Path,
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ("encode", str(digits_run), str(tars), "--out", str(tmp_path / "c"))
    write = jobs.write_tensors

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        if path.name == "shard-00001.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, tensors)

    monkeypatch.setattr(jobs, "write_tensors", full)
    assert latent_atlas(*command) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "the shards that are whole stay" in said
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 1
    monkeypatch.undo()
    assert latent_atlas(*command) == 0
    assert content(tmp_path / "c") == content(codes)


def test_a_damaged_archive_fails_alone_and_is_done_when_it_is_repaired(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    for path in tars.iterdir():
        whole = path.read_bytes()
        (folder / path.name).write_bytes(whole[: len(whole) // 2] if path.stem == "2" else whole)
    command = ("encode", str(digits_run), str(folder), "--out", str(tmp_path / "c"), "--json")
    assert latent_atlas(*command) == 1
    (failed,) = json.loads(capsys.readouterr().out)["failed"]
    assert failed["shard"] == "shard-00002"
    assert "2.tar" in failed["place"]
    assert "it is damaged" in failed["reason"]
    (folder / "2.tar").write_bytes((tars / "2.tar").read_bytes())
    assert latent_atlas(*command) == 0
    same = {name for name in content(codes) if name != "manifest.json"}  # which names the source
    assert {name: content(tmp_path / "c")[name] for name in same} == {
        name: content(codes)[name] for name in same
    }


def test_another_job_is_refused(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(codes))
    before = content(codes)
    run = str(digits_run)
    assert latent_atlas("encode", run, str(tars), *out, "--to", "parquet") == 2
    assert (
        "was begun with another format (safetensors then, parquet now)" in capsys.readouterr().err
    )
    assert latent_atlas("encode", run, str(tars / "0.tar"), *out) == 2
    assert f"was begun with the images of '{tars}'" in capsys.readouterr().err
    other = tmp_path / "run"
    other.mkdir()
    for path in digits_run.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    weights = read_tensors(other / "model.safetensors")[0]
    write_tensors(other / "model.safetensors", {name: 2 * w for name, w in weights.items()})
    assert latent_atlas("encode", str(other), str(tars), *out) == 2
    assert "was begun with another model" in capsys.readouterr().err
    assert latent_atlas("pack", str(tars), str(codes)) == 2
    assert "was begun with another" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert latent_atlas("encode", run, str(tars), "--out", str(tmp_path / "full")) == 2
    assert "is not empty and holds no job" in capsys.readouterr().err
    assert content(codes) == before


def test_a_run_without_a_model_is_refused(tmp_path: Path, tars: Path) -> None:
    assert latent_atlas("encode", str(tmp_path), str(tars), "--out", str(tmp_path / "c")) == 2


@pytest.mark.parametrize("what", ["folder", "tar", "array"])
def test_shards_of_a_source_are_its_items_in_order(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "s"
    if what == "array":
        source = tmp_path / "s.npy"
        np.save(source, np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8))
    elif what == "tar":
        source = tmp_path / "s.tar"
        archive(source, range(20, 50))
    else:
        source.mkdir()
        for number in range(20, 50):
            (source / f"{number}.png").write_bytes(png(number))
    found = shards_of(str(source), rows=8)
    assert [shard.name for shard in found.shards] == [f"shard-0000{i}" for i in range(4)]
    monkeypatch.setattr(sharding, "CHUNK", 3)
    square = sharding.Square(8, 1)

    def read(shard: sharding.Shard) -> Iterator[sharding.Chunk]:
        return pickle.loads(pickle.dumps(shard)).chunks(square, [])

    chunks = [list(read(shard)) for shard in found.shards]
    assert [[len(rows.names) for _, rows in some] for some in chunks] == [[3, 3, 2]] * 3 + [[3, 3]]
    names = [name for some in chunks for _, rows in some for name in rows.names]
    whole = sharding.open_source(str(source))
    assert names == [item.name for item in whole.items]
    images = torch.cat([squares for some in chunks for squares, _ in some])
    reading = sharding.read_all(whole.items, square, False, None)
    assert torch.equal(images, reading.images)


def test_torchrun_writes_the_same_files(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["encode", str(digits_run), str(tars), "--out", str(tmp_path / "c"), "--json"]
    done = subprocess.run(
        [*command, "-m", "latent_atlas", *words],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert json.loads(done.stdout)["images"] == 47
    assert content(tmp_path / "c") == content(codes)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra scale")
def test_ray_writes_the_same_files_and_listens_on_loopback_alone(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path
) -> None:
    # In a process of its own: Ray's threads and warnings are not those of the tests.
    script = f"""
import shutil, subprocess, sys
from pathlib import Path
from latent_atlas.data.shards import shards_of
from latent_atlas.distributed.encoding import Encoding
from latent_atlas.distributed.jobs import Job, SafetensorsWriter, run
from latent_atlas.distributed.ray_jobs import actors
from latent_atlas.distributed import ray_jobs

shared = ray_jobs._shared

def watched(ray, workers, shards):
    yield from shared(ray, workers, shards)
    if shutil.which("ss"):
        print(subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout, file=sys.stderr)

ray_jobs._shared = watched
job = Job(Encoding.by(Path({str(digits_run)!r}), "cpu"), SafetensorsWriter(), Path({str(tmp_path / "c")!r}))
print(run(job, shards_of({str(tars)!r}), executor=actors(2)).rows)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "47"
    assert content(tmp_path / "c") == content(codes)
    sockets = [
        line.split()[3]
        for line in done.stderr.splitlines()
        if "raylet" in line or "gcs_server" in line
    ]
    assert all("127.0.0.1]:" in p or p.startswith(("127.0.0.1:", "[::1]:")) for p in sockets)
    assert sockets or shutil.which("ss") is None


def test_an_array_of_the_same_length_is_another_source(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((30, 8, 8), np.uint8))
    before = shards_of(str(tmp_path / "a.npy")).digest
    assert shards_of(str(tmp_path / "a.npy")).digest == before
    np.save(tmp_path / "a.npy", np.ones((30, 8, 8), np.uint8))
    assert shards_of(str(tmp_path / "a.npy")).digest != before


def test_a_damaged_model_is_no_damaged_shard(
    digits_run: Path, tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(digits_run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"junk")
    words = ("encode", str(tmp_path / "run"), str(tars), "--out", str(tmp_path / "c"))
    assert latent_atlas(*words) == 2
    assert "model.safetensors is damaged" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_no_actors_and_actors_under_torchrun_are_refused(
    digits_run: Path,
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("encode", str(digits_run), str(tars), "--out", str(tmp_path / "c"), "--ray")
    assert latent_atlas(*words, "0") == 2
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert latent_atlas(*words, "2") == 2
    assert "leave it out under torchrun" in capsys.readouterr().err


def rows_of_table(table: object) -> list[tuple[object, ...]]:
    columns = ("name", "digest", "mean", "log_variance")
    return sorted(
        tuple(tuple(v) if isinstance(v, list) else v for v in (row[c] for c in columns))
        for row in table.to_pylist()  # pyright: ignore[reportAttributeAccessIssue]
    )


def expected_rows(codes: Path) -> list[tuple[object, ...]]:
    return sorted(
        (name, bytes(digest.numpy()), tuple(mean.tolist()), tuple(spread.tolist()))
        for one in tensors_of(codes)
        for name, digest, mean, spread in zip(
            names_of(one),
            one["digests"],
            one["means"].float(),
            one["log_variances"].float(),
            strict=True,
        )
    )


def test_parquet_holds_the_same_numbers_as_vectors(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = tmp_path / "c"
    command = ("encode", str(digits_run), str(tars), "--out", str(out), "--to", "parquet")
    assert latent_atlas(*command) == 0
    files = sorted(out.glob("*.parquet"))
    assert len(files) == ARCHIVES
    table = parquet.read_table(files[0])
    assert str(table.schema.field("mean").type) == "fixed_size_list<element: float>[3]"
    rows = sorted(row for file in files for row in rows_of_table(parquet.read_table(file)))
    assert rows == expected_rows(codes)


@pytest.mark.filterwarnings("ignore")
def test_lance_holds_the_same_numbers_after_a_resumption(
    codes: Path, digits_run: Path, tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lance = pytest.importorskip("lance")
    out = tmp_path / "c"
    command = ("encode", str(digits_run), str(tars), "--out", str(out), "--to", "lance")
    mark = jobs.Job._marked

    def unmarked(job: jobs.Job, shard: sharding.Shard, *args: object, **how: object) -> object:
        if shard.name == "shard-00002":
            raise KeyboardInterrupt  # after its data, before its mark
        return mark(job, shard, *args, **how)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(jobs.Job, "_marked", unmarked)
    assert latent_atlas(*command) == 130
    monkeypatch.undo()
    assert latent_atlas(*command) == 0
    assert latent_atlas(*command) == 0  # a finished job is finished again
    table = lance.dataset(str(out / "codes.lance"))
    assert len(table.get_fragments()) == ARCHIVES
    assert len(list((out / "codes.lance" / "data").iterdir())) == ARCHIVES
    assert rows_of_table(table.to_table()) == expected_rows(codes)


def test_scales_that_differ_are_named() -> None:
    from latent_atlas.distributed.packing import agreed_scales

    one = {"shard": "shard-00000", "scales": {"floats": [[0, 1]], "integers": []}}
    other = {"shard": "shard-00001", "scales": {"floats": [[-1, 1]], "integers": [[0, 255]]}}
    assert agreed_scales([one, one]) == {"floats": [0, 1], "integers": None}
    with pytest.raises(UserError, match="floats of shard-00000 were read by the scale"):
        agreed_scales([one, other])


@pytest.fixture(scope="module")
def scores(digits_run: Path, tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives scored by one process."""
    out = tmp_path_factory.mktemp("scores") / "s"
    assert latent_atlas("anomalies", str(digits_run), str(tars), "--out", str(out)) == 0
    return out


def rows_of(*files: Path) -> list[dict[str, str]]:
    found = []
    for path in files:
        with path.open(newline="") as file:
            found += csv.DictReader(file)
    return found


def assert_same_rows(found: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            try:
                assert float(one[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-4)
            except ValueError:
                assert one[name] == value


def test_scores_in_shards_are_those_of_all_images_at_once(
    scores: Path, digits_run: Path, tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = str(digits_run), tmp_path / "whole.csv"
    shape = ("--image-size", "8", "--channels", "1")
    assert latent_atlas("pack", str(tars), str(tmp_path / "p"), *shape) == 0
    assert latent_atlas("anomalies", run, str(tmp_path / "p"), "--out", str(whole)) == 0
    expected = rows_of(whole)
    found = rows_of(*sorted(scores.glob("*.csv")))
    digests = torch.cat([one["digests"] for one in tensors_of(tmp_path / "p")]).numpy()
    assert [row.pop("digest") for row in found] == [bytes(row).hex() for row in digests]
    assert_same_rows(found, expected)
    manifest = json.loads((scores / "manifest.json").read_text())
    assert manifest["outliers"] == sum(row["is_outlier"] == "True" for row in expected) > 0
    ranked = sorted(expected, key=lambda row: -float(row["anomaly_score"]))
    assert [one["name"] for one in manifest["most_anomalous"]] == [row["name"] for row in ranked]
    assert (manifest["rows"], manifest["rejects"]) == (47, 1)
    capsys.readouterr()
    again = ("anomalies", run, str(tars), "--out", str(scores), "--json")
    assert latent_atlas(*again) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outliers"], told["images"]) == (manifest["outliers"], 47)
    assert told["calibrated_on"] == manifest["calibrated_on"]


def test_scores_as_parquet_with_classes(digits_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    source, run = tmp_path / "f", str(digits_run)
    for number in range(30):
        path = source / ("odd" if number % 2 else "even") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    whole = tmp_path / "whole.csv"
    assert latent_atlas("anomalies", run, str(source), "--out", str(whole)) == 0
    out = ("--out", str(tmp_path / "s"), "--to", "parquet")
    assert latent_atlas("anomalies", run, str(source), *out) == 0
    (path,) = (tmp_path / "s").glob("*.parquet")
    rows = parquet.read_table(path).to_pylist()
    assert [row.pop("label") for row in rows] == [0] * 15 + [1] * 15
    assert len({row.pop("digest") for row in rows}) == 30
    assert_same_rows([{k: str(v) for k, v in row.items()} for row in rows], rows_of(whole))


def tables_of(out: Path) -> dict[str, bytes]:
    files = [*out.glob("*.csv"), out / "manifest.json", out / "rejects.jsonl"]
    return {path.name: path.read_bytes() for path in files}


def test_interrupted_scores_go_on_and_torchrun_writes_the_same(
    scores: Path, digits_run: Path, tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["anomalies", str(digits_run), str(tars), "--out", str(tmp_path / "s")]
    do = jobs.Job.do

    def interrupted(job: jobs.Job, shard: sharding.Shard) -> jobs.Outcome:
        if shard.name == "shard-00002":
            raise KeyboardInterrupt
        return do(job, shard)

    monkeypatch.setattr(jobs.Job, "do", interrupted)
    assert latent_atlas(*words) == 130
    assert len(list((tmp_path / "s").glob("*.csv"))) == 2
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "-m", "latent_atlas", *words],
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert tables_of(tmp_path / "s") == tables_of(scores)


def test_scores_of_another_calibration_or_rate_are_refused(
    scores: Path, digits_run: Path, tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tables_of(scores)
    words = ("anomalies", str(digits_run), str(tars), "--out", str(scores))
    assert latent_atlas(*words, "--false-alarm-rate", "0.2") == 2
    assert "was begun with another false alarm rate (0.05 then, 0.2 now)" in capsys.readouterr().err
    real = tmp_path / "real.npy"
    np.save(real, np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8))
    assert latent_atlas(*words, "--held-out", str(real)) == 2
    assert "was begun with another calibration" in capsys.readouterr().err
    assert tables_of(scores) == before
    other = tmp_path / "s"
    assert latent_atlas(*words[:-1], str(other), "--held-out", str(real)) == 0
    manifest = json.loads((other / "manifest.json").read_text())
    assert manifest["calibrated_on"] == 25
    assert manifest["outliers"] < 10  # noise is nothing unusual among noise


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("SOURCE", "SOURCE", "--out", "s"), "takes the anomaly scores of one source, not of 2"),
        (("SOURCE", "--samples", "5", "--out", "s"), "--samples writes no tables into a folder"),
        (("SOURCE", "--to", "csv"), "--to is for sources that are scored shard by shard"),
        (("SOURCE", "--ray", "2", "--out", "s.csv"), "--ray is for sources"),
        (("SOURCE", "--out", "s", "--false-alarm-rate", "5"), "the false-alarm rate is 5.0"),
        (("SOURCE", "--out", "s.csv"), "anomalies RUN SOURCE --out SCORES` take the folder"),
        (("nowhere", "--out", "s"), "no images at 'nowhere'"),
    ],
)
def test_a_mistake_in_scoring_shards_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    digits_run: Path,
    tars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SOURCE").symlink_to(tars)
    assert latent_atlas("anomalies", str(digits_run), *words) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


def test_a_run_without_a_model_scores_no_shards(
    tars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    np.save(tmp_path / "codes.npy", codes)
    run = tmp_path / "run"
    settings = ("--steps", "20", "--levels", "1", "--set", "map.width=8")
    assert latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(run), *settings) == 0
    words = ("anomalies", str(run), str(tars), "--out", str(tmp_path / "s"))
    assert latent_atlas(*words) == 2
    assert "has no model.safetensors" in capsys.readouterr().err
