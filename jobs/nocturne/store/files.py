"""Functions on files: hashing, writing, syncing, exchanging, locking."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from nocturne.errors import PublishError, Superseded
from nocturne.objects import Location, ObjectPath
from nocturne.objects import store as objects

__all__ = [
    "check_exchange",
    "check_links",
    "children",
    "digest",
    "exchange",
    "fetch",
    "file_blake3",
    "file_digest",
    "forget",
    "locked",
    "partition_folders",
    "place",
    "remove",
    "scratch",
    "sync_folder",
    "write_atomic",
]


def _reading(path: str | Location) -> Any:
    return path.open(whole=True) if isinstance(path, ObjectPath) else open(path, "rb")


def file_digest(path: str | Location) -> str:
    """sha256 of a file's bytes, in hex."""
    with _reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_blake3(path: str | Location) -> str:
    """BLAKE3 of a file's bytes, in hex: as safe as sha256, and faster."""
    with _reading(path) as file:
        return hashlib.file_digest(file, blake3).hexdigest()  # type: ignore[arg-type]


def digest(*parts: Any) -> str:
    """sha256 of values as sorted JSON, in hex; equal values have equal digests."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomic(
    path: str | Location,
    content: bytes,
    *,
    exclusive: bool = False,
    durable: bool = False,
    written: Callable[[], object] = lambda: None,
) -> bool:
    """Write a file, or an object, whole or not at all; its folder is made if needed.

    The bytes of a file are written to a hidden temporary file beside it, which is then renamed.
    `nocturne gc` removes temporary files of killed processes.

    Args:
        exclusive: the first writer wins; otherwise the last writer wins.
        durable: the bytes survive a power failure; this waits for the disk.
        written: called when the temporary file is whole and not renamed yet.

    Returns:
        False if ``exclusive`` and another file existed already (it is not changed).
    """
    if isinstance(path, ObjectPath):
        written()
        return path.write_bytes(content, exclusive=exclusive)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        written()
        (os.link if exclusive else os.replace)(temporary, path)
    except FileExistsError:  # only from os.link
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _temporary(path: Path) -> Path:
    """A hidden name beside a file, by which `nocturne gc` knows what a killed process left."""
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


def place(source: Location, target: Location, *, link: bool = True) -> None:
    """Make ``target`` a file with the bytes of ``source``: a link, or across file systems a copy.

    A file that is there already is replaced in one step. Either may be in a store.

    Args:
        link: False: a copy in any case, since the source belongs to others.

    Raises:
        FileNotFoundError: there is no such source.
    """
    if isinstance(target, ObjectPath):
        if isinstance(source, ObjectPath):
            target.copy(source)
        else:
            target.upload(source)
    elif isinstance(source, ObjectPath):
        fetch(source, target)
    else:
        _place(source, target, link)


def _place(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        if target.exists() and target.samefile(source):
            return
        if not (link and _linked(source, temporary)):
            shutil.copyfile(source, temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    """Whether a link could be made. Raises: FileNotFoundError if there is no such source."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def fetch(source: ObjectPath, target: Path) -> None:
    """Make ``target`` a file with the bytes of an object; it is there whole, or not at all.

    Raises:
        FileNotFoundError: there is no such object.
        InputChanged: it was replaced meanwhile.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    temporary = _temporary(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open(whole=True) as read, open(temporary, "wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A folder for files that are made on this machine and belong in a store; it is removed then.

    Those of processes that were killed are removed after a day.
    """
    prefix = f"nocturne-{os.getuid()}-{what}-"
    for old in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            if old.stat().st_uid == os.getuid() and time.time() - old.stat().st_mtime > _OLD_S:
                shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)


def check_links(folder: Path) -> None:
    """Test that a file is created only once in a folder, or in the one where it will be made.

    Raises:
        PublishError: a second file under the same name was not refused, or there are no links.
        OSError: the folder can't be written.
    """
    with tempfile.TemporaryDirectory(prefix=".nocturne-", dir=_existing(folder)) as name:
        first, second = Path(name) / "first", Path(name) / "second"
        first.touch()
        try:
            os.link(first, second)
            os.link(first, second)
        except FileExistsError:
            return
        except OSError as error:
            raise PublishError(
                f"the file system of {folder} has no hard links ({error.strerror}), which commits "
                "of a table need. Choose another output.path"
            ) from None
        raise PublishError(
            f"the file system of {folder} lets two programs create the same file, so a commit "
            "could be lost. Choose another output.path"
        )


def children(folder: Location) -> list[Location]:
    """The content of a folder, sorted; empty if the folder does not exist."""
    if isinstance(folder, ObjectPath):
        folders, files = objects.entries(folder)
        return [*folders, *files]
    return [*sorted(folder.iterdir())] if folder.is_dir() else []


def remove(path: Location) -> None:
    """Remove a file, or a folder with all its content, if it is there."""
    if isinstance(path, ObjectPath):
        if path.stat_ is None:  # else it is one object of a listing
            path.remove_tree()
        path.unlink()
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def forget(path: Location) -> None:
    """Remove a file, if there is one."""
    if isinstance(path, ObjectPath):
        path.unlink()
    else:
        path.unlink(missing_ok=True)


def sync_folder(path: str | Location) -> None:
    """Make the names in a folder survive a power failure. Those in a store do already."""
    if isinstance(path, ObjectPath):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_OLD_S = 86_400.0
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> None:
    """Exchange two folders in one atomic step: renameat2(2) with RENAME_EXCHANGE.

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
    """Test the exchange of an empty folder in ``folder`` with an empty one in ``across``.

    ``across`` is ``folder`` by default. For a folder that does not exist yet, the test uses the
    folder in which it will be made.

    Raises:
        PublishError: the exchange is impossible there.
        OSError: a folder can't be written.
    """
    first, second = _existing(folder), _existing(across or folder)
    with (
        tempfile.TemporaryDirectory(prefix=".nocturne-", dir=first) as one,
        tempfile.TemporaryDirectory(prefix=".nocturne-", dir=second) as other,
    ):
        exchange(Path(one), Path(other))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def partition_folders(root: Location, names: Sequence[str]) -> Iterator[str]:
    """The folders of a table's partitions, ``ds=2013-04-01/hour=05``, the last first."""
    if not names:
        return
    try:
        folders = _folders(root)
    except OSError:
        return
    for name in sorted((f for f in folders if f.startswith(f"{names[0]}=")), reverse=True):
        if len(names) == 1:
            yield name
        else:
            yield from (f"{name}/{rest}" for rest in partition_folders(root / name, names[1:]))


def _folders(root: Location) -> list[str]:
    if isinstance(root, ObjectPath):
        return [folder.name for folder in root.folders()]
    with os.scandir(root) as found:
        return [entry.name for entry in found if entry.is_dir()]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made if missing). The lock also ends with the process.

    Raises:
        Superseded: another process holds the lock, since it publishes the same partition.
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
