"""When the interpreter of a command looks for garbage."""

from __future__ import annotations

import atexit
import gc

__all__ = ["collect_rarely"]

_OBJECTS = 50_000
"""New objects until the next look, instead of Python's 700."""


def collect_rarely() -> None:
    """Look for garbage after many new objects, and not at the very end.

    A command imports hundreds of thousands of objects that stay: looking among them takes a fifth
    of the time of those imports, and at the end a second.
    """
    gc.set_threshold(_OBJECTS, 20, 20)
    atexit.register(gc.freeze)
