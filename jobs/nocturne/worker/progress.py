"""How far the runs are whose splits are being scored: the driver's side."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from nocturne.errors import StoreUnavailable
from nocturne.records.plan import Split
from nocturne.store.run import Run

__all__ = ["Progress", "Watch", "count", "pending"]

Progress = Callable[[int, int], None]
"""Called every second or so with (rows done, rows in all)."""


def pending(runs: Sequence[Run]) -> list[tuple[Run, Split]]:
    """The splits without a result, of the runs that are scored by splits."""
    return [(run, split) for run in runs if not run.plan.is_whole for split in run.unscored()]


def count(runs: Sequence[Run]) -> tuple[int, int]:
    """Rows that are scored, and rows in all."""
    total = rows_done = sum(run.plan.rows for run in runs)
    for run in runs:
        begun = {*run.progress_files()}
        for split in run.unscored():
            rows_done -= split.rows
            if (file := run.progress_file(split)) in begun:
                with contextlib.suppress(FileNotFoundError, ValueError):
                    rows_done += int(file.read_bytes())
    return rows_done, total


class Watch:
    """Reports progress from a thread of its own until the ``with`` block ends."""

    def __init__(self, runs: Sequence[Run], progress: Progress | None) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, args=(runs, progress), daemon=True)

    def _loop(self, runs: Sequence[Run], progress: Progress | None) -> None:
        while progress and not self._stop.wait(max(run.report_s for run in runs)):
            with contextlib.suppress(StoreUnavailable):  # scoring does not need it
                progress(*count(runs))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
