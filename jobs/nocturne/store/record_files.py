"""Reads and writes records as files; a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, TypeVar

from nocturne.codec import damaged, dump, load
from nocturne.errors import StateError
from nocturne.objects import Location, ObjectPath
from nocturne.store.failpoints import reach
from nocturne.store.files import write_atomic

__all__ = ["content", "find", "read", "write"]

T = TypeVar("T")

_MOST_BYTES = 1 << 30
"""A larger file is not a record. The largest records, with profiles, have some megabytes."""


def find(kind: type[T], path: str | Location) -> T | None:
    """Load a record from a file; None if the file does not exist.

    Raises:
        StateError: the file can't be read, or is not such a record.
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


def content(path: str | Location) -> bytes:
    """The bytes of a file, or an object, of the state.

    Raises:
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
        OSError: the file does not exist or is not a regular file. (Reading a pipe would wait, and
            reading a device might never end.)
    """
    if isinstance(path, ObjectPath):
        return path.read_bytes()
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes", str(path))
        return file.read()


def read(kind: type[T], path: str | Location) -> T:
    """Load a record from a file.

    Raises:
        StateError: the file does not exist, or is not such a record.
    """
    record = find(kind, path)
    if record is None:
        raise StateError(
            f"{path} does not exist; expected a {kind.__name__}. Run the step that writes it "
            "(`nocturne prepare`, then score, judge, publish).",
            source=str(path),
        )
    return record


def write(
    path: str | Location, record: Any, *, exclusive: bool = False, durable: bool = True
) -> bool:
    """Write a record whole or not at all.

    Args:
        exclusive: the first writer wins; otherwise the last writer wins.
        durable: the record survives a power failure; this waits for the disk.

    Returns:
        False if ``exclusive`` and the file existed already (it is not changed).
    """
    return write_atomic(
        path,
        dump(record).encode(),
        exclusive=exclusive,
        durable=durable,
        written=lambda: reach("record.written"),
    )
