"""The process in which a model is tried: its time, its memory, its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nocturne.trial.process import _died, _watch, as_file


@pytest.fixture
def python() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Runs a line of Python in a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-S", "-c", line]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_trial_has_a_time_and_a_memory(python: Any, tmp_path: Path) -> None:
    sleeps, ready = "import time; time.sleep(60)", tmp_path / "ready"
    ready.touch()
    assert _watch(python("pass"), ready, 60, 1 << 40) == ""
    said = _watch(python(sleeps), ready, 0.3, 1 << 40)
    assert said.startswith("it has not answered after 0.3 seconds")
    eats = python(f"held = bytearray(200 << 20); {sleeps}")
    assert "more than 80% of what was free (64 MiB)" in _watch(eats, ready, 60, 64 << 20)


def test_a_crash_is_said_by_its_signal(python: Any, tmp_path: Path) -> None:
    child, ready = python("import os; os.abort()"), tmp_path / "ready"
    assert _watch(child, ready, 60, 1 << 40) == ""
    (tmp_path / "said").write_text("first\nlast words of Ann Smith\n\n")
    rows = as_file(pa.record_batch({"name": ["Ann Smith", None]}))
    said = _died(child.returncode, tmp_path / "said", rows)
    assert said.startswith(
        "its process ended by SIGABRT before it answered; its last line was: last words of <name>."
    )
