"""Which files a partition of the input has, with the hashes of their bytes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nocturne.errors import InputChanged, InputError, StateError
from nocturne.records import InputFile, dump
from nocturne.source.reading import read_footer
from nocturne.source.walk import data_files
from nocturne.store.files import file_blake3
from nocturne.store.record_files import content

__all__ = ["fingerprints", "stat"]


def stat(path: Path) -> os.stat_result:
    """Raises: InputChanged if the file went since it was listed."""
    try:
        return path.stat()
    except OSError as error:
        raise InputChanged(
            f"{path} was there a moment ago ({error.strerror}); run this again when its writer is "
            "done"
        ) from None


def fingerprints(folder: Path, cache_file: Path, *, parquet: bool = True) -> tuple[InputFile, ...]:
    """Every data file with the BLAKE3 hash of its bytes; rows are counted in Parquet only.

    Hashes are cached by path, inode, size and modification time: a file that nobody
    touched is not read again.

    Raises:
        InputError: the partition has no data files or no rows, a file is damaged, or what is
            there can't be taken as data.
        NotReady, InputChanged: files are being written.
    """
    cache: dict[str, InputFile] = {}
    with suppress(ValidationError, OSError):  # a damaged cache is an empty one
        stored = TypeAdapter(list[InputFile]).validate_json(content(cache_file))
        cache = {f.path: f for f in stored}

    def described(path: Path) -> InputFile:
        there = stat(path)
        name = path.relative_to(folder).as_posix()
        seen = cache.get(name)
        now = (there.st_ino, there.st_size, there.st_mtime_ns)
        if seen and (seen.inode, seen.size, seen.mtime_ns) == now:
            return seen
        rows = read_footer(path).num_rows if parquet else 0
        try:
            hashed = file_blake3(path)
        except OSError as error:
            raise InputError(
                f"{path} can't be read: {error.strerror}. The user that runs Nocturne must be able "
                "to read it"
            ) from None
        return InputFile(name, hashed, there.st_size, there.st_mtime_ns, there.st_ino, rows)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing runs without Python's lock
        found = list(threads.map(described, data_files(folder)))
    if not found or (parquet and not sum(f.rows for f in found)):
        what = (
            f"no {'Parquet' if parquet else 'data'} file"
            if not found
            else f"{len(found)} files with no row in them"
        )
        raise InputError(
            f"partition {folder} is empty: it has {what}. Check its writer; nothing was scored",
            path=str(folder),
        )
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache_file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text("[" + ",\n".join(dump(f) for f in found) + "]\n", encoding="utf-8")
    try:
        os.replace(temporary, cache_file)
    except IsADirectoryError:
        temporary.unlink()
        raise StateError(f"{cache_file} is a folder, expected a file; remove it") from None
    return tuple(found)
