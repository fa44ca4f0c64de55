"""The plan room: a partition becomes splits and a run key, or a clear refusal.

Only footers are read, and the files' bytes for their fingerprints; no row is decoded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from nocturne.columns.fitting import absent, casts, check_columns, check_output
from nocturne.columns.normal import COARSE, FINE, plain_type, published_type, with_types
from nocturne.columns.values import kind
from nocturne.errors import (
    InputChanged,
    InputError,
    NotReady,
    PartitionMissing,
    StateError,
    printable,
)
from nocturne.model.encoding import Encoding
from nocturne.records import InputFile, ModelRef, Partition, Pinned, Query, Split, dump
from nocturne.source.lakes import refuse_lake
from nocturne.source.path_columns import keys_of, unheld
from nocturne.source.reading import read_footer, read_schema
from nocturne.source.walk import data_files, entries, present
from nocturne.store.files import digest, file_blake3, write_atomic
from nocturne.store.record_files import content

__all__ = [
    "OUTPUT_VERSION",
    "check_ready",
    "check_schema",
    "cut",
    "fingerprints",
    "given_types",
    "keys_as_columns",
    "query_pieces",
    "run_key",
    "split_keys",
]

Piece = tuple[InputFile, tuple[int, ...], int, int]
"""File, row groups, first row, rows: a split that has no key yet."""

OUTPUT_VERSION = 4
"""Raised only when the same input and model would give other output bytes."""


def check_ready(
    folder: Path, *, success_file: bool, min_rows: int, min_age_minutes: float, known: Iterator[str]
) -> None:
    """Returns if the partition is complete.

    Args:
        known: names of partitions that exist, for the message; read only if needed.

    Raises:
        PartitionMissing: there is no such folder.
        NotReady: a condition of ``input.ready`` does not hold yet, or files are being written.
        InputError: a file is not Parquet, or the folder holds what can't be taken as data.
    """
    refuse_lake(folder)
    if not present(folder):
        parent = folder.parent
        near = sorted(map(printable, known))
        there = f"the table has {near[0]} to {near[-1]}" if near else f"{parent} has no partition"
        raise PartitionMissing(
            f"partition {folder} does not exist: {there}. Check the date and input.path, or set "
            "input.on_missing: skip",
            path=str(folder),
        )
    if success_file and "_SUCCESS" not in entries(folder):
        raise NotReady(
            f"{folder} has no _SUCCESS file yet (input.ready.success_file); run this again when "
            "its writer is done"
        )
    files = data_files(folder)
    if min_age_minutes and files:
        age = (time.time() - max(_stat(f).st_mtime for f in files)) / 60
        if age < min_age_minutes:
            raise NotReady(
                f"{folder} was written {age:.0f} minutes ago, input.ready.min_age_minutes is "
                f"{min_age_minutes:g}; run this again in {min_age_minutes - age:.0f} minutes"
            )
    if min_rows and not files:
        raise NotReady(f"{folder} holds no Parquet file yet; run this again when it is written")
    if min_rows > 1:
        rows = sum(read_footer(f).num_rows for f in files)
        if rows < min_rows:
            raise NotReady(
                f"{folder} holds {rows} rows, input.ready.min_rows is {min_rows}; run this again "
                "when the rest has arrived"
            )


def _stat(path: Path) -> os.stat_result:
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
        stat = _stat(path)
        name = path.relative_to(folder).as_posix()
        seen = cache.get(name)
        now = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
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
        return InputFile(name, hashed, stat.st_size, stat.st_mtime_ns, stat.st_ino, rows)

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
    text = "[" + ",\n".join(dump(f) for f in found) + "]\n"
    try:
        write_atomic(cache_file, text.encode())
    except IsADirectoryError:
        raise StateError(f"{cache_file} is a folder, expected a file; remove it") from None
    return tuple(found)


def check_schema(
    folder: Path,
    files: Sequence[InputFile],
    encoding: Encoding,
    columns: Sequence[str],
    asked: Sequence[str] = (),
    *,
    told: Mapping[str, str] = {},
    cast_text: bool = False,
    unique: Sequence[str] = (),
    given: pa.RecordBatch | None = None,
) -> tuple[pa.Schema, pa.Schema]:
    """The table's schema, once every file has what the model and the output need.

    It is that of the first file. A column without a type (all its values are null) has the type of
    other files, or the model's; times without zone that some files have in microseconds (as INT96
    is read) and others in nanoseconds are taken in microseconds. These columns are given a second
    time, apart. Files without rows say nothing.

    Args:
        columns: keys and passthrough columns.
        asked: columns that expectations read.
        told: ``input.cast``, column -> target.
        cast_text: text will do where the model wants numbers.
        unique: keys that are looked through for doubles.
        given: columns of the files' paths (``nocturne.source.path_columns``).

    Raises:
        InputError: names each file and column that is missing or of a wrong type.
    """
    counted = [f for f in files if f.rows] or list(files)
    schemas = {f.path: read_schema(folder / f.path, given) for f in counted}
    whole, origin = _together(schemas)
    problems, coarse = [], set[str]()
    for path, schema in schemas.items():
        found = check_columns(encoding, schema, told, cast_text=cast_text)
        found += check_output(encoding, schema, columns, unique)
        for name in dict.fromkeys((*columns, *asked)):
            if name not in whole.names:
                continue
            if said := absent(schema, name):
                if name not in columns:
                    there = name in schema.names
                    found.append(said if there else f"{said}, which an expectation reads")
                continue
            if name not in origin:  # as is said of the first file
                continue
            one, other = whole.field(name).type, schema.field(name).type
            same = published_type if name in columns else kind
            if {one, other} == {COARSE, FINE}:
                coarse |= {name} & {*columns}
            elif not pa.types.is_null(other) and same(one) != same(other):
                found.append(
                    f"column {name!r} is {plain_type(other)}, in {origin[name]} it is "
                    f"{plain_type(one)}"
                )
        problems += [f"{path}: {problem}" for problem in found]
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(
            f"the data in {folder} does not fit the model:\n  {shown}{more}\n"
            f"It has the columns {', '.join(whole.names)}. Correct the data or the YAML, or log "
            "the model with an encoding of these columns",
            problems=problems,
        )
    wanted = casts(encoding, whole, told)
    fields = [
        field.with_type(COARSE)
        if field.name in coarse
        else field.with_type(wanted[field.name].type)
        if pa.types.is_null(field.type) and field.name in wanted
        else field
        for field in whole
    ]
    untyped = {f.name for s in schemas.values() for f in s if pa.types.is_null(f.type)}
    given = coarse | (untyped & origin.keys())
    known = [f for f in fields if f.name in given and not pa.types.is_null(f.type)]
    return pa.schema(fields), pa.schema(known)


def _together(schemas: Mapping[str, pa.Schema]) -> tuple[pa.Schema, dict[str, str]]:
    """The first schema, with the types that its columns without one have in others.

    And of each of its columns that is there once the file that its type is from.
    """
    paths = list(schemas)
    first = schemas[paths[0]]
    fields, origin = list(first), {}
    for number, field in enumerate(first):
        if len(first.get_all_field_indices(field.name)) != 1:
            continue
        origin[field.name] = paths[0]
        for path in paths if pa.types.is_null(field.type) else ():
            schema = schemas[path]
            at = schema.get_field_index(field.name)
            if at >= 0 and not pa.types.is_null(schema.field(at).type):
                fields[number], origin[field.name] = schema.field(at), path
                break
    return pa.schema(fields), origin


def cut(folder: Path, files: Sequence[InputFile], *, max_rows: int, max_bytes: int) -> list[Piece]:
    """(file, row groups, first row, rows) of each split: whole row groups of one file."""
    splits = []
    for file in files:
        footer = read_footer(folder / file.path)
        groups: list[int] = []
        rows = size = start = 0
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            if groups and (
                rows + group.num_rows > max_rows or size + group.total_byte_size > max_bytes
            ):
                splits.append((file, tuple(groups), start, rows))
                start, groups, rows, size = start + rows, [], 0, 0
            groups.append(number)
            rows += group.num_rows
            size += group.total_byte_size
        if rows:
            splits.append((file, tuple(groups), start, rows))
    return splits


def split_keys(
    pieces: Sequence[Piece],
    model: ModelRef,
    encoding: Encoding,
    pinned: Pinned,
    keys: Sequence[str],
    passthrough: Sequence[str],
    salt: str = "",
    told: Mapping[str, str] = {},
    types: Mapping[str, Mapping[str, str]] = {},
) -> tuple[Split, ...]:
    """The splits with their keys: equal keys mean equal output bytes.

    Args:
        told: ``input.cast``, column -> target.
        types: file -> what ``given_types`` says of it.
        salt: makes other keys of the same contents, to score again what is published.
    """
    settings = digest(
        OUTPUT_VERSION,
        [model.name, model.version, model.sha256],
        encoding.to_json(),
        asdict(pinned),
        [list(keys), list(passthrough)],
        salt,
        *([sorted(told.items())] if told else []),
    )
    return tuple(
        Split(
            index=index,
            key=digest(
                settings,
                file.path,
                file.blake3,
                groups,
                *([sorted(types[file.path].items())] if file.path in types else []),
            ),
            file=file.path,
            row_groups=groups,
            first_row=first,
            rows=rows,
        )
        for index, (file, groups, first, rows) in enumerate(pieces)
    )


def given_types(
    folder: Path,
    files: Sequence[InputFile],
    types: pa.Schema,
    names: Collection[str],
    given: pa.RecordBatch | None = None,
) -> dict[str, dict[str, str]]:
    """File -> column of ``names`` -> the type that it has from other files, or from the model.

    Other files are part of what is made of a file only so: one that comes late changes no more.
    And of a column of its path the type and the value.

    Args:
        types: what ``check_schema`` gives apart.
        given: columns of the files' paths, a row a file.
    """
    found: dict[str, dict[str, str]] = {}
    for file in files if len(types) else ():
        own = read_schema(folder / file.path)
        others = {
            wanted.name: str(wanted.type)
            for field, wanted in zip(own, with_types(own, types), strict=True)
            if field.type != wanted.type and field.name in names
        }
        if others:
            found[file.path] = others
    for column in given.schema.names if given is not None else ():
        assert given is not None
        for file, value in zip(files, given.column(column), strict=True):
            found.setdefault(file.path, {})[column] = f"{value.type}: {value.as_py()!r}"
    return found


def keys_as_columns(
    folder: Path,
    files: Sequence[InputFile],
    partition: Partition,
    names: Collection[str],
    *,
    parquet: bool = True,
) -> tuple[str, ...]:
    """The keys of the files' paths among ``names``, without those that a file holds itself.

    Args:
        parquet: the files have footers that say what they hold; else the reader will.

    Raises:
        InputError: such a key is there twice.
    """
    found = [key for key in keys_of(partition, (f.path for f in files)) if key in names]
    if found and parquet:
        found = unheld(found, {name for f in files for name in read_schema(folder / f.path).names})
    if doubled := sorted({key for key in found if found.count(key) > 1}):
        raise InputError(
            f"{folder / files[0].path} has the key {', '.join(doubled)} twice in its path; which "
            "one is meant as the column? Rename the folders",
            path=str(folder),
        )
    return tuple(found)


def query_pieces(
    files: Sequence[InputFile], query: Query, given: pa.RecordBatch | None = None
) -> list[Piece]:
    """The one piece that a query is planned as: its text, and the contents of every file.

    Args:
        given: columns of the files' paths, a row a file.
    """
    contents = digest(
        [(f.path, f.blake3) for f in files],
        query.sql,
        query.format,
        query.options,
        *([str(given.schema), str(given.to_pylist())] if given is not None else []),
    )
    return [(InputFile("", contents, 0, 0, 0, 0), (), 0, 0)]


def run_key(splits: Sequence[Split]) -> str:
    """What the whole partition's output is made from, as one sha256."""
    return digest(OUTPUT_VERSION, [split.key for split in splits])
