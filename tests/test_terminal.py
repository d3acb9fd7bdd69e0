"""Commands as a terminal and a pipe see them: the first page, names nearly right, narrow terminals, closed pipes, time left."""

import fcntl
import json
import os
import platform
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from command_line import latent_atlas
from latent_atlas.cli import console
from latent_atlas.cli.console import Console
from latent_atlas.cli.parser import START, build_parser
from runs import DIGITS, quick_gallery

WAIT = 60.0  # seconds, after which something is wrong
COMMAND = [sys.executable, "-m", "latent_atlas"]
NARROW = 40  # columns
SHOW = """
from latent_atlas.cli.console import Console
shown = Console(as_json=False)
with shown.progress() as advance:
    for step in (0, 60000, 120000):
        advance("networks", step, 120000, "reconstruction 0.01234, kl 12.34, 5432 images/s")
with shown.waiting("drawing the map"):
    shown.say("the images of this run are no longer where they were when it began")
shown.result({}, "  a row of a table   0.12   3.45   6.78   9.01")
"""


def test_without_arguments_it_shows_three_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert latent_atlas() == 0
    told = capsys.readouterr().out
    commands = re.findall(r"^  latent-atlas (.*)$", told, re.MULTILINE)
    given = [build_parser().parse_args(shlex.split(command)) for command in commands]
    assert [one.run_command.__name__ for one in given] == ["demo", "train", "serve"]
    assert all(len(line) <= 2 * NARROW for line in START.splitlines())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trian", "latent-atlas: no command 'trian'; choose demo, .* 'train'? See latent-atlas --help"),
        ("train digits --oout x", "latent-atlas train: no argument '--oout'; did you mean '--out'?"),
        ("demo --devise=cpu", "no argument '--devise=cpu'; did you mean '--device'?"),
        ("sample RUN --count many", "argument --count: 'many' is not a whole number; see"),
        ("--versoin", "no argument '--versoin'; did you mean '--version'?"),
        ("demo digits", "latent-atlas demo: no argument 'digits'; see latent-atlas demo --help"),
        ("encode RUN X --out Y --to safetensor", "--to: no value 'safetensor'; .* 'safetensors'?"),
        ("completion bsh", "no shell 'bsh'; choose bash, .* did you mean 'bash'?"),
        ("train digts --out x", "no images at 'digts'.* did you mean 'digits'?"),
        ("train digits --out x --preset fashon", "no preset 'fashon'.* did you mean 'fashion-mnist'?"),
        ("train digits --out x --mode onlin", "train.mode is 'onlin'; .* did you mean 'online'?"),
        ("train digits --out x --set trian.steps=3", "did you mean train.steps or map.steps?"),
        ("fit x.npy --out y --boundary BOX", "no boundary 'BOX'; .* did you mean 'box'?"),
    ],
)  # fmt: skip
def test_a_name_nearly_right_is_asked_for(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas(*words.split()) == 2
    told = capsys.readouterr().err
    assert re.search(sentence.replace("?", r"\?"), told)
    assert told.count("\n") == 1


def test_values_that_look_like_options_are_values() -> None:
    words = "travel RUN A --traverse component:0 --by -1.5 --random"
    given = build_parser().parse_args(shlex.split(words))
    assert (given.by, given.random_walk) == (-1.5, True)


@pytest.mark.parametrize("words", [["--help"], [], ["serve", "--help"]])
def test_a_reader_who_has_left_is_no_fault(words: Sequence[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [*COMMAND, *words], env=buffered, stdout=writing, stderr=subprocess.PIPE, timeout=WAIT
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def in_terminal(words: Sequence[str], columns: int, **environment: str) -> str:
    """What a command writes to a terminal that is so wide."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = subprocess.Popen(
        words,
        env=inherited | {"TERM": "xterm-256color"} | environment,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    written = b""
    try:
        while part := os.read(terminal, 1 << 16):
            written += part
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(terminal)
    assert command.wait(WAIT) == 0
    return written.decode()


@pytest.mark.parametrize("columns", [NARROW, 120])
def test_no_line_is_longer_than_the_terminal(columns: int) -> None:
    told = in_terminal([sys.executable, "-c", SHOW], columns, COLUMNS=str(columns))
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", told))
    assert max(map(len, lines)) <= columns
    assert "9.01" in told
    assert any("120000/120000 0:00:00" in line for line in lines)  # whole beside its remark
    assert ("reconstruction" in told) == (columns > NARROW)


def test_a_terminal_is_told_at_once_that_a_command_has_begun(tmp_path: Path) -> None:
    out = tmp_path / "facts.json"
    words = shlex.join([*COMMAND, "doctor", "--json"])
    told = in_terminal(["sh", "-c", f"{words} > {out}"], 80)
    assert "starting" in told
    assert json.loads(out.read_text())["python"] == platform.python_version()
    assert "python" not in told  # the result goes to the file alone


def test_colours_are_left_out_where_nobody_wants_them() -> None:
    colour = re.compile(r"\x1b\[[\d;]*(3\d|38;5;\d+)m")
    words = [sys.executable, "-c", SHOW]
    assert colour.search(in_terminal(words, 80))
    assert not colour.search(in_terminal(words, 80, NO_COLOR="1"))


def test_help_fits_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    for command in ("", *build_parser().commands()):
        assert latent_atlas(*command.split(), "--help") == 0
        for line in capsys.readouterr().out.splitlines():
            assert len(line) <= NARROW, line


def test_lines_say_how_much_time_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 10.0, 12.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    with Console(as_json=False).progress() as advance:
        for done in (20, 30, 31, 120):
            advance("networks", done, 120, "loss 1")
    assert capsys.readouterr().err.splitlines() == [
        "networks: 20 of 120, loss 1",
        "networks: 30 of 120, 90 seconds left, loss 1",
        "networks: 120 of 120, loss 1",
    ]


def test_what_takes_long_is_said_and_what_does_not_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    known = threading.Event()

    def say(self: Console, sentence: str) -> None:
        said.append(sentence)
        known.set()

    monkeypatch.setattr(Console, "say", say)
    with Console(as_json=False).waiting("drawing a map at once"):
        pass
    monkeypatch.setattr(console, "LONG", 0.0)
    with Console(as_json=False).waiting("drawing a large map"):
        assert known.wait(WAIT)
    assert said == ["drawing a large map"]


class Seen(console._Display):
    """What a command shows: the steps and all steps of each title, in order."""

    def __init__(self, reports: dict[str, list[tuple[int, int]]]) -> None:
        super().__init__()
        self.reports = reports

    def _show(self, pace: console._Pace) -> None:
        self.reports.setdefault(pace.title, []).append((pace.done, pace.total))

    def _drop(self, pace: console._Pace) -> None:
        pass


TRAIN = f"train digits --out OUT --set {' --set '.join(DIGITS.split())}"
MAP = "fitting the boundary, choosing the noise levels, measuring the constant of the map, calibrating the map"


@pytest.mark.parametrize(
    ("command", "counted", "named"),
    [
        (TRAIN, "images, networks, map, pictures, planners", f"encoding the images, {MAP}"),
        ("fit CODES --out OUT --steps 50 --set map.width=16", "map", f"{MAP}, drawing the map"),
        ("sample RUN --count 8 --out OUT.png", "flow, warm-up", "drawing 8 samples"),
        ("sample RUN --count 8 --out OUT.png --sampler mala --set chains=4", "warm-up, chains", ""),
        ("map RUN --boundaries prior,box --steps 50 --out OUT.png", "boundaries, map", MAP),
        ("travel RUN test:1 --random-walk --out OUT.png", "walk", "planning the paths"),
        ("anomalies RUN digits --out OUT", "shards, images", ""),
        ("export RUN --to torch --out OUT", "files", "writing torch"),
    ],
)  # fmt: skip
def test_what_takes_long_tells_what_it_does_and_counts_its_steps(
    command: str,
    counted: str,
    named: str,
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: dict[str, list[tuple[int, int]]] = {}
    monkeypatch.setattr(console, "_Lines", lambda say: Seen(reports))
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).normal(size=(300, 2)))
    places = {"RUN": digits_run, "OUT": tmp_path / "out", "CODES": tmp_path / "codes.npy"}
    words = re.sub("RUN|OUT|CODES", lambda found: str(places[found[0]]), command).split()
    with quick_gallery():
        assert latent_atlas(*words) == 0
    for title in counted.split(", "):
        assert all(0 <= done <= total > 0 for done, total in reports[title]), title
        assert len({done for done, _ in reports[title]}) > 1, title
    for title in filter(None, named.split(", ")):
        assert (0, 0) in reports[title]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash completes")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("latent-atlas tra", {"track", "train", "travel"}),
        ("latent-atlas train --pre", {"--preset", "--precision"}),
        ("latent-atlas train digits --preset gl", {"glyphs"}),
        ("latent-atlas sample RUN --sampler mi", {"mixture"}),
        ("latent-atlas travel RUN a b --planner slerp --boun", set()),
    ],
)
def test_bash_completes(typed: str, offered: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert latent_atlas("completion", "bash") == 0
    ask = "; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); W=${COMP_WORDS[COMP_CWORD]}; "
    ask += '_shtab_latent_atlas latent-atlas "$W" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[@]}"'
    script = f"{capsys.readouterr().out}\nCOMP_WORDS=({typed}){ask}"
    told = subprocess.run(["bash"], input=script, capture_output=True, text=True, timeout=WAIT)
    assert (set(told.stdout.split()), told.stderr) == (offered, "")


def test_every_shell_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("zsh", "fish", "tcsh", "powershell"):
        assert latent_atlas("completion", shell) == 0
        assert {"travel", "preserve"} <= set(
            re.findall(r"\w+", capsys.readouterr().out)
        ) or shell == "tcsh"
