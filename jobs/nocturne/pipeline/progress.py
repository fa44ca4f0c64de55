"""Progress while scoring: a bar in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_STARTING_S = 60.0
"""How often a log is told that nothing is scored yet: that Spark and the model are still loaded."""


class Progress:
    """Called with (rows done, rows in all); says rows, rows/s and the time left."""

    def __init__(self, every: float = 5.0) -> None:
        self.started = time.monotonic()
        self.every = every
        self.last = -max(every, _STARTING_S)
        self.first: tuple[float, int] | None = None
        self.terminal = sys.stderr.isatty()
        self.drawn = False

    def __call__(self, done: int, total: int) -> None:
        elapsed = time.monotonic() - self.started
        finished = done >= total
        every = self.every if done else max(self.every, _STARTING_S)
        if not self.terminal and not finished and elapsed - self.last < every:
            return
        self.last = elapsed
        text = self.line(done, total, elapsed)
        if self.terminal:
            filled = 24 * done // max(1, total)
            bar = "#" * filled + "-" * (24 - filled)
            print(f"\r[{bar}] {text}\x1b[K", end="\n" if finished else "", file=sys.stderr)
            self.drawn = not finished
        else:
            print(f"scoring: {text}", file=sys.stderr)
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away, so that something else can be said; the next call draws it again."""
        if self.terminal and self.drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.drawn = False

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
