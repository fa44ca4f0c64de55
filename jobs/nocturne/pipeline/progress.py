"""Progress while scoring: a bar in a terminal, a line every few seconds in a log.

Both are for programs that show what this package logs from INFO on, as the command line does.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Drawn

__all__ = ["Progress"]

log = logging.getLogger(__name__)

_STARTING_S = 60.0
"""How often a log is told that nothing is scored yet: that Spark and the model are still loaded."""


class Progress:
    """Called with (rows done, rows in all); says rows, rows/s and the time left."""

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
        """Take the bar away, so that something else can be said; the next call draws it again."""
        if self.bar is not None:
            self.bar.clear()

    def line(self, done: int, total: int, elapsed: float) -> str:
        """The state in words; the rate counts from the first row that was seen."""
        if done == 0:
            return f"0 of {total:,} rows, starting ({elapsed:.0f} s)"
        self.first = self.first or (elapsed, done)
        since, before = self.first
        rate = (done - before) / (elapsed - since) if elapsed - since > 1 else done / elapsed
        left = (total - done) / rate if rate > 0 else 0
        share = done / max(1, total)
        return f"{done:,} of {total:,} rows ({share:.0%}), {rate:,.0f} rows/s, {left:.0f} s left"


class _Bar:
    """A line of the terminal at standard error, which ``rich`` draws.

    A thread may draw while another one clears.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: Drawn | None = None

    def draw(self, done: int, total: int, text: str) -> None:
        with self._lock:
            drawn = self._drawn or _drawn()
            drawn.update(drawn.task_ids[0], completed=done, total=max(1, total), description=text)
            drawn.refresh()
            self._drawn = drawn
            if done >= total:
                drawn.live.transient = False  # the last state stays
                self._end()

    def clear(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()
        self._drawn = None


def _drawn() -> Drawn:
    """A bar that leaves standard output, and the cursor, as they are."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Drawn

    console = Console(stderr=True, force_terminal=True)
    drawn = Drawn(
        BarColumn(24),
        TextColumn("{task.description}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    drawn.add_task("")
    drawn.start()
    console.show_cursor(True)  # a process that is killed while it is hidden leaves it so
    return drawn
