"""Work on a large source, shard by shard: resumable, and by one process or many.

| file of the output folder | content |
|---|---|
| job.json | the work, its source and its settings; another job is refused there |
| shard-00000.* | what was made of a shard |
| marks/shard-00000.json | says that the shard is done: its counts and checksum |
| marks/shard-00000.failed.json | says why a shard could not be read; it is tried again next time |
| rejects.jsonl | the images that could not be decoded, with path, reason and shard |
| manifest.json | written last: counts, failed shards, and file, rows and sha256 of each shard |

Every file is renamed into place when it is whole, and a mark is written after its shard. A job that
is killed at any moment and started again does the shards without a mark, and its files are equal to
those of an undisturbed one, however many processes worked.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from latent_atlas.data.decode import quiet
from latent_atlas.data.imageset import Reject
from latent_atlas.data.shards import Shard, Shards
from latent_atlas.errors import Interrupted, UserError, counted, require
from latent_atlas.files import read_object, signed, write_text
from latent_atlas.runs import LEFT_OVER, Run, write_tensors
from latent_atlas.training.processes import Processes, join

__all__ = [
    "Job",
    "Made",
    "Outcome",
    "SafetensorsWriter",
    "Summary",
    "Work",
    "Writer",
    "alone",
    "checksum",
    "file_in_mark",
    "here",
    "is_first",
    "run",
]

Mark = dict[str, Any]
Advance = Callable[[int, int, int, int], object]
"""Called after each shard of this process with the numbers of shards done and of all, and with the
images and the rejects of this call, all of them counted over all processes."""

MARKS = "marks"
LONG = timedelta(days=365)  # that processes wait for the slowest of them
ADVICE = "remove it, and the shard is made again"


@dataclass(frozen=True, eq=False)
class Made:
    """What was made of a shard.

    Attributes:
        tensors: By name, on the CPU; empty if none of the images could be decoded.
        rows: Images they are of.
        rejects: The images that could not be decoded.
        facts: Numbers for JSON that `Work.finish` needs of each shard.
    """

    tensors: dict[str, Tensor]
    rows: int
    rejects: tuple[Reject, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Work(Protocol):
    """What is done to each shard. It is pickled, and sent to the processes that do it."""

    @property
    def name(self) -> str:
        """The command."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that the result depends on besides the source, for JSON."""
        ...

    def __call__(self, shard: Shard) -> Made:
        """Read a shard and make tensors of it.

        Raises:
            UserError: the shard cannot be read; the others are done nevertheless.
        """
        ...

    def finish(
        self, out: Path, marks: list[Mark], failed: list[Mark], shards: Shards
    ) -> dict[str, Any]:
        """Write what is about all shards, and return members of manifest.json.

        Arguments:
            out: The output folder.
            marks: Of the shards of which at least one image could be decoded, in order.
            failed: Of those that could not be read.
            shards: The source.
        """
        ...


@runtime_checkable
class Writer(Protocol):
    """A file format. It is pickled as the work is."""

    name: str

    def write(self, folder: Path, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Write the tensors of a shard; returns members of its mark, among them `file`."""
        ...

    def finish(self, folder: Path, marks: list[Mark]) -> None:
        """Join the files of all shards, where the format does so."""
        ...


class SafetensorsWriter:
    """A safetensors file per shard, which can be memory-mapped."""

    name = "safetensors"

    def write(self, folder: Path, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Write `NAME.safetensors`."""
        path = folder / f"{name}.safetensors"
        write_tensors(path, tensors)
        return file_in_mark(path)

    def finish(self, folder: Path, marks: list[Mark]) -> None:
        """Nothing joins these files."""


def file_in_mark(path: Path) -> dict[str, Any]:
    """Name, size and checksum of a file."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": checksum(path)}


def checksum(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How one shard ended.

    Attributes:
        mark: What its mark says; with `reason` if the shard could not be read.
        stop: A sentence that ends the job, such as that the disk is full.
    """

    mark: Mark
    stop: str | None = None


@dataclass(frozen=True)
class Job:
    """A work, how it is written and where; any process can do a shard of it.

    Attributes:
        work: What is done.
        writer: The file format.
        out: The output folder.
    """

    work: Work
    writer: Writer
    out: Path

    def mark(self, shard: Shard, *, failed: bool = False) -> Path:
        """The file that says that a shard is done, or why it is not."""
        return self.out / MARKS / f"{shard.name}{'.failed' if failed else ''}.json"

    def is_done(self, shard: Shard) -> bool:
        """Whether a shard has a mark, and the file that it names is there in its full size."""
        if not self.mark(shard).is_file():
            return False
        mark = read_object(self.mark(shard), ADVICE)
        if "bytes" not in mark:  # no file of its own, or an empty shard
            return True
        path = self.out / mark["file"]
        return path.is_file() and path.stat().st_size == mark["bytes"]

    def do(self, shard: Shard) -> Outcome:
        """Make a shard, write it, and then its mark."""
        about = {"shard": shard.name, "place": shard.place}
        try:
            with quiet():
                made = self.work(shard)
        except (UserError, OSError) as error:
            mark = about | {"rows": 0, "reason": str(error)}
            return self._marked(shard, mark, failed=True)
        rejects = [{"path": one.path, "reason": one.reason} for one in made.rejects]
        mark = about | {"rows": made.rows, "rejects": rejects} | made.facts
        try:
            if made.rows:
                mark |= self.writer.write(self.out, shard.name, made.tensors)
        except OSError as error:
            return Outcome(mark, self._stopped(error))
        except UserError as error:  # such as that the format's library is not installed
            return Outcome(mark, str(error))
        return self._marked(shard, mark, failed=False)

    def _marked(self, shard: Shard, mark: Mark, *, failed: bool) -> Outcome:
        try:
            write_text(self.mark(shard, failed=failed), json.dumps(signed(mark)) + "\n")
        except OSError as error:
            return Outcome(mark, self._stopped(error))
        return Outcome(mark)

    def _stopped(self, error: OSError) -> str:
        return (
            f"cannot write into {self.out} ({error.strerror}); the shards that are whole stay: "
            "make room or repair that, and run the same command again to do the others"
        )


@dataclass(frozen=True)
class Summary:
    """What a job did.

    Attributes:
        rows, rejects: Images that are in the shards, and images that could not be decoded.
        shards: How many shards are done.
        failed: The marks of those that could not be read, with the `reason`.
        manifest: The content of manifest.json.
    """

    rows: int
    rejects: int
    shards: int
    failed: tuple[Mark, ...]
    manifest: dict[str, Any]


Executor = Callable[[Job, list[Shard]], Iterator[Outcome]]
"""Does shards and yields how each ended, in any order."""


def here(job: Job, shards: Iterable[Shard]) -> Iterator[Outcome]:
    """Do shards one after the other in this process."""
    return (job.do(shard) for shard in shards)


def run(
    job: Job, shards: Shards, *, executor: Executor = here, advance: Advance | None = None
) -> Summary | None:
    """Do all shards that are not done yet, and write manifest.json.

    Under torchrun, process r of w does the shards r, r + w, ..., and the first one finishes the job
    when all are done.

    Arguments:
        job: What is done, and where it is written.
        shards: The source.
        executor: Who does the shards: `here`, or `ray_jobs.actors(n)`.
        advance: Called after each shard of this process.

    Returns:
        What is there now; None in a process of torchrun that is not the first.

    Raises:
        UserError: the folder holds another job, or it cannot be written; or, by the work, the
            shards do not fit together. In other processes than the first it may be `Refused`.
        Interrupted: Ctrl-C or SIGTERM; the shards that are whole stay.
    """
    processes = join(patience=LONG)
    with ExitStack() as held:

        def begin() -> None:
            held.enter_context(Run(job.out).hold())
            _begin(job, shards)

        processes.first(begin)
        mine = shards.shards[processes.rank :: processes.world_size]
        _do(job, mine, len(shards.shards), executor, advance, processes)
        processes.any(False)  # until all are done
        summary = _finish(job, shards) if processes.is_first else None
        processes.leave()
        return summary


def alone() -> bool:
    """Whether torchrun started no other process."""
    return _place_among_processes()[1] == 1


def is_first() -> bool:
    """Whether this process speaks for all: without torchrun it does."""
    return _place_among_processes()[0] == 0


def _place_among_processes() -> tuple[int, int]:
    """Rank and number of the processes that torchrun started; 0 and 1 without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _begin(job: Job, shards: Shards) -> None:
    """Write job.json, or compare the one that is there, and remove what failed or was left over."""
    path = job.out / "job.json"
    about = json.loads(
        json.dumps(
            {
                "work": job.work.name,
                "format": job.writer.name,
                "source": shards.place,
                "items": shards.digest,
                "shards": len(shards.shards),
                **job.work.settings(),
            }
        )
    )
    marks = job.out / MARKS
    if path.is_file():
        _compare(job.out, read_object(path, "choose another folder"), about)
    else:
        require(
            not any(job.out.glob("[!.]*")),
            f"{job.out} is not empty and holds no job; choose another folder",
        )
        marks.mkdir(exist_ok=True)
        write_text(path, json.dumps(signed(about), indent=2) + "\n")
    marks.mkdir(exist_ok=True)
    for old in (*marks.glob("*.failed.json"), *marks.glob(LEFT_OVER)):
        old.unlink(missing_ok=True)


def _compare(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse a job other than the one that the folder was begun with.

    The source may be named otherwise, such as from another folder: the names of its items tell.
    """
    same = ("items", "shards")
    done = sum(read_object(mark, ADVICE)["rows"] for mark in (out / MARKS).glob("*.json"))
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    images = next((name for name in changed if name in same), None)
    require(
        images is None,
        f"{out} was begun with the images of '{before.get('source')}', of which {done:,} are done, "
        f"and '{now['source']}' has "
        f"others{' now' if before.get('source') == now['source'] else ''}; choose another folder, "
        "or give the source it was begun with, as it was, to keep what is done",
    )
    name = next((name for name in changed if name != "source"), "")
    require(
        not name,
        f"{out} was begun with another {name.replace('_', ' ')} ({before.get(name)} then, "
        f"{now.get(name)} now); choose another folder, or give what it was begun with",
    )


def _do(
    job: Job,
    shards: tuple[Shard, ...],
    total: int,
    executor: Executor,
    advance: Advance | None,
    processes: Processes,
) -> None:
    """Do the shards of this process without a mark, and those whose file is no longer whole."""
    left = [shard for shard in shards if not job.is_done(shard)]
    for shard in left:
        job.mark(shard).unlink(missing_ok=True)
    counts = {"shards": len(shards) - len(left), "rows": 0, "rejects": 0}
    done = processes.total("shards", counts["shards"])
    outcomes = executor(job, left)
    if advance is not None:
        advance(done, total, 0, 0)
    try:
        for outcome in outcomes:
            require(outcome.stop is None, str(outcome.stop))
            counts["shards"] += 1
            counts["rows"] += outcome.mark["rows"]
            counts["rejects"] += len(outcome.mark.get("rejects", ()))
            done, rows, rejects = (processes.total(*count) for count in counts.items())
            if advance is not None:
                advance(done, total, rows, rejects)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {done} of {counted(total, 'shard')}, which stay in {job.out}; "
            "the same command goes on from there"
        ) from None
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()


def _finish(job: Job, shards: Shards) -> Summary:
    """Write rejects.jsonl and manifest.json from the marks."""
    marks, failed = [], []
    for shard in shards.shards:
        path = job.mark(shard)
        if path.is_file():
            marks.append(read_object(path, ADVICE))
        else:
            failed.append(read_object(job.mark(shard, failed=True), ADVICE))
    rejects = [one | {"shard": mark["shard"]} for mark in marks for one in mark["rejects"]]
    lines = [json.dumps(signed(reject)) + "\n" for reject in rejects]
    write_text(job.out / "rejects.jsonl", "".join(lines))
    written = [mark for mark in marks if mark["rows"]]
    require(
        bool(written or failed),
        f"none of the {len(rejects):,} images of '{shards.place}' can be decoded; "
        f"{job.out / 'rejects.jsonl'} names them: repair them, or give another source",
    )
    job.writer.finish(job.out, written)
    kept = ("shard", "file", "rows", "bytes", "sha256")
    manifest = {
        "work": job.work.name,
        "format": job.writer.name,
        "source": shards.place,
        **job.work.settings(),
        "rows": sum(mark["rows"] for mark in marks),
        "rejects": len(rejects),
        "failed": [
            {"shard": m["shard"], "place": m["place"], "reason": m["reason"]} for m in failed
        ],
        "label_names": list(shards.label_names),
        "shards": [{name: mark[name] for name in kept if name in mark} for mark in written],
        **job.work.finish(job.out, written, failed, shards),
    }
    write_text(job.out / "manifest.json", json.dumps(signed(manifest), indent=2) + "\n")
    return Summary(manifest["rows"], len(rejects), len(marks), tuple(failed), manifest)
