"""A cache of files that are made, or fetched, once for an environment. It only saves time."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["folder", "keep", "kept", "models", "text"]


def _candidates() -> Iterator[Path]:
    # In the environment, it is removed with the packages that the files are made from.
    yield Path(sys.prefix) / "var" / "nocturne"
    yield from _large()


def _large() -> Iterator[Path]:
    """Folders for what is large: the user's cache, if there is one."""
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


def models() -> Path:
    """The folder of models that are fetched for this machine; it is the user's own.

    In the user's cache (XDG_CACHE_HOME), else below the folder of temporary files.

    Raises:
        OSError: it can't be made, or is another user's.
    """
    for candidate in _large():
        with suppress(OSError):
            (candidate / "models").mkdir(parents=True, exist_ok=True)
            if os.access(candidate / "models", os.W_OK):
                return candidate / "models"
    path = Path(tempfile.gettempdir()) / f"nocturne-{os.getuid()}" / "models"
    for folder_ in (path.parent, path):
        folder_.mkdir(mode=0o700, exist_ok=True)
        if folder_.is_symlink() or folder_.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder_))
    return path


def kept(name: str) -> bytes | None:
    """The bytes that are cached under ``name``; None if there are none."""
    cache = folder()
    with suppress(OSError):
        return None if cache is None else (cache / name).read_bytes()
    return None


def keep(name: str, content: bytes) -> None:
    """Cache bytes under ``name``, whole or not at all, if the cache can be written."""
    cache = folder()
    if cache is None:
        return
    path = cache / name
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
    with suppress(UnicodeDecodeError):
        if (content := kept(name)) is not None:
            return content.decode()
    made = make()
    keep(name, made.encode())
    return made
