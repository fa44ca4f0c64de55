"""Small things done to files: hashing, syncing, exchanging, locking."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blake3 import blake3

from nocturne.errors import PublishError, Superseded

__all__ = [
    "check_exchange",
    "digest",
    "exchange",
    "file_blake3",
    "file_digest",
    "locked",
    "partition_folders",
    "sync_folder",
]


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_blake3(path: str | Path) -> str:
    """BLAKE3 of a file's bytes, in hex: as safe as sha256, and faster."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, blake3).hexdigest()  # type: ignore[arg-type]


def digest(*parts: Any) -> str:
    """sha256 of values as sorted JSON, in hex: equal values, equal digest."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sync_folder(path: str | Path) -> None:
    """Makes the names in a folder survive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> None:
    """Two folders change places in one atomic step: renameat2(2) with RENAME_EXCHANGE.

    Raises:
        PublishError: the file system (NFS, some FUSE) or the kernel can't do it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise PublishError(
            f"this system has no atomic exchange of folders (renameat2), so {other} can't be "
            "replaced safely; publish on Linux, on a local file system (ext4, xfs, btrfs)"
        )
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    if done == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EXDEV:
        raise PublishError(
            f"{one} and {other} lie on two file systems (or mounts), so they can't change places; "
            "nothing was changed. Put output.path and the _nocturne folder beside it on one"
        )
    if code == errno.EBUSY:
        raise PublishError(
            f"{other} is a mount point, or in use as one, so it can't be replaced; nothing was "
            "changed. Mount a folder above output.path instead"
        )
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise PublishError(
            f"the file system of {other} has no atomic exchange of folders "
            f"({os.strerror(code)}); nothing was changed. Put output.path on a local Linux file "
            "system (ext4, xfs, btrfs)"
        )
    raise OSError(code, os.strerror(code), str(other))


def check_exchange(folder: Path, across: Path | None = None) -> None:
    """Tries the exchange of an empty folder in ``folder`` with one in ``across``, or in it too.

    Where they are not made yet, the folders that they will be made in are tried.

    Raises:
        PublishError: it can't be done there.
        OSError: a folder can't be written.
    """
    place, other_place = _existing(folder), _existing(across or folder)
    with (
        tempfile.TemporaryDirectory(prefix=".nocturne-", dir=place) as one,
        tempfile.TemporaryDirectory(prefix=".nocturne-", dir=other_place) as other,
    ):
        exchange(Path(one), Path(other))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def partition_folders(root: Path, names: Sequence[str]) -> Iterator[str]:
    """The partitions' folders of a table, ``ds=2013-04-01/hour=05``, from the last one on."""
    if not names:
        return
    try:
        with os.scandir(root) as entries:
            there = sorted(
                (e.name for e in entries if e.name.startswith(f"{names[0]}=") and e.is_dir()),
                reverse=True,
            )
    except OSError:
        return
    for name in there:
        if len(names) == 1:
            yield name
        else:
            yield from (f"{name}/{rest}" for rest in partition_folders(root / name, names[1:]))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on ``path`` (made if missing); it ends with the process too.

    Raises:
        Superseded: another process holds it: two publishes of one partition at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Superseded(
                f"another process is publishing {path.parent.name} right now; this one changed "
                "nothing. Look at `nocturne status` when it is done."
            ) from None
        yield
