"""Trackers: what they keep is what the run has, once, whatever ends the training or the tracker."""

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from command_line import latent_atlas
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, DataConfig, ModelConfig, TrainConfig
from latent_atlas.data.load import load_images
from latent_atlas.errors import UserError
from latent_atlas.report import trackers
from latent_atlas.report.trackers import Send, track, tracking
from latent_atlas.runs import Run
from latent_atlas.training.loop import train

TINY = Config(
    data=DataConfig(source="digits", limit=120, held_out=0.2),
    model=ModelConfig(image_size=8, channels=1, latent_dim=2, width=4, discriminator_width=4),
    train=TrainConfig(
        steps=30,
        batch_size=16,
        log_every=7,
        checkpoint_every=10,
        adversarial_start=5,
        kl_warmup=5,
        device="cpu",
    ),
    map=MapConfig(width=8, depth=1, steps=20, check_every=10, batch_size=64, levels=1),
)
METRICS = {"map": {"kl": 5.5, "boundary": "prior"}, "travel": {"walk, arriving": {"length": 1.25}}}
PIXEL = (200, 100, 50)

Values = dict[tuple[str, int], float]
"""Values by their name and step."""


class Recorder:
    """A tracker that keeps what it is sent, until it fails at a step."""

    def __init__(self, fails_at: float = float("inf")) -> None:
        self.fails_at = fails_at
        self.sent: list[tuple[int, dict[str, float], list[str]]] = []
        self.names: set[str] = set()

    @contextmanager
    def __call__(self, run: Path, name: str, settings: Any) -> Iterator[Send]:
        self.names.add(name)
        assert settings["model"]["latent_dim"] == 2

        def send(step: int, values: Any, pictures: Any) -> None:
            if step >= self.fails_at:
                raise ConnectionError("the line is down")
            self.sent.append((step, dict(values), sorted(pictures)))

        yield send


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    kept = Recorder()
    monkeypatch.setitem(trackers.TRACKERS, "recorder", (kept, "json"))
    return kept


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.claim()
    run.begin(TINY)
    return run


@pytest.fixture
def finished(begun: Run) -> Run:
    """Records, metrics and a picture, as training and the report leave them."""
    for step in (7, 14):
        begun.log({"phase": "model", "step": step, "steps": 14, "kl": 1 / step})
    for step in (10, 20):
        begun.log({"phase": "map", "step": step, "steps": 20, "loss": step / 8})
    begun.write_json("metrics.json", METRICS)
    Image.new("RGB", (4, 3), PIXEL).save(begun.file("map.png"))
    return begun


EXPECTED = {
    ("model/kl", 7): 1 / 7,
    ("model/kl", 14): 1 / 14,
    ("map/loss", 24): 1.25,
    ("map/loss", 34): 2.5,
    ("metrics/map/kl", 34): 5.5,
    ("metrics/travel/walk_arriving/length", 34): 1.25,
}


def wanted(run: Run, last: int) -> list[tuple[int, dict[str, Any]]]:
    """The records of a log as a tracker gets them; without speeds, which depend on the machine."""
    return [
        (
            record["step"] + (last if record["phase"] == "map" else 0),
            {
                f"{record['phase']}/{name}": value
                for name, value in record.items()
                if name not in (*trackers.NO_LOSS, "images_per_second")
            },
        )
        for record in run.records()
    ]


def losses(recorder: Recorder) -> list[tuple[int, dict[str, float]]]:
    return [
        (step, {name: one for name, one in values.items() if "images_per_second" not in name})
        for step, values, _ in recorder.sent
    ]


def test_an_interrupted_training_sends_each_record_once(begun: Run, recorder: Recorder) -> None:
    """It dies after the record of step 21, and goes on from the checkpoint of step 20."""
    images, told = load_images(TINY.data, 8, 1), []

    def dies(entry: dict[str, Any]) -> None:
        log(entry)
        if entry["step"] == 21:
            raise RuntimeError("killed")

    with (
        pytest.raises(RuntimeError, match="killed"),
        tracking(begun, "recorder", told.append) as log,
    ):
        train(images, TINY, begun, log=dies)
    assert [step for step, _, _ in recorder.sent] == [7, 14, 21]
    with tracking(begun, "recorder", told.append) as log:
        train(images, TINY, begun, log=log, resume=True)
    assert losses(recorder) == wanted(begun, 30)
    assert {"model", "map"} == {name.split("/")[0] for _, v, _ in recorder.sent for name in v}
    assert len(recorder.names) == 1
    assert told == []


def test_train_sends_the_losses_and_then_what_the_report_drew(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing again where the run is resumed, which has finished."""

    def draw(out: Path, *rest: Any) -> None:
        Run(out).write_json("metrics.json", METRICS)
        Image.new("RGB", (4, 3), PIXEL).save(out / "map.png")

    monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", draw)
    run = Run(tmp_path / "run")
    words = [
        "--limit",
        "120",
        "--image-size",
        "8",
        "--steps",
        "30",
        "--batch-size",
        "16",
        "--device",
        "cpu",
    ]
    small = "model.latent_dim=2 model.width=4 model.discriminator_width=4 train.log_every=7"
    small += " map.steps=20 map.width=8 map.depth=1 map.check_every=10 map.levels=1"
    words += [word for one in small.split() for word in ("--set", one)]
    told = ("--out", str(run.path), "--track", "recorder")
    assert latent_atlas("train", "digits", *words, *told) == 0
    *records, (_, metrics, pictures) = recorder.sent
    assert losses(recorder)[:-1] == wanted(run, 30)
    assert [set(names) for _, _, names in records] == [set()] * len(records)
    assert metrics == {"metrics/map/kl": 5.5, "metrics/travel/walk_arriving/length": 1.25}
    assert pictures == ["map"]
    assert latent_atlas("train", "--resume", *told) == 0
    assert recorder.sent == [*records, (50, metrics, pictures)]


def test_a_tracker_that_fails_costs_a_warning_and_gets_the_rest_later(
    begun: Run, recorder: Recorder
) -> None:
    recorder.fails_at, told = 21, []
    with tracking(begun, "recorder", told.append) as log:
        train(load_images(TINY.data, 8, 1), TINY, begun, log=log)
    assert begun.file("map.safetensors").is_file()
    (warning,) = told
    assert "recorder failed (ConnectionError: the line is down)" in warning
    assert f"`latent-atlas track {begun.path} recorder` sends what it has not got" in warning
    with pytest.raises(UserError, match="the line is down"):
        track(begun, "recorder")
    recorder.fails_at = 1000
    assert track(begun, "recorder").records == len(begun.records()) - 2
    assert losses(recorder) == wanted(begun, 30)


def test_a_tracker_that_hangs_does_not_keep_a_run_from_ending(
    begun: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, told = Event(), []
    monkeypatch.setattr(trackers, "PATIENCE", 0.05)
    monkeypatch.setattr(
        Recorder, "__call__", lambda *given: nullcontext(lambda *sent: waits.wait())
    )
    with tracking(begun, "recorder", told.append) as log:
        log({"phase": "model", "step": 7, "steps": 30, "kl": 1.0})
    waits.set()
    assert ["recorder takes long" in one for one in told] == [True]


def test_pictures_and_metrics_are_sent_again_where_they_changed(
    finished: Run, recorder: Recorder
) -> None:
    assert track(finished, "recorder") == (4, ("metrics.json", "map.png"))
    assert {(n, step): one for step, v, _ in recorder.sent for n, one in v.items()} == EXPECTED
    assert recorder.sent[-1][2] == ["map"]
    assert track(finished, "recorder") == (0, ())
    Image.new("RGB", (4, 3)).save(finished.file("map.png"))
    assert track(finished, "recorder") == (0, ("map.png",))
    assert recorder.sent[-1] == (34, {}, ["map"])


def test_the_command_takes_an_adapter_of_ones_own(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it prints does not get between the result, which stdout has alone."""
    monkeypatch.chdir(finished.path.parent)
    Path("own_tracker.py").write_text(
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def lines(run, name, settings):\n"
        "    print('opened')\n"
        "    with (run / 'lines').open('a') as file:\n"
        "        yield lambda step, values, pictures: file.writelines(f'{step} {v}\\n' for v in values)\n"
        "    print('closed')\n"
    )
    assert latent_atlas("track", "run", "own_tracker:lines", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["records"] == 4
    assert told.err == "opened\nclosed\n"
    lines = finished.file("lines").read_text().splitlines()
    assert lines == [f"{step} {name}" for name, step in EXPECTED]


@pytest.mark.parametrize(
    "command", [("track", "RUN"), ("train", "digits", "--out", "RUN", "--track")]
)
def test_a_tracker_that_is_not_there_is_told_before_anything_is_done(
    command: tuple[str, ...],
    begun: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(begun.path) if word == "RUN" else word for word in command]
    assert latent_atlas(*words, "sacred") == 2
    assert (
        "choose tensorboard, wandb, trackio, mlflow, or module:function" in capsys.readouterr().err
    )
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert latent_atlas(*words, "wandb") == 2
    assert "pip install 'latent-atlas[wandb]'" in capsys.readouterr().err


def of_tensorboard(run: Run) -> tuple[Values, int]:
    """Scalars of event files, which are records of length, checksum, bytes, checksum; pictures."""
    from tensorboardX.proto.event_pb2 import Event

    found: list[tuple[tuple[str, int], float]] = []
    pictures = 0
    for file in run.file("tensorboard").iterdir():
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                if value.HasField("image"):
                    pictures += 1
                else:
                    found.append(((value.tag, event.step), value.simple_value))
    return once(found), pictures


def of_wandb(run: Run) -> tuple[Values, int]:
    """The history in .wandb files: blocks of chunks of checksum, length, type and bytes."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # which ends the process that writes
    found, pictures = [], 0
    for file in run.file("wandb").glob("offline-run-*/run-*.wandb"):
        content, at, whole = file.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if 2**15 - at % 2**15 < 7:
                at += 2**15 - at % 2**15
            length, kind = struct.unpack_from("<HB", content, at + 4)
            whole += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last chunk
                record, whole = Record.FromString(whole), b""
                row = {tuple(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                pictures += list(row.values()).count("image-file")
                found += [
                    ((name[0], row["_step",]), value)
                    for name, value in row.items()
                    if len(name) == 1 and not name[0].startswith("_")
                ]
    return once(found), pictures


def of_trackio(run: Run) -> tuple[Values, int]:
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("latent-atlas")
    rows = SQLiteStorage.get_logs("latent-atlas", name)
    found = [
        ((title, row["step"]), value)
        for row in rows
        for title, value in row.items()
        if isinstance(value, float)
    ]
    return once(found), sum(isinstance(value, dict) for row in rows for value in row.values())


def of_mlflow(run: Run) -> tuple[Values, int]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run.path}/mlflow.db")
    (one,) = client.search_runs([client.get_experiment_by_name("latent-atlas").experiment_id])
    assert one.data.params["model/latent_dim"] == "2"
    found = [
        ((title, point.step), point.value)
        for title in one.data.metrics
        for point in client.get_metric_history(one.info.run_id, title)
    ]
    return once(found), len(client.list_artifacts(one.info.run_id))


def once(found: list[tuple[tuple[str, int], float]]) -> Values:
    """The values, none of which was written twice."""
    assert len(dict(found)) == len(found)
    return dict(found)


READERS: dict[str, Callable[[Run], tuple[Values, int]]] = {
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "trackio": of_trackio,
    "mlflow": of_mlflow,
}


@pytest.mark.filterwarnings("ignore")  # of the libraries themselves
@pytest.mark.parametrize("tracker", READERS)
def test_a_real_tracker_keeps_what_the_run_has(
    tracker: str, finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened twice, as by a run that is resumed, and without a network."""
    pytest.importorskip(trackers.TRACKERS[tracker][1])
    monkeypatch.setenv("WANDB_MODE", "offline")
    if tracker == "trackio":
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    records = finished.records()
    finished.rewind_log(14)
    metrics = finished.file("metrics.json").rename(tmp_path / "metrics.json")
    picture = finished.file("map.png").rename(tmp_path / "map.png")
    assert track(finished, tracker) == (2, ())
    for record in records[2:]:
        finished.log({name: value for name, value in record.items() if name != "checksum"})
    metrics.rename(finished.file("metrics.json"))
    picture.rename(finished.file("map.png"))
    assert track(finished, tracker) == (2, ("metrics.json", "map.png"))
    values, pictures = READERS[tracker](finished)
    assert values == pytest.approx(EXPECTED, rel=1e-6)
    assert pictures == 1
