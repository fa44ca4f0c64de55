"""Progress while scoring: a bar in a terminal, or a line in a log every few seconds.

Both are shown only by programs that enable the logger for INFO, as the command line does.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = ["Progress"]

log = logging.getLogger(__name__)

_STARTING_S = 60.0
"""Seconds between two lines of a log while Spark starts and the model is loaded."""


class Progress:
    """Called with (rows done, rows in all); shows rows, rows/s and the time left."""

    def __init__(self, every: float = 5.0) -> None:
        self.started = time.monotonic()
        self.every = every
        self.last = -max(every, _STARTING_S)
        self.first: tuple[float, int] | None = None
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.bar = _Bar() if terminal and log.isEnabledFor(logging.INFO) else None

    def __call__(self, done: int, total: int) -> None:
        elapsed = time.monotonic() - self.started
        if self.bar is not None:
            self.bar.draw(done, total, self.line(done, total, elapsed))
            return
        every = self.every if done else max(self.every, _STARTING_S)
        if done < total and elapsed - self.last < every:
            return
        self.last = elapsed
        log.info("scoring: %s", self.line(done, total, elapsed))

    def clear(self) -> None:
        """Remove the bar, so that something else can be printed; the next call draws it again."""
        if self.bar is not None:
            self.bar.clear()

    def line(self, done: int, total: int, elapsed: float) -> str:
        """The progress in words. The rate is measured from the first call with rows on."""
        if done == 0:
            return f"0 of {total:,} rows, starting ({elapsed:.0f} s)"
        self.first = self.first or (elapsed, done)
        since, before = self.first
        rate = (done - before) / (elapsed - since) if elapsed - since > 1 else done / elapsed
        if not total:  # of a query, nobody knows how many rows it gives
            return f"{done:,} rows, {rate:,.0f} rows/s"
        left = (total - done) / rate if rate > 0 else 0
        share = done / max(1, total)
        return f"{done:,} of {total:,} rows ({share:.0%}), {rate:,.0f} rows/s, {left:.0f} s left"


class _Bar:
    """A bar at standard error, drawn by ``rich``. Threads may draw and clear it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: RichProgress | None = None

    def draw(self, done: int, total: int, text: str) -> None:
        with self._lock:
            progress = self._progress or _rich_progress()
            task = progress.task_ids[0]
            progress.update(task, completed=done, total=max(1, total), description=text)
            progress.refresh()
            self._progress = progress
            if done >= total:
                progress.live.transient = False  # the bar remains at the end
                self._end()

    def clear(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None


def _rich_progress() -> RichProgress:
    """A bar that changes neither standard output nor the cursor."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True, force_terminal=True)
    progress = RichProgress(
        BarColumn(24),
        TextColumn("{task.description}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress.add_task("")
    progress.start()
    console.show_cursor(True)  # otherwise a killed process would leave it hidden
    return progress
