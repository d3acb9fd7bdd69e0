"""Files of a run: locked, verified when read, replaced as a whole."""

import errno
import importlib
import json
import multiprocessing
import os
import random
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from command_line import latent_atlas
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.config.data import DataConfig
from latent_atlas.config.parse import with_values
from latent_atlas.config.run import Config
from latent_atlas.config.training import TrainConfig
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.files import replacing, write_text
from latent_atlas.report.run_contents import RunContents
from latent_atlas.runs import Run, read_tensors, write_tensors
from server_run import begun, checkpointed, finish


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run of codes."""
    made = begun(tmp_path / "run")
    made.log({"phase": "map", "step": 3, "loss": 0.5})
    finish(made)
    return made


def test_the_second_process_is_told_who_writes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    other = FileLock(tmp_path / ".lock")  # what another process holds
    with other:
        run.file(".holder.json").write_text('{"pid": 77, "host": "there"}')
        with pytest.raises(UserError, match="process 77 on there is writing"), run.hold():
            pass
    with run.hold(), run.hold():  # the holder may hold it again; what the dead left is no obstacle
        assert json.loads(run.file(".holder.json").read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_of_two_processes_one_wins_and_the_run_is_its_own(tmp_path: Path) -> None:
    """The small version of benchmarks/reliability/two_processes.py, without training."""
    context = multiprocessing.get_context("fork")
    both, answers = context.Barrier(2), context.SimpleQueue()

    def contend(seed: int) -> None:
        run, sentence = Run(tmp_path / "run"), ""
        both.wait(60)
        try:
            with run.hold():
                run.claim()
                run.begin(Config(train=TrainConfig(seed=seed)))
                both.wait(60)  # until the other has been refused
        except UserError as error:
            sentence = str(error)
            both.wait(60)
        answers.put((sentence, seed, os.getpid()))

    with warnings.catch_warnings(action="ignore"):  # of a fork beside threads: it uses none
        processes = [context.Process(target=contend, args=(seed,)) for seed in (1, 2)]
        for process in processes:
            process.start()
    (won, seed, pid), (sentence, *_) = sorted(answers.get() for _ in processes)
    for process in processes:
        process.join()
    assert won == ""
    assert f"process {pid} on " in sentence
    assert Run(tmp_path / "run").config().train.seed == seed


def test_damaged_runs_answer_in_one_sentence_or_as_before(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small version of benchmarks/reliability/damaged_runs.py."""
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(benchmarks / "reliability")
    damaged = importlib.import_module("damaged_runs")
    right, outcomes = damaged.answers(digits_run, ["atlas"]), Counter[str]()
    for number in range(12):
        chance, folder = random.Random(number), tmp_path / f"{number}"
        shutil.copytree(digits_run, folder)
        file = chance.choice(sorted(path for path in folder.iterdir() if path.is_file()))
        what = damaged.damage(file, chance)
        outcome = damaged.verdict(damaged.answers(folder, ["atlas"]), right, unsigned=False)
        assert outcome in ("sentence", "the same answers"), (what, outcome)
        outcomes[outcome] += 1
    assert outcomes["sentence"] > 3


def test_what_a_killed_process_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".map.safetensors.0123456789ab.partial").touch()
    (tmp_path / ".mine.partial").touch()
    with Run(tmp_path).hold():
        pass
    assert [file.name for file in tmp_path.iterdir()] == [".mine.partial"]


@pytest.mark.parametrize("name", ["map.safetensors", "codes.safetensors", "config.json"])
def test_any_flipped_bit_is_noticed(run: Run, name: str) -> None:
    Atlas.load(run.path)
    content = run.file(name).read_bytes()
    for place in range(5, len(content), len(content) // 23):
        damaged = bytearray(content)
        damaged[place] ^= 4
        run.file(name).write_bytes(damaged)
        if name == "config.json" and json_equal(damaged, content):
            continue  # a blank became another one
        with pytest.raises(UserError, match=name):
            Atlas.load(run.path)


def json_equal(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("train.means", torch.full((40, 2), torch.nan), "NaN"),
        ("train.means", torch.zeros(40, 2, 1), "shape"),
        ("train.means", torch.zeros(40, 2, dtype=torch.long), "int64"),
        ("train.means", torch.zeros(40, 7), "held_out.means|coordinates"),
        ("held_out.means", None, "no tensor 'held_out.means'"),
        ("other", torch.zeros(3), "'other'"),
        ("train.labels", torch.zeros(3, dtype=torch.long), "train.labels"),
    ],
)
def test_codes_without_checksums_must_still_be_codes(
    run: Run, name: str, change: torch.Tensor | None, said: str
) -> None:
    path = run.file("codes.safetensors")
    tensors = read_tensors(path)[0] | ({} if change is None else {name: change})
    if change is None:
        del tensors[name]
    save_file(tensors, path)
    with pytest.raises(UserError, match=said):
        Atlas.load(run.path)


@pytest.mark.parametrize("place", [0, 5, 10])
def test_infinity_is_found_wherever_it_is(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_atlas.runs.tensors.PIECE", 4)
    values = torch.zeros(11)
    write_tensors(tmp_path / "a.safetensors", {"values": values})
    assert torch.equal(read_tensors(tmp_path / "a.safetensors")[0]["values"], values)
    values[place] = torch.inf
    write_tensors(tmp_path / "a.safetensors", {"values": values})
    with pytest.raises(UserError, match="tensor 'values' holds NaN or infinity"):
        read_tensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", "a"), ("width", 2**40), ("shape", [7]), ("warnings", 3), ("calibration", {"kl": 1})],
)
def test_maps_must_be_maps(run: Run, key: str, value: object) -> None:
    path = run.file("map.safetensors")
    tensors, metadata = read_tensors(path)
    about = json.loads(metadata["map"]) | {key: value}
    save_file(tensors, path, {"map": json.dumps(about)})
    with pytest.raises(UserError, match=r"map\.safetensors is damaged"):
        LatentMap.load(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"train": {"steps": "many"}}'),
        ("config.json", "[" * 100_000),
        ("config.json", "\udcff"),
        ("manifest.json", '{"label_names": 3}'),
        ("manifest.json", '{"label_names": [1]}'),
        ("log.jsonl", '{"step": 3}\n'),
        ("log.jsonl", "3\n"),
        ("log.jsonl", '{"phase": "map", "step": "x"}\n'),
        ("rejects.jsonl", '{"path": 3}\n'),
        ("metrics.json", '{"map": 3}'),
    ],
)
def test_json_of_wrong_types_is_named(
    run: Run, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.file(name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert latent_atlas("doctor", str(run.path)) == 1
    said = capsys.readouterr().out
    assert str(run.file(name)) in said
    assert "damaged" in said or "steps" in said


def test_a_state_of_other_networks_is_refused(tmp_path: Path) -> None:
    from latent_atlas.training.history import History, restore

    run = begun(tmp_path / "run")
    learner = checkpointed(run, 3)
    tensors, _ = read_tensors(run.file("state.safetensors"))
    history = History(10, 4, lambda entry: None)
    assert restore(learner, history, run) == 3
    for changed, step in (({"model/x": torch.zeros(1)}, "3"), ({}, "11"), ({}, "x")):
        write_tensors(run.file("state.safetensors"), tensors | changed, {"step": step})
        with pytest.raises(UserError, match=r"state\.safetensors is damaged"):
            restore(learner, history, run)


def test_a_log_cut_short_is_noticed_once_the_run_is_finished(run: Run) -> None:
    run.count_records()
    assert len(run.records()) == 1
    run.file("log.jsonl").write_bytes(run.file("log.jsonl").read_bytes()[:-9])
    with pytest.raises(UserError, match="0 of 1 records"):
        run.records()


def test_doctor_tells_intact_from_unverified(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(read_tensors(run.file("codes.safetensors"))[0], run.file("codes.safetensors"))
    assert latent_atlas("doctor", str(run.path), "--json") == 0
    told = json.loads(capsys.readouterr().out)["files"]
    assert told["map.safetensors"] == "intact"
    assert "unverified" in told["codes.safetensors"]
    run.file("map.safetensors").unlink()
    assert latent_atlas("doctor", str(run.path)) == 1
    assert "has no map.safetensors" in capsys.readouterr().out


def test_doctor_says_what_should_be_known_of_the_map(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    latent_map = LatentMap.load(run.file("map.safetensors"))
    latent_map.warnings = ("D_z overfits",)
    latent_map.save(run.file("map.safetensors"))
    assert latent_atlas("doctor", str(run.path), "--json") == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes == ["D_z overfits", latent_map.calibration.verdict()]


def test_doctor_says_who_trains_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    holder = run.file(".holder.json")
    holder.write_text('{"pid": 77, "host": "there"}')
    run.file("map.safetensors").write_bytes(b"half")
    with FileLock(run.file(".lock")):  # what another process holds
        assert latent_atlas("doctor", str(run.path)) == 0
    assert "is being trained by process 77 on there" in capsys.readouterr().out
    assert latent_atlas("doctor", str(run.path)) == 1  # that process has died


def test_a_bad_line_of_the_log_is_left_out_where_it_may_be(run: Run) -> None:
    run.log({"phase": "map", "step": 4, "loss": 0.4})
    run.file("log.jsonl").write_text(
        run.file("log.jsonl").read_text().replace("}\n", '}\n{"phase": 3}\nx\n', 1)
    )
    run.file("log.jsonl").write_bytes(run.file("log.jsonl").read_bytes() + b'{"phase": "\xff"}\n')
    damage: list[str] = []
    assert [record["step"] for record in run.records(damage=damage)] == [3, 4]
    assert len(damage) == 3
    for line, sentence in zip((2, 3, 5), damage, strict=True):
        assert f"log.jsonl, line {line}, is damaged" in sentence
    assert damage[0].endswith("it is left out")
    assert RunContents.read(run.path).damage == damage
    with pytest.raises(UserError, match=r"log\.jsonl, line 2, is damaged .*remove it, and"):
        run.records()


def test_a_damaged_map_is_not_told_to_go_with_itself(run: Run) -> None:
    run.file("map.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"remove it, and `latent-atlas train --resume` makes it"):
        LatentMap.load(run.file("map.safetensors"))


def test_images_that_were_moved_can_be_named_when_a_run_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(tmp_path / "run")
    run.begin(replace(run.config(), data=DataConfig(source=str(tmp_path / "moved.zip"))))
    assert latent_atlas("train", "--resume", "--out", str(run.path)) == 2
    said = capsys.readouterr().err
    assert "moved.zip'; if they were moved or renamed, give their place" in said
    assert f"latent-atlas train SOURCE --resume --out {run.path}" in said


@pytest.mark.skipif(os.name != "posix", reason="no permissions of this kind")
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    kept = tmp_path / "a.txt"
    kept.touch(0o600)
    write_text(kept, "after")
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("after", 0o600)


@pytest.mark.skipif(os.name != "posix", reason="no permissions of this kind")
def test_tensors_are_as_readable_as_other_new_files(tmp_path: Path) -> None:
    plain, tensors = tmp_path / "plain", tmp_path / "tensors.safetensors"
    plain.touch()
    write_tensors(tensors, {"a": torch.zeros(2)})
    assert tensors.stat().st_mode == plain.stat().st_mode


def test_a_file_that_cannot_be_written_keeps_what_was_there(tmp_path: Path) -> None:
    kept = tmp_path / "a.txt"
    kept.write_text("before")

    def fill() -> None:
        with replacing(kept) as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space") as error:
        fill()
    assert error.value.filename == str(kept)
    assert kept.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder.png", "x")
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_text(link, "x")
    assert link.is_char_device()
    with pytest.raises(OSError, match="too long"):
        write_text(tmp_path / ("n" * 300), "x")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x"), "x (Too many open files)"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "working folder"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory ran out"),
    ],
)
def test_errors_of_the_system_are_one_sentence(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(folder: Path, console: object) -> None:
        raise error

    monkeypatch.setattr("latent_atlas.cli.commands.doctor._verify", fail)
    assert latent_atlas("doctor", "x") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sample", "travel", "anomalies", "evaluate"])
def test_seeds_are_refused_before_torch_sees_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas(command, "x", "--seed", str(2**70)) == 2
    assert "is no seed" in capsys.readouterr().err


def test_a_misspelt_setting_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'steps'"):
        with_values(TrainConfig(), {"stpes": 3}, called="section 'train'")


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_fewer_images_than_coordinates_are_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((40, 8, 8, 1)))
    run = tmp_path / "run"
    settings = ("--quick", "--set", "model.latent_dim=39", "--set", "data.held_out=0.2")
    assert latent_atlas("train", str(tmp_path / "a.npy"), "--out", str(run), *settings, *words) == 2
    assert "are too few for a map of codes of 39 coordinates; add --set model.latent_dim=" in (
        capsys.readouterr().err
    )
    assert not (run / "config.json").exists()
