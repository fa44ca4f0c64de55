"""What is made once for an environment and can be made again: never needed, only faster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from nocturne.store.files import write_atomic

__all__ = ["folder", "text"]


def _places() -> Iterator[Path]:
    yield Path(sys.prefix) / "var" / "nocturne"  # goes with the packages that it is made from
    with suppress(RuntimeError):  # a container's user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nocturne"


def folder() -> Path | None:
    """Where such files are kept: in the Python environment, else in the user's cache.

    None: in neither can be written.
    """
    for place in _places():
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    return None


def text(name: str, make: Callable[[], str]) -> str:
    """The text kept under ``name``, made and kept if it is not there.

    Args:
        name: says all that the text depends on (versions); it is never made again.
    """
    kept = folder()
    if kept is None:
        return make()
    with suppress(OSError, UnicodeDecodeError):
        return (kept / name).read_text(encoding="utf-8")
    made = make()
    with suppress(OSError):
        write_atomic(kept / name, made.encode())
    return made
