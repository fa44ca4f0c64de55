"""The library's log in our own programs: the lines that people and Airflow read.

A program of somebody else configures ``logging`` as it likes; unless it does, warnings and errors
alone are shown.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["to_stderr"]


class _Lines(logging.Handler):
    """``nocturne: MESSAGE``, or the message alone where it warns of nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "nocturne: " if record.levelno >= logging.WARNING else ""
        print(f"{prefix}{self.format(record)}", file=sys.stderr, flush=True)


@contextmanager
def to_stderr() -> Iterator[None]:
    """Show what this package logs on standard error; other packages' loggers stay as they are."""
    log = logging.getLogger("nocturne")
    handler, before = _Lines(), (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # a library that configures the root logger would show each line twice
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
