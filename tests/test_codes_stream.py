"""Codes in many files: what is drawn of them, what is held out, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from latent_atlas.codes import sample, stream
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.sample import Sampled, sample_codes
from latent_atlas.codes.stream import CodeFiles
from latent_atlas.data.split import held_out_by_content
from latent_atlas.errors import UserError

N, D = 1_200, 3
Arrays = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 100 codes, so that files have several."""
    monkeypatch.setattr(stream, "VALUES", 100 * D)


@pytest.fixture
def arrays(generator: torch.Generator) -> Arrays:
    means = torch.randn(N, D, generator=generator)
    return {
        "means": means.half(),
        "log_variances": torch.full((N, D), -4.0).half(),
        "digests": torch.randint(0, 256, (N, 16), generator=generator, dtype=torch.uint8),
        "labels": (means[:, 0] > 0).long(),
    }


def written(arrays: Arrays, folder: Path, sizes: tuple[int, ...] = (500, 700)) -> CodeFiles:
    """The codes in files of so many."""
    folder.mkdir(exist_ok=True)
    ends = np.cumsum(sizes)
    for i, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        part = {name: value[start:end].contiguous() for name, value in arrays.items()}
        save_file(part, folder / f"shard-{i:05d}.safetensors")
    found = CodeFiles.find(folder)
    assert found is not None
    return found


def held_by_content(arrays: Arrays, share: float) -> torch.Tensor:
    """The rule by which training holds images out."""
    return held_out_by_content(arrays["digests"].numpy(), share)


def rows(codes: Codes) -> set[tuple[float, ...]]:
    return {tuple(row) for row in codes.means.tolist()}


def order_of(digests: torch.Tensor) -> torch.Tensor:
    """Row numbers by the first half of the digests."""
    return torch.tensor(sorted(range(len(digests)), key=lambda i: bytes(digests[i, :8].tolist())))


def test_the_images_held_out_are_those_of_training(arrays: Arrays, tmp_path: Path) -> None:
    files = written(arrays, tmp_path / "codes")
    assert (files.count, files.shape, files.dimension) == (N, (D,), D)
    found = sample_codes(files, 0.2)
    held = held_by_content(arrays, 0.2)
    assert rows(found.held_out) == rows(Codes(arrays["means"][held]))
    assert rows(found.train) == rows(Codes(arrays["means"][~held]))
    assert found.count == {"train": int((~held).sum()), "held_out": int(held.sum())}
    assert found.train.means.dtype == torch.float16
    assert found.warnings == ()


def test_of_many_codes_those_of_the_lowest_digests_are_drawn_whatever_the_files(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "MOST_HELD_OUT", 50)
    found = sample_codes(written(arrays, tmp_path / "two"), 0.2, 300)
    assert 290 < len(found.train) <= 300
    assert 40 < len(found.held_out) <= 50
    order = order_of(arrays["digests"])
    held = held_by_content(arrays, 0.2)[order]
    first = order[~held][: len(found.train)]
    assert rows(found.train) == rows(Codes(arrays["means"][first]))
    shuffled = {name: value.flip(0) for name, value in arrays.items()}
    again = sample_codes(written(shuffled, tmp_path / "four", (100, 1, 299, 800)), 0.2, 300)
    assert rows(again.train) == rows(found.train)
    assert rows(again.held_out) == rows(found.held_out)
    for part in ("train", "held_out"):
        assert torch.equal(again.kept[part][0].means, found.kept[part][0].means)


def test_a_run_keeps_the_first_codes_with_their_labels(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "KEPT", 120)
    found = sample_codes(written(arrays, tmp_path / "codes"), 0.25)
    kept = {part: len(codes) for part, (codes, _) in found.kept.items()}
    assert sum(kept.values()) == pytest.approx(120, abs=1)
    assert kept["held_out"] == pytest.approx(30, abs=5)
    order = order_of(arrays["digests"])
    held = held_by_content(arrays, 0.25)[order]
    codes, labels = found.kept["train"]
    assert torch.equal(codes.means, arrays["means"][order[~held]][: kept["train"]].float())
    assert labels is not None
    assert torch.equal(labels, (codes.means[:, 0] > 0).long())
    assert found.label_names == ("0", "1")


def test_codes_take_no_more_memory_than_they_may(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "MOST_BYTES", 400 * D * 4)  # two bytes each, twice
    assert 380 < len(sample_codes(written(arrays, tmp_path / "codes"), 0.2).train) <= 400


def test_of_equal_images_one_is_drawn(arrays: Arrays, tmp_path: Path) -> None:
    twice = {name: torch.cat([value, value[:200]]) for name, value in arrays.items()}
    once = sample_codes(written(arrays, tmp_path / "once"), 0.2)
    found = sample_codes(written(twice, tmp_path / "twice", (700, 700)), 0.2)
    assert torch.equal(found.kept["train"][0].means, once.kept["train"][0].means)
    assert (len(found.train), len(found.held_out)) == (len(once.train), len(once.held_out))
    assert found.warnings == ("200 of the 1400 codes drawn repeat others and were left out",)


def test_codes_without_digests_are_split_by_themselves(
    generator: torch.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.randn(4_000, 3, generator=generator, dtype=torch.float64).numpy()
    codes[1], codes[3] = codes[0], 0.0
    np.save(tmp_path / "all.npy", codes.reshape(4_000, 1, 3))
    assert CodeFiles.find(tmp_path / "all.npy") is None  # few, to be read as a whole
    monkeypatch.setattr(stream, "MANY", 4_000)
    files = CodeFiles.find(tmp_path / "all.npy")
    assert files is not None
    assert files.shape == (1, 3)
    found = sample_codes(files, 0.2)
    assert len(found.held_out) == pytest.approx(800, abs=4 * 25)
    assert found.train.means.dtype == torch.float32
    assert not rows(found.train) & rows(found.held_out)
    assert found.warnings == ("1 of the 4000 codes drawn repeat others and were left out",)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "a.npy", codes[::-1].copy().reshape(4_000, 1, 3))
    other = CodeFiles.find(tmp_path / "folder")
    assert other is not None
    assert rows(sample_codes(other, 0.2).held_out) == rows(found.held_out)


def test_hashes_of_codes_are_even_and_differ_for_nearly_equal_codes() -> None:
    codes = torch.zeros(4_096, 3)
    codes[:, 1] = torch.arange(4_096) / 4_096
    halves = stream._hashed(codes)
    assert len(np.unique(halves)) == 2 * len(codes)
    for numbers in halves.T:
        counts = np.bincount((numbers >> np.uint64(60)).astype(int), minlength=16)
        assert ((counts - 256) ** 2 / 256).sum() < 45  # chi², 15 degrees: p = 8e-5
    sides = (halves >> np.uint64(63)).astype(int)
    assert abs((sides[:, 0] == sides[:, 1]).mean() - 0.5) < 0.04
    assert (stream._hashed(-codes[:1]) == halves[0]).all()  # -0 is 0


def test_a_sample_that_is_unlike_the_rest_is_reported(arrays: Arrays, tmp_path: Path) -> None:
    order = arrays["means"][:, 0].float().argsort()
    arrays["digests"][order, 0] = (torch.arange(N) * 256 // N).byte()
    found = sample_codes(written(arrays, tmp_path / "codes"), 0.2, 200)
    assert "standard errors from that of all 1200: many codes repeat" in " ".join(found.warnings)


def _nan(arrays: Arrays) -> None:
    arrays["means"][612, 1] = torch.nan


def _infinite_width(arrays: Arrays) -> None:
    arrays["log_variances"][3] = torch.inf


def _far(arrays: Arrays) -> None:
    arrays["means"] = arrays["means"].float()
    arrays["means"][999] = 1e6


def _alike(arrays: Arrays) -> None:
    arrays["digests"][:, :2] = 7


def _few(arrays: Arrays) -> None:
    arrays["digests"][:, 8:] = 255


def _other_digests(arrays: Arrays) -> None:
    arrays["digests"] = arrays["digests"][:, :8].contiguous()


def _whole_numbers(arrays: Arrays) -> None:
    arrays["means"] = arrays["means"].long()


REFUSED = [
    (_nan, r"shard-00001.safetensors' has codes that are not finite, .* the first at row 112;"),
    (_infinite_width, r"shard-00000.safetensors' has codes that are not finite, .* at row 3;"),
    (_far, r"row 499 of '.*shard-00001.safetensors' is over 10,000 times as far from the others"),
    (_alike, "of 9.. codes 9.. have digests that begin alike"),
    (_few, "of 1200 codes 0 are held out by their digests, which leaves 1200"),
    (_other_digests, r"holds .*digests \(500, 8\).*; give floats as `means`"),
    (_whole_numbers, r"holds .*; give floats as `means`"),
]


@pytest.mark.parametrize(
    ("change", "sentence"), REFUSED, ids=lambda case: getattr(case, "__name__", "")
)
def test_bad_codes_are_refused_with_their_place(
    change: Callable[[Arrays], None], sentence: str, arrays: Arrays, tmp_path: Path
) -> None:
    change(arrays)
    with pytest.raises(UserError, match=sentence):
        drawn(arrays, tmp_path)


def drawn(arrays: Arrays, folder: Path) -> Sampled:
    return sample_codes(written(arrays, folder / "codes"), 0.2, 200)


def test_numbers_of_any_floating_type_are_codes(generator: torch.Generator, tmp_path: Path) -> None:
    codes = torch.randn(N, D, generator=generator).numpy()
    np.save(tmp_path / "a.npy", codes[:500].astype(">f8"))
    np.save(tmp_path / "b.npy", codes[500:].astype("<f4"))
    files = CodeFiles.find(tmp_path)
    assert files is not None
    found = sample_codes(files, 0.2)
    assert rows(found.train) | rows(found.held_out) == rows(Codes(torch.from_numpy(codes)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the memory")
def test_a_large_array_stays_in_its_file(
    generator: torch.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "VALUES", 2**16)
    codes = torch.randn(2**19, 16, generator=generator)  # 32 MiB
    np.save(tmp_path / "codes.npy", codes.numpy())
    del codes
    files = CodeFiles.find(tmp_path)
    assert files is not None
    before, most = anonymous(), 0
    for _ in files.pieces():
        most = max(most, anonymous())
    assert most - before < 12 * 2**10


def anonymous() -> int:
    """Memory of this process that is not of files, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_one_large_array_without_codes_is_left_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MANY", 9)
    np.save(tmp_path / "flat.npy", np.zeros(20))
    assert CodeFiles.find(tmp_path / "flat.npy") is None
    (tmp_path / "flat.npy").unlink()
    np.save(tmp_path / "none.npy", np.zeros((20, 0)))
    with pytest.raises(UserError, match=r"has codes of shape \(20, 0\)"):
        CodeFiles.find(tmp_path)


def test_files_that_do_not_belong_together_are_refused(arrays: Arrays, tmp_path: Path) -> None:
    files = written(arrays, tmp_path)
    del arrays["log_variances"]
    save_file(arrays, tmp_path / "shard-00002.safetensors")
    with pytest.raises(UserError, match="files before it do not all have `log_variances`"):
        sample_codes(files.find(tmp_path) or files, 0.2)
    save_file({"means": torch.zeros(9, 4)}, tmp_path / "shard-00003.safetensors")
    with pytest.raises(UserError, match=r"has codes of shape \(9, 4\) and '.*' of \(500, 3\)"):
        CodeFiles.find(tmp_path)


def test_a_folder_that_is_not_ready_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no .safetensors or .npy files of codes"):
        CodeFiles.find(tmp_path)
    written(arrays, tmp_path)
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(UserError, match="is not complete; the `latent-atlas encode` that began it"):
        CodeFiles.find(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"label_names": ["left"]}))
    files = CodeFiles.find(tmp_path)
    assert files is not None
    assert files.label_names == ("left",)
    with pytest.raises(UserError, match=r"labels of more classes than its manifest.json names"):
        sample_codes(files, 0.2)


def test_codes_in_half_precision_are_drawn_in_single(generator: torch.Generator) -> None:
    halves = Codes(torch.randn(50, 2, generator=generator).half(), torch.zeros(50, 2).half())
    assert halves.sample(9, generator=generator).dtype == torch.float32
    assert halves[torch.arange(3)].means.dtype == torch.float32


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("pack.json", r"is a pack of images; encode them first: latent-atlas encode RUN .* --out"),
        ("manifest.json", "fit does not read Parquet and Lance; encode again, without --to"),
    ],
)
def test_other_folders_of_this_house_are_known(tmp_path: Path, file: str, sentence: str) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(UserError, match=sentence):
        CodeFiles.find(tmp_path)
