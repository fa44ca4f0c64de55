"""The process in which a model is tried: started, watched for its time and memory, and ended.

On the driver's machine, or in a Spark task on another.
"""

from __future__ import annotations

import os
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

from nocturne.hiding import said_by
from nocturne.records import read, write
from nocturne.trial import ANSWER, ASKED, READY, ROWS, SAID, Answer, Asked

__all__ = ["as_file", "ask", "start"]

_MEMORY = 0.8
"""A part of the memory that is free: what a trial may take. It is looked at, not limited by the
system (``RLIMIT_AS``): torch, CUDA and Arrow map many times what they use."""
_LOOK = 0.05
"""Seconds between two looks."""
_START = 240.0
"""Seconds for Python, torch and Arrow to be there: that is no fault of the model's."""


def as_file(rows: pa.RecordBatch) -> bytes:
    """Rows as an Arrow IPC file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as file:
        file.write_batch(rows)
    return bytes(sink.getvalue())


def ask(asked: Asked, rows: bytes, path: Sequence[str] = ()) -> Answer:
    """Start the process, and wait; when this returns, nothing of it runs any more.

    Args:
        rows: as ``as_file`` makes them.
        path: where its Python looks for modules before all else.
    """
    environ = {**os.environ, **({"PYTHONPATH": os.pathsep.join(path)} if path else {})}
    with tempfile.TemporaryDirectory(prefix="nocturne-trial-") as name:
        folder = Path(name)
        write(folder / ASKED, asked, durable=False)
        (folder / ROWS).write_bytes(rows)
        process = start(folder, environ)
        try:
            fault = _watch(process, folder / READY, asked.seconds, _free())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if fault:
            return Answer(fault=fault)
        if (folder / ANSWER).exists():
            return read(Answer, folder / ANSWER)
        return Answer(fault=_died(process.returncode, folder / SAID, rows))


def start(folder: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The process, which is asked what lies in ``folder``, and writes what it says there."""
    with open(folder / SAID, "wb") as said:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "nocturne.trial", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,  # so that what it starts ends with it
        )


def _free() -> int:
    """The bytes that a trial may take."""
    return int(_MEMORY * psutil.virtual_memory().available)


def _watch(process: subprocess.Popen[bytes], ready: Path, seconds: float, most: int) -> str:
    """Why it must be ended; "" if it has ended by itself.

    Args:
        ready: is there as soon as the process has begun with the model.
    """
    until, begun = time.monotonic() + _START + seconds, False
    while True:
        try:
            process.wait(_LOOK)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if not begun and ready.exists():
            until, begun = time.monotonic() + seconds, True
        if time.monotonic() > until:
            return (
                f"it has not answered after {seconds:g} seconds. If it needs longer, to be loaded "
                "or for a row, say model.trial_seconds"
            )
        if (used := _memory(process.pid)) > most:
            return (
                f"it took {used >> 20:,} MiB of memory, more than {_MEMORY:.0%} of what was free "
                f"({most >> 20:,} MiB); score it on a machine with more, or log a smaller one"
            )


def _memory(pid: int) -> int:
    """Bytes that a process and its children hold."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _died(code: int, output: Path, rows: bytes) -> str:
    """How the process ended, and the last line that it wrote, without values of the rows."""
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    text = output.read_bytes()[-4096:].decode("utf-8", "replace")
    line = ""
    with suppress(ValueError, OverflowError):  # of what Python can't hold
        values = pa.ipc.open_file(rows).read_all().to_pydict()
        line = said_by(RuntimeError(text), values).partition(": ")[2]
    last = f"; its last line was: {line}" if line else ""
    return (
        f"its process ended {how} before it answered{last}. Load it in a notebook and predict a "
        "few rows to see why"
    )
