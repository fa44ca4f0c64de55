"""Imports what a split needs, in a process from which those that score are forked.

They then start in milliseconds instead of seconds. No model is loaded, no store is used and no
thread is started here: a process that is forked would lack the threads.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterable
from importlib import import_module

__all__ = ["ENVIRONMENT", "keep_freed_memory", "warm"]

ENVIRONMENT = {"MIMALLOC_PURGE_DELAY": "-1"}
"""Variables of the processes that score. Arrow's allocator gives no pages back to the system, which
it would take again for the next batch: 3% of a split's time. It reads the variable when it is
loaded."""

_LATE = ("pydantic",)
"""Modules that functions import, so that otherwise every worker would import them."""

_MALLOC = {-3: 64 << 20, -1: 256 << 20, -2: 16 << 20}
"""M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of glibc's malloc.h, in bytes."""


def keep_freed_memory() -> None:
    """Keep the memory of freed batches in the process for the next batches.

    If it were returned to the system, each page would cost a fault when it is used again: a tenth
    of the time of a split. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC.items():
            mallopt(option, value)


def warm(others: Iterable[str] = ()) -> None:
    """Import what a split needs, and the modules called ``others``."""
    keep_freed_memory()
    gc.disable()  # there is no garbage in imports, and looking for it takes a tenth of the time
    import nocturne.worker.split

    for name in (*_LATE, *others):
        import_module(name)
    nocturne.profile.compile_loops()
    gc.freeze()  # pages that no collection touches stay shared with the workers
    gc.enable()
