"""The data files of an input partition, with the hashes of their bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from nocturne.codec import dump
from nocturne.errors import InputChanged, InputError, StateError
from nocturne.objects import Location, ObjectPath
from nocturne.objects.path import Stat
from nocturne.objects.together import together
from nocturne.records.plan import InputFile
from nocturne.source.protocol import Listing, file_name
from nocturne.source.reading import read_footer
from nocturne.store.files import file_blake3, write_atomic
from nocturne.store.record_files import content as cached_bytes

__all__ = ["current", "fingerprints", "stat"]


def stat(path: Location) -> os.stat_result | Stat:
    """What was listed of an object, or is known of a file now.

    Raises:
        InputChanged: the file has disappeared since it was listed.
    """
    if isinstance(path, ObjectPath) and path.stat_:
        return path.stat_
    try:
        return path.stat()
    except OSError as error:
        raise InputChanged(
            f"{path} was there a moment ago ({error.strerror}); run this again when its writer is "
            "done"
        ) from None


def _identified(path: Location, name: str) -> InputFile:
    """The file as the store, or the file system, tells it apart from others; nothing is read."""
    status = stat(path)
    if isinstance(status, Stat):
        return InputFile(name, "", status.st_size, status.st_mtime_ns, 0, 0, status.tag)
    return InputFile(
        name,
        "",
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
        0,
        f"{status.st_ino:x}-{status.st_mtime_ns:x}",
    )


def current(path: Location, planned: InputFile) -> InputFile | None:
    """The planned file as it is told apart now, if it has the same bytes; None if it has not.

    It is read only if its time, or tag, is another one.

    Raises:
        InputChanged: it has disappeared.
    """
    if isinstance(path, ObjectPath):
        path = replace(path, stat_=None)
        path = path.pinned(path.stat())
    now = replace(_identified(path, planned.path), blake3=planned.blake3, rows=planned.rows)
    if _identity(now) == _identity(planned):
        return replace(now, tag=planned.tag)
    if now.size != planned.size or not planned.blake3:
        return None
    same = file_blake3(path) == planned.blake3
    return replace(now, tag=planned.tag and now.tag) if same else None


def _identity(file: InputFile) -> tuple[object, ...]:
    is_object = file.tag and not file.inode
    return (file.tag, file.size) if is_object else (file.inode, file.size, file.mtime_ns)


def fingerprints(
    listing: Listing, cache_file: Location, *, parquet: bool = True, content: bool = True
) -> tuple[InputFile, ...]:
    """Every data file with its fingerprint; rows are counted in Parquet only.

    Fingerprints are cached by path and by what tells files apart (inode, size and modification
    time; an object's tag), so that an untouched file is not read again.

    Args:
        content: the fingerprint is the BLAKE3 hash of the bytes; else the version of the file.

    Raises:
        InputError: the partition has no data files or no rows, or a file is damaged.
        InputChanged: files are being written.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    folder = listing.folder
    cache: dict[str, InputFile] = {}
    with suppress(ValidationError, OSError):  # a damaged cache counts as empty
        stored = TypeAdapter(list[InputFile]).validate_json(cached_bytes(cache_file))
        cache = {f.path: f for f in stored}

    def fingerprint(path: Location) -> InputFile:
        found = _identified(path, file_name(path, folder))
        cached = cache.get(found.path)
        if cached and _identity(cached) == _identity(found) and bool(cached.blake3) == content:
            return cached
        rows = read_footer(path).num_rows if parquet else 0
        if not content:
            return replace(found, rows=rows)
        try:
            hashed = file_blake3(path)
        except OSError as error:
            raise InputError(
                f"{path} can't be read: {error.strerror}. The user that runs Nocturne must be able "
                "to read it"
            ) from None
        return replace(found, rows=rows, blake3=hashed, tag=found.tag if not found.inode else "")

    if isinstance(folder, ObjectPath):
        files = together(fingerprint, listing.files)
    else:  # hashing releases the GIL
        files = together(fingerprint, listing.files, at_once=os.cpu_count() or 1)
    if not files or (parquet and not sum(f.rows for f in files)):
        contents = (
            f"no {'Parquet' if parquet else 'data'} file"
            if not files
            else f"{len(files)} files with no row in them"
        )
        raise InputError(
            f"partition {folder} is empty: it has {contents}. Check its writer; nothing was scored",
            path=str(folder),
        )
    text = "[" + ",\n".join(dump(f) for f in files) + "]\n"
    try:
        write_atomic(cache_file, text.encode())
    except IsADirectoryError:
        raise StateError(f"{cache_file} is a folder, expected a file; remove it") from None
    return tuple(files)
