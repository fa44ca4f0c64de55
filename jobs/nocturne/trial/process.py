"""Starts the process in which a model is tried, watches its time and memory, and ends it.

It runs on the driver's machine, or in a Spark task on another. If the process fails before it
loads the model (its imports, memory, a full disk), the machine is at fault and not the model.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pyarrow as pa

from nocturne.hiding import redacted
from nocturne.host.trouble import how_ended
from nocturne.store.record_files import read, write
from nocturne.trial import (
    ANSWER,
    OUTPUT,
    READY,
    REQUEST,
    ROWS,
    UNWRITTEN,
    TrialAnswer,
    TrialRequest,
)

__all__ = ["as_file", "ask", "start"]

_MEMORY = 0.8
"""The fraction of the free memory that a trial may take. It is polled, not limited by the system
(``RLIMIT_AS``), since torch, CUDA and Arrow map many times what they use."""
_LOOK = 0.05
"""Seconds between two polls."""
_LINE = 300
"""The most characters that are shown of the last line."""
_START = 240.0
"""Seconds for starting Python and importing torch and Arrow, before the model's time begins."""


def as_file(rows: pa.RecordBatch) -> bytes:
    """Rows as an Arrow IPC file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as file:
        file.write_batch(rows)
    return bytes(sink.getvalue())


def ask(request: TrialRequest, rows: bytes, path: Sequence[str] = ()) -> TrialAnswer:
    """Start the process and wait for its answer. On return, all its processes have ended.

    Args:
        rows: an Arrow IPC file, from ``as_file``.
        path: the first folders in which its Python looks for modules.
    """
    environ = {
        **os.environ,
        **({"PYTHONPATH": os.pathsep.join(filter(None, path))} if path else {}),
    }
    with tempfile.TemporaryDirectory(prefix="nocturne-trial-") as name:
        folder = Path(name)
        write(folder / REQUEST, request, durable=False)
        (folder / ROWS).write_bytes(rows)
        process = start(folder, environ)
        family = Family(process.pid)
        try:
            fault = _watch(process, family, folder / READY, request.seconds, _free())
        finally:
            family.end()
            process.wait()
        if fault is None and (folder / ANSWER).exists():
            return read(TrialAnswer, folder / ANSWER)
        if fault is None and (folder / READY).exists():
            return TrialAnswer(fault=_died(process.returncode, folder / OUTPUT, rows))
        return fault or _why_no_answer(process.returncode, folder)


def start(folder: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process for the request in ``folder``; its output is written to a file there."""
    with open(folder / OUTPUT, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-u", "-P", "-m", "nocturne.trial", str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,  # so that its child processes end with it
        )


def _free() -> int:
    """The bytes of memory that a trial may take."""
    return int(_MEMORY * psutil.virtual_memory().available)


class Family:
    """A process and all child processes seen so far, also those with their own sessions."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first: psutil.Process | None = None
        with suppress(psutil.Error):
            self._first = psutil.Process(pid)
        self._seen: set[psutil.Process] = set()

    def memory(self) -> int:
        """The bytes of memory that the process and its children use; remembers the children."""
        total, first = 0, self._first
        if first is None or not first.is_running():
            return 0
        with suppress(psutil.Error):
            for process in (first, *first.children(recursive=True)):
                self._seen.add(process)
                with suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    def end(self) -> None:
        """Kill all that still run."""
        self.memory()
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        for process in self._seen:
            with suppress(psutil.Error):
                process.kill()  # psutil never kills another process that has the same id


def _watch(
    process: subprocess.Popen[bytes], family: Family, ready: Path, seconds: float, most: int
) -> TrialAnswer | None:
    """Why the process must be ended; None if it has ended by itself.

    Args:
        ready: a file that exists once the process has begun to load the model.
    """
    until, begun = time.monotonic() + _START + seconds, False
    while True:
        try:
            process.wait(_LOOK)
            return None
        except subprocess.TimeoutExpired:
            pass
        if not begun and ready.exists():
            until, begun = time.monotonic() + seconds, True
        if time.monotonic() > until:
            return _late(seconds, begun)
        if (used := family.memory()) > most:
            return _large(used, most, begun)


def _late(seconds: float, begun: bool) -> TrialAnswer:
    if not begun:
        return _machine_fault(f"was not there after {_START + seconds:g} seconds", lasting=False)
    return TrialAnswer(
        fault=f"it has not answered after {seconds:g} seconds. If it needs longer to load or "
        "to score a row, raise model.trial_seconds"
    )


def _large(used: int, most: int, begun: bool) -> TrialAnswer:
    took = (
        f"took {used >> 20:,} MiB of memory, more than {_MEMORY:.0%} of what was free "
        f"({most >> 20:,} MiB)"
    )
    if not begun:
        return _machine_fault(took, lasting=False)
    return TrialAnswer(
        fault=f"it {took}; score it on a machine with more memory, or log a smaller model"
    )


def _machine_fault(problem: str, *, lasting: bool) -> TrialAnswer:
    """The answer if the machine is at fault: the process failed before the model was loaded."""
    todo = (
        "Correct that (`nocturne doctor` checks what is installed)"
        if lasting
        else "Free some memory, or space for temporary files (TMPDIR)"
    )
    return TrialAnswer(
        fault=f"the process to try it in {problem}. That is no fault of the model's. {todo}, then "
        "run the same command again",
        error="MachineError" if lasting else "RetryableError",
    )


_SHORT = re.compile(
    r"No space left on device|Disk quota exceeded|Cannot allocate memory|MemoryError"
    r"|can't start new thread|Resource temporarily unavailable|Too many open files"
)
"""Errors that may pass."""


def _why_no_answer(code: int, folder: Path) -> TrialAnswer:
    """The answer if the process ended before it loaded the model, or could not write its answer."""
    if (folder / UNWRITTEN).exists():
        why = os.strerror(code)  # what it wrote may be the model's words
        return _machine_fault(f"can't write its answer: {why}", lasting=not _SHORT.search(why))
    text = _end_of(folder / OUTPUT)
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    full = code in (errno.ENOSPC, errno.EDQUOT)
    if full:
        line = os.strerror(code)
    last = f"; its last line was: {line[:_LINE]}" if line else ""
    lasting = code > 0 and not full and not _SHORT.search(text)
    problem = f"ended {how_ended(code)} before the model was loaded{last}"
    return _machine_fault(problem, lasting=lasting)


def _end_of(output: Path) -> str:
    """The end of the process's output, which may be long."""
    with open(output, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        return file.read().decode("utf-8", "replace")


def _died(code: int, output: Path, rows: bytes) -> str:
    """How the process ended, and the last line that it wrote, without values of the rows."""
    line, text = "", _end_of(output)
    with suppress(ValueError, OverflowError):  # values that Python can't represent
        values = pa.ipc.open_file(rows).read_all().to_pydict()
        line = redacted(RuntimeError(text), values).partition(": ")[2]
    last = f"; its last line was: {line}" if line else ""
    return (
        f"its process ended {how_ended(code)} before it answered{last}. Load it in a notebook and "
        "predict a few rows to see why"
    )
