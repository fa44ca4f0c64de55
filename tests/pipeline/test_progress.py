"""Progress says rows, rows/s and the time left."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from nocturne.logs import to_stderr
from nocturne.pipeline.progress import Progress


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(every=60)
    for done in (0, 10, 20, 100):
        progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring: 0 of 100 rows, starting (0 s)"
    assert len(lines) == 2
    assert lines[1].startswith("scoring: 100 of 100 rows (100%)")


def test_a_start_that_takes_long_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(every=5)
    for second, done in ((0, 0), (6, 0), (30, 0), (59, 0), (60, 0), (66, 10), (72, 20)):
        monkeypatch.setattr("time.monotonic", lambda s=second: progress.started + s)
        progress(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "scoring: 0 of 100 rows",
        "scoring: 0 of 100 rows",
        "scoring: 10 of 100 rows (10%)",
        "scoring: 20 of 100 rows (20%)",
    ]
    assert lines[1].endswith("starting (60 s)")


def test_rate_and_time_left_count_from_the_first_row_seen() -> None:
    progress = Progress()
    progress.line(0, 1_000_000, 10.0)
    progress.line(100_000, 1_000_000, 12.0)
    said = progress.line(500_000, 1_000_000, 16.0)
    assert said == "500,000 of 1,000,000 rows (50%), 100,000 rows/s, 5 s left"


class Terminal:
    """A real one (a pty) at standard error, and what a person sees of it."""

    def __init__(self) -> None:
        self._end, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.stderr = os.fdopen(inner, "w")
        self._text = ""

    def lines(self) -> list[str]:
        while select.select([self._end], [], [], 0.1)[0]:
            self._text += os.read(self._end, 1 << 16).decode()
        lines, row = [""], 0
        for piece in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[^\x1b]", self._text):
            if piece == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif piece == "\x1b[1A":
                row -= 1
            elif piece == "\x1b[2K":
                lines[row] = ""
            elif len(piece) == 1 and piece != "\r":
                lines[row] += piece
        return [line.strip("━╸╺ ") for line in lines]

    def hides_the_cursor(self) -> bool:
        return self._text.rfind("\x1b[?25l") > self._text.rfind("\x1b[?25h")


@pytest.fixture(autouse=True)
def _shown() -> Iterator[None]:
    with to_stderr():
        yield


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    yield terminal
    terminal.stderr.close()


def test_a_terminal_shows_one_line_that_changes(terminal: Terminal) -> None:
    with redirect_stderr(terminal.stderr):
        progress = Progress()
        progress(0, 100)
        assert terminal.lines() == ["0 of 100 rows, starting (0 s)"]
        progress(50, 100)
        [line] = terminal.lines()
        assert line.startswith("50 of 100 rows (50%), ")
        assert not terminal.hides_the_cursor()
        progress(100, 100)
        line, prompt = terminal.lines()
        assert line.startswith("100 of 100 rows (100%), ")
        assert prompt == ""
        progress.clear()
        assert terminal.lines() == [line, ""], "what was reached at the end stays"


def test_the_bar_makes_room_for_other_words(terminal: Terminal) -> None:
    with redirect_stderr(terminal.stderr):
        progress = Progress()
        progress.clear()
        assert terminal.lines() == [""]
        progress(10, 100)
        progress.clear()
        progress.clear()
        print("verdict ok", file=terminal.stderr, flush=True)
        assert terminal.lines() == ["verdict ok", ""]
        progress(20, 100)
        said, line = terminal.lines()
        assert said == "verdict ok"
        assert line.startswith("20 of 100 rows (20%), ")


def test_a_bar_leaves_standard_output_alone(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    with redirect_stderr(terminal.stderr):
        progress = Progress()
        progress(10, 100)
        print("an answer")
        assert capsys.readouterr().out == "an answer\n"
        assert "an answer" not in "".join(terminal.lines())


def test_a_terminal_without_cursor_movements_gets_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal.stderr):
        Progress()(100, 100)
        assert terminal.lines()[0].startswith("scoring: 100 of 100 rows (100%), ")


def test_a_program_that_shows_no_log_shows_no_progress(terminal: Terminal) -> None:
    logging.getLogger("nocturne").setLevel(logging.WARNING)
    with redirect_stderr(terminal.stderr):
        for done in (0, 50, 100):
            Progress()(done, 100)
        assert terminal.lines() == [""]
