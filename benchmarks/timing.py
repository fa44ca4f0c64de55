"""One timed run: wall seconds from process start to exit, memory sampled meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Timing", "timed", "warm"]

SAMPLE_SECONDS = 0.1
_TREE_SECONDS = 0.5  # walking the process tree costs milliseconds, reading one process does not
_MB = 1e6


@dataclass(frozen=True)
class Timing:
    """``worker_mb``: most resident memory of the largest process that scores, in 1e6 bytes;
    ``tree_mb``: most of all processes together, pages they share counted in each;
    ``cpu_s``: processor seconds of all of them, which other work on the machine changes less
    than wall seconds (sampled, so up to half a second a process is missing)."""

    seconds: float
    returncode: int
    worker_mb: float
    tree_mb: float
    cpu_s: float = 0.0


def timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path,
    worker: str,
    processes: int,
    cwd: Path,
) -> Timing:
    """Run the command on the first ``processes`` cores, its output going to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    with open(log, "wb") as out, _cores(cores[:processes], cores):
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    memory = _Memory(child.pid, worker)
    try:
        with memory:
            code = child.wait()
            seconds = time.perf_counter() - started
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise
    return Timing(
        round(seconds, 3),
        code,
        round(memory.worker),
        round(memory.tree),
        round(sum(memory.cpu.values()), 2),
    )


def warm(*folders: Path) -> None:
    """Read every file, so that a run finds its input and its libraries in the page cache.

    Some machines give cached pages back after a minute; whoever runs next would pay for it.
    """
    buffer = bytearray(1 << 22)
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                with open(path, "rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass


@contextlib.contextmanager
def _cores(chosen: Iterable[int], before: Iterable[int]) -> Iterator[None]:
    """Children inherit the cores; the harness itself goes back to all of them."""
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Memory:
    """Samples the memory and the processor time of a process and its descendants."""

    def __init__(self, pid: int, worker: str) -> None:
        self.worker = self.tree = 0.0
        self.cpu: dict[psutil.Process, float] = {}
        self._pid, self._scores = pid, re.compile(worker)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        found: dict[psutil.Process, bool] = {}
        walked = 0.0
        while not self._stop.wait(SAMPLE_SECONDS):
            if time.monotonic() - walked > _TREE_SECONDS:
                walked, found = time.monotonic(), self._walk()
            total = 0.0
            for process, scores in found.items():
                with contextlib.suppress(psutil.Error):
                    size = process.memory_info().rss / _MB
                    total += size
                    if scores:
                        self.worker = max(self.worker, size)
            self.tree = max(self.tree, total)

    def _walk(self) -> dict[psutil.Process, bool]:
        found = {}
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    found[process] = self._is_worker(process)
                    times = process.cpu_times()
                    self.cpu[process] = times.user + times.system
        return found

    def _is_worker(self, process: psutil.Process) -> bool:
        return process.name() != "java" and bool(self._scores.search(" ".join(process.cmdline())))
