"""A cache of files that are made once for an environment. It only saves time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from nocturne.store.files import write_atomic

__all__ = ["folder", "text"]


def _candidates() -> Iterator[Path]:
    # In the environment, it is removed with the packages that the files are made from.
    yield Path(sys.prefix) / "var" / "nocturne"
    with suppress(RuntimeError):  # the user of a container may have no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nocturne"


def folder() -> Path | None:
    """The folder of the cache: in the Python environment, else in the user's cache.

    None if neither can be written.
    """
    for candidate in _candidates():
        with suppress(OSError):
            candidate.mkdir(parents=True, exist_ok=True)
            if os.access(candidate, os.W_OK):
                return candidate
    return None


def text(name: str, make: Callable[[], str]) -> str:
    """The text that is cached under ``name``; it is made and cached if it is missing.

    Args:
        name: contains everything that the text depends on (versions), since a cached text is never
            made again.
    """
    cache = folder()
    if cache is None:
        return make()
    with suppress(OSError, UnicodeDecodeError):
        return (cache / name).read_text(encoding="utf-8")
    content = make()
    with suppress(OSError):
        write_atomic(cache / name, content.encode())
    return content
