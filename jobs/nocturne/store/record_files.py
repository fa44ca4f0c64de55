"""Records in files: read whole or refused, written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from nocturne.codec import damaged, dump, load
from nocturne.errors import StateError
from nocturne.store.failpoints import reach
from nocturne.store.files import write_atomic

__all__ = ["content", "find", "read", "write"]

T = TypeVar("T")

_MOST_BYTES = 1 << 30
"""A larger file is no record. The largest records, with profiles, have some megabytes."""


def find(kind: type[T], path: str | Path) -> T | None:
    """``load`` from a file; None if the file does not exist.

    Raises:
        StateError: it can't be read, or it is not such a record.
    """
    try:
        text = content(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(kind, str(path), f"it can't be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null byte, from another damaged record
        raise damaged(kind, repr(str(path)), str(error)) from None
    return load(kind, text, str(path))


def content(path: str | Path) -> bytes:
    """The bytes of a file of the state.

    Raises:
        OSError: there is none, or it is no file (a pipe would be waited for, a device never ends).
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        there = os.fstat(file.fileno())
        if not stat.S_ISREG(there.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if there.st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"{there.st_size:,} bytes", str(path))
        return file.read()


def read(kind: type[T], path: str | Path) -> T:
    """``load`` from a file.

    Raises:
        StateError: there is no such file, or it is not such a record.
    """
    found = find(kind, path)
    if found is None:
        raise StateError(
            f"{path} does not exist; expected a {kind.__name__}. Run the step that writes it "
            "(`nocturne prepare`, then score, judge, publish).",
            source=str(path),
        )
    return found


def write(path: str | Path, record: Any, *, exclusive: bool = False, durable: bool = True) -> bool:
    """Write a record whole or not at all; with ``exclusive`` the first writer wins.

    ``durable`` survives a power failure, at the price of a wait for the disk.

    Returns:
        False if ``exclusive`` and the file was there already (it is left as it was).
    """
    return write_atomic(
        path,
        dump(record).encode(),
        exclusive=exclusive,
        durable=durable,
        written=lambda: reach("record.written"),
    )
