"""The process in which a model is tried: its time, its memory, its end."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nocturne.encoding import Encoding
from nocturne.records.plan import ModelRef
from nocturne.store.record_files import write
from nocturne.trial import (
    OUTPUT,
    READY,
    REQUEST,
    ROWS,
    UNWRITTEN,
    TrialAnswer,
    TrialRequest,
    process,
)
from nocturne.trial.__main__ import _failed
from nocturne.trial.process import Family, _died, _watch, as_file
from waiting import gone, until


@pytest.fixture
def python() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Runs a line of Python in a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-S", "-c", line]))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


ASKING = TrialRequest(
    ModelRef("m", 1, "version 1", "pyfunc", "0" * 64, "/nowhere"),
    Encoding((), ()),
    spec=False,
    firm=False,
    input_cast={},
    device="cpu",
    seconds=60,
)


def _watched(started: Any, ready: Path, seconds: float, most: int) -> TrialAnswer | None:
    return _watch(started, Family(started.pid), ready, seconds, most)


def _asked(monkeypatch: pytest.MonkeyPatch, line: str, seconds: float = 60.0) -> TrialAnswer:
    """What comes of a trial whose process runs a line of Python in its folder."""

    def start(folder: Path, environ: Any) -> subprocess.Popen[bytes]:
        with open(folder / OUTPUT, "wb") as said:
            return subprocess.Popen(
                [sys.executable, "-S", "-c", f"import os; {line}"],
                cwd=folder,
                stdout=said,
                start_new_session=True,
            )

    monkeypatch.setattr(process, "start", start)
    rows = as_file(pa.record_batch({"a": [1.0]}))
    return process.ask(replace(ASKING, seconds=seconds), rows)


def test_a_trial_has_a_time_and_a_memory(python: Any, tmp_path: Path) -> None:
    sleeps, ready = "import time; time.sleep(60)", tmp_path / "ready"
    ready.touch()
    assert _watched(python("pass"), ready, 60, 1 << 40) is None
    said = _watched(python(sleeps), ready, 0.3, 1 << 40)
    assert said is not None
    assert said.fault.startswith("it has not answered after 0.3 seconds")
    eats = python(f"held = bytearray(200 << 20); {sleeps}")
    said = _watched(eats, ready, 60, 64 << 20)
    assert said is not None
    assert "more than 80% of what was free (64 MiB)" in said.fault
    assert said.error == "ModelError"


def test_what_comes_before_the_model_is_not_its_fault(
    python: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python and torch take too much memory or too long."""
    sleeps, ready = "import time; time.sleep(60)", tmp_path / "ready"
    eats = python(f"held = bytearray(200 << 20); {sleeps}")
    said = _watched(eats, ready, 60, 64 << 20)
    assert said is not None
    assert said.error == "RetryableError"
    assert "more than 80% of what was free (64 MiB). That is no fault of the model's" in said.fault
    monkeypatch.setattr(process, "_START", 0.1)
    said = _watched(python(sleeps), ready, 0.2, 1 << 40)
    assert said is not None
    assert said.error == "RetryableError"
    assert "the process to try it in was not there after 0.3 seconds" in said.fault


@pytest.mark.parametrize(
    ("code", "said", "error", "shown"),
    [
        (1, "ImportError: libgomp.so.1: cannot open shared object file", "MachineError", "libgomp"),
        (1, "OSError: [Errno 28] No space left on device", "RetryableError", "No space left"),
        (errno.ENOSPC, "", "RetryableError", "its last line was: No space left"),
        (-9, "", "RetryableError", "ended by SIGKILL before the model was loaded. That is no"),
    ],
)
def test_an_end_before_the_model_is_loaded_is_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str, error: str, shown: str
) -> None:
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"os._exit({code})"
    answer = _asked(monkeypatch, f"print({said!r}, flush=True); {end}")
    assert answer.error == error
    assert shown in answer.fault
    assert "then run the same command again" in answer.fault


def test_an_answer_that_can_not_be_written_is_no_fault_of_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words, which may be of a row, are not shown."""
    line = f"open('ready', 'w'); os.rename('ready', 'unwritten'); os._exit({errno.ENOSPC})"
    answer = _asked(monkeypatch, f"print('Ann Smith'); {line}")
    assert answer.error == "RetryableError"
    assert "can't write its answer: No space left on device" in answer.fault
    assert "Ann" not in answer.fault


def test_the_disk_is_full_as_the_answer_is_written(tmp_path: Path) -> None:
    """``main`` itself, in a process whose files may not grow."""
    write(tmp_path / REQUEST, ASKING, durable=False)
    (tmp_path / ROWS).write_bytes(as_file(pa.record_batch({"a": [1.0]})))
    code = (
        "import sys, errno, pathlib, nocturne.trial.__main__ as m\n"
        "def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "m.write = full\n"
        f"m.main(pathlib.Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == errno.ENOSPC
    assert (tmp_path / UNWRITTEN).exists()
    assert not (tmp_path / READY).exists()


def test_a_full_disk_on_which_the_model_writes_may_pass() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert _failed("it raises", full, elsewhere=False).error == "RetryableError"
    assert _failed("it raises", OSError("other"), elsewhere=False).error == "ModelError"


# -- what it started ends with it -----------------------------------------------------------------

STARTS = (
    "import subprocess, sys; "
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(90)'], "
    "start_new_session=True); open('child', 'w').write(str(child.pid)); "
)


def _ends(file: Path) -> None:
    """The process whose number is in the file."""
    pid = int(file.read_text())
    until(lambda: gone(pid), f"the end of {file.name}", 5)


@pytest.mark.parametrize("then", ["time.sleep(90)", "time.sleep(0.5); os._exit(3)"])
def test_what_a_model_starts_in_a_session_of_its_own_ends_with_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    line = f"{STARTS}os.rename('child', {str(tmp_path / 'child')!r}); open('ready', 'w'); {then}"
    _asked(monkeypatch, f"import time; {line}", seconds=1.0)
    _ends(tmp_path / "child")


def test_a_trial_ends_what_it_started_and_what_that_left_behind(tmp_path: Path) -> None:
    orphan = f"import os; {STARTS}os._exit(0)"
    code = (
        "import os, subprocess, sys, nocturne.trial.__main__ as m\n"
        f"m._tie(os.getppid()); subprocess.run([sys.executable, '-S', '-c', {orphan!r}])\n"
        "m._end_children()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    _ends(tmp_path / "child")


def test_a_trial_ends_with_the_process_that_asks(tmp_path: Path) -> None:
    trial = (
        "import os, sys, time, nocturne.trial.__main__ as m; m._tie(int(sys.argv[1])); "
        "open('trial', 'w').write(str(os.getpid())); time.sleep(90)"
    )
    asks = (
        "import os, subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {trial!r}, str(os.getpid())], "
        "start_new_session=True).wait()"
    )
    one = subprocess.Popen([sys.executable, "-S", "-c", asks], cwd=tmp_path)
    try:
        until(lambda: (tmp_path / "trial").exists() and (tmp_path / "trial").read_text(), "a trial")
    finally:
        one.kill()
        one.wait()
    _ends(tmp_path / "trial")


def test_a_crash_is_said_by_its_signal(python: Any, tmp_path: Path) -> None:
    child, ready = python("import os; os.abort()"), tmp_path / "ready"
    assert _watched(child, ready, 60, 1 << 40) is None
    (tmp_path / OUTPUT).write_text("first\nlast words of Ann Smith\n\n")
    rows = as_file(pa.record_batch({"name": ["Ann Smith", None]}))
    said = _died(child.returncode, tmp_path / OUTPUT, rows)
    assert said.startswith(
        "its process ended by SIGABRT before it answered; its last line was: last words of <name>."
    )
