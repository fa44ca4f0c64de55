"""The one way to wait in tests: until something holds, and not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

__all__ = ["gone", "until"]

T = TypeVar("T")


def until(condition: Callable[[], T], what: str | Callable[[], object], seconds: float = 60) -> T:
    """The condition's first answer that is true.

    Args:
        condition: asked at once and then again and again, the longer it takes the less often.
        what: was waited for; a function where it can only be said at the end.
        seconds: after them the test fails.
    """
    began = time.monotonic()
    while not (answer := condition()):
        waited = time.monotonic() - began
        if waited > seconds:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {seconds:g} s in vain: {said}")
        time.sleep(min(1.0, max(0.005, waited / 20)))
    return answer


def gone(pid: int) -> bool:
    """Whether a process has ended; it may not be reaped yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
