"""Libraries whose threads are missing in a process that is forked after their first use."""

from __future__ import annotations

import os

from nocturne.errors import StateError

__all__ = ["Threaded"]


class Threaded:
    """A library that hangs or panics in such a process."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._used_by: int | None = None

    def use(self) -> None:
        """Raises: StateError if this process was forked from one that has used it."""
        if self._used_by not in (None, os.getpid()):
            raise StateError(
                f"this process was forked from one that had used {self._what}, and can't use it "
                "(the library's threads are gone). Start it anew (subprocess, or the start method "
                "spawn)"
            )
        self._used_by = os.getpid()
