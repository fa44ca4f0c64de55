"""A cache of files that are made, or fetched, once for an environment. It only saves time."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["fetched", "folder", "keep", "text"]


def _candidates() -> Iterator[Path]:
    # In the environment, it is removed with the packages that the files are made from.
    yield Path(sys.prefix) / "var" / "nocturne"
    yield from _of_user()


def _of_user() -> Iterator[Path]:
    with suppress(RuntimeError):  # the user of a container may have no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nocturne"


def folder() -> Path | None:
    """The folder of the cache: in the Python environment, else in the user's cache.

    None if neither can be written.
    """
    return next((path for path in _candidates() if _is_usable(path)), None)


def _is_usable(path: Path) -> bool:
    with suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
        return os.access(path, os.W_OK)
    return False


def fetched(kind: str) -> Path:
    """The folder on this machine for what is fetched from a store; it is the user's own.

    In the user's cache (XDG_CACHE_HOME), else below the folder of temporary files.

    Raises:
        OSError: it can't be made, or is another user's.
    """
    for path in _of_user():
        if _is_usable(path / kind):
            return path / kind
    own = Path(tempfile.gettempdir()) / f"nocturne-{os.getuid()}"
    for path in (own, own / kind):
        path.mkdir(mode=0o700, exist_ok=True)
        if path.is_symlink() or path.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    return own / kind


def keep(path: Path, content: bytes) -> None:
    """Write a cached file, whole or not at all, if it can be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)


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
    made = make()
    keep(cache / name, made.encode())
    return made
