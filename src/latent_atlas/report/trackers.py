"""Sends a run to an experiment tracker: its losses as they are logged, its pictures and metrics.

The run folder is the source: a tracker gets what is written there. tracked.json in the folder keeps
what was sent, so nothing is sent twice, and what a tracker missed can be sent later.
"""

import hashlib
import json
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from latent_atlas.codes.embedder import imported
from latent_atlas.errors import UserError, did_you_mean, require
from latent_atlas.runs import Run

__all__ = ["TRACKERS", "Adapter", "Send", "Sent", "track", "tracking"]

Send = Callable[[int, Mapping[str, float], Mapping[str, Path]], None]
"""Takes a step, values by name, and pictures (PNG files) by name."""

Adapter = Callable[[Path, str, Mapping[str, Any]], AbstractContextManager[Send]]
"""Opens a tracker for a run folder, under a name that stays the same when the run is resumed, with
the settings of the run."""

Log = Callable[[dict[str, Any]], None]

NOTE = "tracked.json"
NO_LOSS = ("phase", "step", "steps", "checksum")  # of a record
PROJECT = "latent-atlas"
PATIENCE = 60.0  # seconds that a tracker has to take the last values


@contextmanager
def tensorboard(run: Path, name: str, settings: Mapping[str, Any]) -> Iterator[Send]:
    """Event files in RUN/tensorboard."""
    import numpy as np
    from PIL import Image
    from tensorboardX import SummaryWriter

    # Without a suffix of its own, a file that is opened in the same second replaces the last one.
    suffix = f".{secrets.token_hex(4)}"
    with SummaryWriter(str(run / "tensorboard"), filename_suffix=suffix) as writer:

        def send(step: int, values: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
            for title, value in values.items():
                writer.add_scalar(title, value, step)
            for title, picture in pictures.items():
                with Image.open(picture) as image:
                    pixels = np.asarray(image.convert("RGB"))
                writer.add_image(title, pixels, step, dataformats="HWC")
            writer.flush()

        yield send


@contextmanager
def wandb(run: Path, name: str, settings: Mapping[str, Any]) -> Iterator[Send]:
    """A run of Weights & Biases; in RUN/wandb, for `wandb sync`, where no account is known."""
    import wandb as library  # pyright: ignore[reportMissingImports]

    mode = os.environ.get("WANDB_MODE") or ("online" if library.api.api_key else "offline")
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with library.init(
        project=project,
        id=name,
        name=run.name,
        dir=run,
        config=dict(settings),
        mode=mode,
        resume="allow",
    ) as opened:
        yield lambda step, values, pictures: opened.log(
            {**values, **{title: library.Image(str(one)) for title, one in pictures.items()}},
            step=step,
        )


@contextmanager
def trackio(run: Path, name: str, settings: Mapping[str, Any]) -> Iterator[Send]:
    """A run of Trackio, in the folder where `trackio show` looks."""
    import trackio as library  # pyright: ignore[reportMissingImports]

    opened = library.init(project=PROJECT, name=name, config=dict(settings), resume="allow")
    try:
        yield lambda step, values, pictures: opened.log(
            {**values, **{title: library.Image(str(one)) for title, one in pictures.items()}},
            step=step,
        )
    finally:
        opened.finish()


@contextmanager
def mlflow(run: Path, name: str, settings: Mapping[str, Any]) -> Iterator[Send]:
    """A run of MLflow, at MLFLOW_TRACKING_URI or else in RUN/mlflow.db and RUN/mlruns."""
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
    from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

    folder, address = run.absolute(), os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(address or f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name(PROJECT)
    if found is None:
        place = None if address else (folder / "mlruns").as_uri()
        experiment = client.create_experiment(PROJECT, artifact_location=place)
    else:
        experiment = found.experiment_id
    runs = client.search_runs([experiment], f"tags.latent_atlas = '{name}'")
    if runs:
        identifier = runs[0].info.run_id
    else:
        tags = {"latent_atlas": name}
        identifier = client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        params = [Param(title, str(value)) for title, value in _flat(settings)]
        client.log_batch(identifier, params=params)

    def send(step: int, values: Mapping[str, float], pictures: Mapping[str, Path]) -> None:
        now = round(1000 * time.time())
        metrics = [Metric(title, value, now, step) for title, value in values.items()]
        client.log_batch(identifier, metrics)
        for picture in pictures.values():
            client.log_artifact(identifier, str(picture))

    yield send
    client.set_terminated(identifier)


TRACKERS: dict[str, tuple[Adapter, str]] = {
    "tensorboard": (tensorboard, "tensorboardX"),
    "wandb": (wandb, "wandb"),
    "trackio": (trackio, "trackio"),
    "mlflow": (mlflow, "mlflow"),
}
"""The adapters by name, and the module that each needs."""


class Sent(NamedTuple):
    """What a tracker was sent.

    Attributes:
        records: Number of records of log.jsonl.
        files: Names of the pictures, and metrics.json.
    """

    records: int
    files: tuple[str, ...]


def track(run: Run, tracker: str) -> Sent:
    """Send what a tracker has not got of a run yet.

    Arguments:
        run: The run folder, finished or not.
        tracker: A name of `TRACKERS`, or "module:function" for an `Adapter` of one's own.

    Raises:
        UserError: there is no such tracker or run, a package is missing, or the tracker failed.
    """
    with _opened(run, tracker, adapter_of(tracker)) as sender:
        return Sent(sender.losses(run.records()), sender.results())


@contextmanager
def tracking(run: Run, tracker: str | None, say: Callable[[str], None]) -> Iterator[Log]:
    """Send records to a tracker as they are logged, and at the end the pictures and metrics.

    A thread of its own does this, so that training neither waits for a tracker nor ends with it: a
    failure is told as a warning, and `track` sends the rest. Records that are written again after
    an interruption are not sent again.

    Arguments:
        run: The run folder; at the first record, it is a run.
        tracker: As for `track`; None tracks nothing.
        say: Called with a warning.

    Yields:
        A function to call with each record of log.jsonl.

    Raises:
        UserError: there is no such tracker, or a package is missing.
    """
    if tracker is None:
        yield lambda entry: None
        return
    adapter = adapter_of(tracker)
    entries: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def follow() -> None:
        try:
            with _opened(run, tracker, adapter) as sender:
                sender.losses(run.records())
                for entry in iter(entries.get, None):
                    sender.losses([entry])
                sender.results()
        except UserError as error:
            say(f"warning: {error}")

    thread = Thread(target=follow, daemon=True)

    def log(entry: dict[str, Any] | None) -> None:
        if thread.ident is None:
            thread.start()
        entries.put(entry)

    try:
        yield log
        log(None)  # also where nothing was left to train
    finally:
        if thread.ident is not None:
            entries.put(None)
            thread.join(PATIENCE)
            if thread.is_alive():
                say(f"warning: {tracker} takes long; {_later(run, tracker)}")


def adapter_of(tracker: str) -> Adapter:
    """The adapter of a name, or one of one's own.

    Raises:
        UserError: there is none, or its package is missing.
    """
    if ":" in tracker:
        return imported(tracker, "tracker", ", ".join(TRACKERS))
    require(
        tracker in TRACKERS,
        f"there is no tracker '{tracker}'; choose {', '.join(TRACKERS)}, or module:function for "
        f"one of your own{did_you_mean(tracker, TRACKERS)}",
    )
    adapter, package = TRACKERS[tracker]
    require(
        find_spec(package) is not None,
        f"tracking by {tracker} needs {package}; pip install 'latent-atlas[{tracker}]'",
    )
    return adapter


@contextmanager
def _opened(run: Run, tracker: str, adapter: Adapter) -> Iterator["_Sender"]:
    """A sender of the run to the tracker, while it is open; its failures become one sentence."""
    settings = json.loads(run.config().to_json())
    note = run.read_json(NOTE) or {}
    fresh = {"name": f"{run.path.resolve().name}-{secrets.token_hex(4)}", "step": 0, "files": {}}
    note.setdefault(tracker, fresh)
    try:
        with _on_stderr(adapter(run.path, note[tracker]["name"], settings)) as send:
            yield _Sender(run, send, note, note[tracker])
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise UserError(
            f"{tracker} failed ({type(error).__name__}: {reason}); {_later(run, tracker)}"
        ) from error


@contextmanager
def _on_stderr(tracker: AbstractContextManager[Send]) -> Iterator[Send]:
    """An open tracker; what it prints when it opens and closes leaves stdout to a result."""
    aside = redirect_stdout(sys.stderr)
    with ExitStack() as last:
        last.push(aside)
        with aside:
            send = last.enter_context(tracker)
        last.callback(aside.__enter__)
        yield send


def _later(run: Run, tracker: str) -> str:
    return f"`latent-atlas track {run.path} {tracker}` sends what it has not got"


class _Sender:
    """Sends what a tracker has not got, and notes it."""

    def __init__(self, run: Run, send: Send, note: dict[str, Any], sent: dict[str, Any]) -> None:
        """Arguments: the run; the tracker; the content of tracked.json, and this tracker's part."""
        self.run = run
        self.send = send
        self.note = note
        self.sent = sent
        self.networks = 0  # the last step of the networks, after which the map's are counted

    def losses(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Send the records after the last step that was sent; their number."""
        count = 0
        for record in records:
            if record["phase"] == "model":
                self.networks = step = record["step"]
            else:
                step = self.networks + record["step"]
            if step > self.sent["step"]:
                values = _numbers({k: v for k, v in record.items() if k not in NO_LOSS})
                self.send(step, {f"{record['phase']}/{k}": v for k, v in values.items()}, {})
                self.sent["step"] = step
                self._keep()
                count += 1
        return count

    def results(self) -> tuple[str, ...]:
        """Send the metrics and the pictures that changed; their names."""
        files = [self.run.file("metrics.json"), *sorted(self.run.path.glob("*.png"))]
        digests = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            for file in files
            if file.is_file()
        }
        new = [name for name in digests if self.sent["files"].get(name) != digests[name]]
        if not new:
            return ()
        metrics = (self.run.read_json("metrics.json") or {}) if "metrics.json" in new else {}
        values = {f"metrics/{name}": value for name, value in _numbers(metrics).items()}
        pictures = {Path(name).stem: self.run.file(name) for name in new if name.endswith(".png")}
        self.send(self.sent["step"], values, pictures)
        self.sent["files"] |= digests
        self._keep()
        return tuple(new)

    def _keep(self) -> None:
        self.run.write_json(NOTE, self.note)


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested entries by a path of names, of the characters that all trackers take."""
    for name, value in content.items():
        place = before + re.sub(r"[^\w.-]+", "_", name)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}/")
        else:
            yield place, value


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of nested entries."""
    return {
        place: float(value)
        for place, value in _flat(content)
        if isinstance(value, int | float) and math.isfinite(value)
    }
