"""The data files of an input partition, with the hashes of their bytes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nocturne.codec import dump
from nocturne.errors import InputChanged, InputError, StateError
from nocturne.records.plan import InputFile
from nocturne.source.protocol import Listing, file_name
from nocturne.source.reading import read_footer
from nocturne.store.files import file_blake3, write_atomic
from nocturne.store.record_files import content

__all__ = ["fingerprints", "stat"]


def stat(path: Path) -> os.stat_result:
    """Raises: InputChanged if the file has disappeared since it was listed."""
    try:
        return path.stat()
    except OSError as error:
        raise InputChanged(
            f"{path} was there a moment ago ({error.strerror}); run this again when its writer is "
            "done"
        ) from None


def fingerprints(
    listing: Listing, cache_file: Path, *, parquet: bool = True
) -> tuple[InputFile, ...]:
    """Every data file with the BLAKE3 hash of its bytes; rows are counted in Parquet only.

    Hashes are cached by path, inode, size and modification time, so that an untouched file is not
    read again.

    Raises:
        InputError: the partition has no data files or no rows, or a file is damaged.
        InputChanged: files are being written.
    """
    folder = listing.folder
    cache: dict[str, InputFile] = {}
    with suppress(ValidationError, OSError):  # a damaged cache counts as empty
        stored = TypeAdapter(list[InputFile]).validate_json(content(cache_file))
        cache = {f.path: f for f in stored}

    def fingerprint(path: Path) -> InputFile:
        status = stat(path)
        name = file_name(path, folder)
        cached = cache.get(name)
        identity = (status.st_ino, status.st_size, status.st_mtime_ns)
        if cached and (cached.inode, cached.size, cached.mtime_ns) == identity:
            return cached
        rows = read_footer(path).num_rows if parquet else 0
        try:
            hashed = file_blake3(path)
        except OSError as error:
            raise InputError(
                f"{path} can't be read: {error.strerror}. The user that runs Nocturne must be able "
                "to read it"
            ) from None
        return InputFile(name, hashed, status.st_size, status.st_mtime_ns, status.st_ino, rows)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing releases the GIL
        files = list(threads.map(fingerprint, listing.files))
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
