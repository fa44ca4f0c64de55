"""Reading a split: whole row groups of one Parquet file, in batches, in bounded memory.

Planning, sampling and scoring open every Parquet file here, so that all see the same types
(``nocturne.columns.normal``), and an unreadable file always gives the same message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import FINE, ParquetOnly, normal
from nocturne.errors import InputChanged, InputError
from nocturne.objects import Location, ObjectPath
from nocturne.objects.path import Stat
from nocturne.objects.reading import AHEAD, ObjectFile
from nocturne.objects.together import together
from nocturne.records.plan import InputFile, located

__all__ = [
    "check_unchanged",
    "file_schema",
    "open_parquet",
    "read_batches",
    "read_footer",
    "read_schema",
    "read_schemas",
    "with_constants",
]

_PAGE_BYTES = 1 << 20
"""How much of a column chunk is read at once. So memory does not grow with the row groups."""
_SHORT = 3
"""Bytes for each value. A chunk has more if its writer gave up the dictionary."""
_WORD = 24
"""Bytes for each value. A chunk has more if its values are texts and no words."""
_CODED = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
"""The encodings that Arrow reads as dictionaries."""
_TAIL = 64 << 10
"""How much of an object's end is fetched for its footer."""
_SIGNATURE = 28
"""Bytes after a plaintext footer of a file with encrypted columns: a nonce and the signature
(Parquet's encryption specification, "plaintext footer mode")."""
_OTHER_SIZE = "Expected all lists to be of size"
"""Part of Arrow's message if a null in a column of fixed-size lists has no items (25.0)."""
_PARQUET_ONLY = ("BSON", "ENUM", "GEOGRAPHY", "GEOMETRY", "INTERVAL")
_VARIANT = re.compile(r" +\w+ group field_id=-?\d+ .* \(Variant\b.*\) \{$")
"""A column in the text of a schema; those within others are indented further."""


def check_unchanged(path: Location, planned: InputFile, *, in_lake: bool = False) -> None:
    """Raises: InputChanged if the file is no longer the one that was planned.

    The store compares an object with the planned one whenever a part of it is read.

    Args:
        in_lake: it is a file of a lake table, which nobody writes into. Its time says nothing: a
            publish there that takes it over, or a rollback, makes it young for VACUUM.
    """
    if isinstance(path, ObjectPath):
        return
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise InputChanged(f"{path} was deleted after planning; run the partition again") from None
    time_ns = planned.mtime_ns if in_lake else stat.st_mtime_ns
    now = (stat.st_size, time_ns, stat.st_ino)
    if now != (planned.size, planned.mtime_ns, planned.inode):
        raise InputChanged(
            f"{path} changed after planning (size, time or inode): nothing of it was published. "
            "Run the partition again",
            path=str(path),
        )


def read_footer(path: Location) -> pq.FileMetaData:
    """The footer of a Parquet file.

    Raises:
        InputError: it is not a readable Parquet file, or holds encrypted columns.
        InputChanged, StoreUnavailable, ConfigError: an object can't be read.
    """
    if isinstance(path, ObjectPath) and path.stat_:
        return _footer_of(path, path.stat_)
    return _footer(path)


@lru_cache(maxsize=1024)
def _footer_of(path: ObjectPath, stat: Stat) -> pq.FileMetaData:
    """Read once in each process: a version of an object never changes."""
    return _footer(path)


def _footer(path: Location) -> pq.FileMetaData:
    try:
        with path.open() if isinstance(path, ObjectPath) else open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if isinstance(file, ObjectFile):
                file.will_need([(max(0, size - _TAIL), size)])
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(4), "little")
            if isinstance(file, ObjectFile) and _TAIL < length < size:
                file.will_need([(max(0, size - length - 8), size)])
            footer = pq.read_metadata(
                pa.PythonFile(file, "r") if isinstance(file, ObjectFile) else path
            )
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}{_size(path)} is not a readable Parquet file: {error}. Have it written again, "
            "or move it out of the partition; CSV and JSON can be converted with pyarrow or "
            "pandas, or read with scoring.reader: spark",
            path=str(path),
        ) from None
    if length == footer.serialized_size + _SIGNATURE:
        # Checked before a column's metadata is read: Arrow ends the process if it is encrypted.
        raise InputError(
            f"{path} has encrypted columns, and there is no key for them here. Have it written "
            "without encryption, or let a job that has the keys write a plain copy",
            path=str(path),
        )
    return footer


def _size(path: Location) -> str:
    with suppress(OSError):
        return f" ({path.stat().st_size} bytes)"
    return ""


class _Parquet(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file that can be told which of its parts are read next."""

    def __init__(self, path: Location, **options: Any) -> None:
        self._object = path.open() if isinstance(path, ObjectPath) else None
        super().__init__(
            path if self._object is None else pa.PythonFile(self._object, "r"), **options
        )

    def will_need(self, handle: int | None, groups: Sequence[int], columns: Sequence[str]) -> None:
        """Announce row groups: to the kernel, for the file that is open as ``handle``, or a store.

        Args:
            columns: those that are read of them.
        """
        for group in groups:
            footer = self.metadata.row_group(group)
            chunks = [footer.column(i) for i in range(footer.num_columns)]
            starts = [c.dictionary_page_offset or c.data_page_offset for c in chunks]
            if self._object is not None:
                self._object.will_need(
                    (start, start + chunk.total_compressed_size)
                    for start, chunk in zip(starts, chunks, strict=True)
                    if any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in columns)
                )
            elif handle is not None:
                length = sum(c.total_compressed_size for c in chunks)
                with suppress(AttributeError, OSError):  # only advice; macOS does not have it
                    os.posix_fadvise(handle, min(starts), length, os.POSIX_FADV_WILLNEED)


def open_parquet(
    path: Location, *, checksums: bool = True, words: Collection[str] = ()
) -> pq.ParquetFile:
    """Open a file; text columns that it stores as dictionaries are read as dictionaries.

    So text is neither copied row by row nor hashed again when it is written. Times in INT96 are
    read in microseconds, as Spark writes them; finer digits are cut off.

    Args:
        checksums: compare each page with its checksum, if its writer stored one. That takes
            0.0013 us for a value of four bytes, and nothing without a checksum.
        words: text columns that are read as dictionaries also if the file stores them plain:
            whoever looks words up, and counts them, then does so once a word. The dictionary grows
            from batch to batch of a row group, and takes memory, so they should not all differ.

    Raises:
        InputError: it is not a readable Parquet file, or holds encrypted columns.
    """
    footer = read_footer(path)
    try:
        return _Parquet(
            path,
            metadata=footer,
            buffer_size=_buffered(path, footer),
            pre_buffer=False,
            read_dictionary=_dictionaries(footer, words),
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=checksums,
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} can't be opened as Parquet: {error}", path=str(path)) from None


def _buffered(path: Location, footer: pq.FileMetaData) -> int:
    """How many bytes of a column chunk are read at once; 0: all of them.

    Of an object they were fetched together, if its row groups are not too large, and are not
    copied then.
    """
    if isinstance(path, ObjectPath):
        groups = (footer.row_group(i) for i in range(footer.num_row_groups))
        sizes = (
            sum(g.column(i).total_compressed_size for i in range(g.num_columns)) for g in groups
        )
        if max(sizes, default=0) <= AHEAD:
            return 0
    return _PAGE_BYTES


def read_schema(path: Location, path_columns: pa.RecordBatch | None = None) -> pa.Schema:
    """``file_schema`` of a file that is opened for nothing else.

    Raises:
        InputError: it is not a readable Parquet file, or holds encrypted columns.
    """
    footer = read_footer(path)
    with _Parquet(path, metadata=footer, coerce_int96_timestamp_unit="us") as source:
        return file_schema(source, path_columns)


def read_schemas(
    folder: Location, files: Sequence[InputFile], path_columns: pa.RecordBatch | None = None
) -> dict[str, pa.Schema]:
    """Path -> ``read_schema`` of each of the files. Raises: as ``read_footer``."""
    schemas = together(lambda file: read_schema(located(folder, file), path_columns), files)
    return dict(zip([file.path for file in files], schemas, strict=True))


def file_schema(source: pq.ParquetFile, path_columns: pa.RecordBatch | None = None) -> pa.Schema:
    """The types of a file's columns as declared; ``normal_schema`` gives the types as read.

    A type that only Parquet has (VARIANT), or that has one within, is a ``ParquetOnly``.

    Args:
        path_columns: as in ``read_batches``.
    """
    only = _parquet_only(source)
    fields = [
        f.with_type(ParquetOnly(f.type, only[f.name])) if f.name in only else f
        for f in source.schema_arrow
    ]
    return pa.schema([*fields, *(path_columns.schema if path_columns is not None else ())])


def _parquet_only(source: pq.ParquetFile) -> dict[str, str]:
    """Column -> the type in it, if it is one that only Parquet has."""
    names: list[str] = source.schema_arrow.names
    only, at = dict[str, str](), -1
    for line in str(source.schema).split("\n")[1:]:
        at += line[:2] == "  " and line[2:3] not in (" ", "}")  # the next column begins
        if _VARIANT.match(line):
            only[names[at]] = "VARIANT"
    for leaf in map(source.schema.column, range(len(source.schema))):
        logical = str(leaf.logical_type).partition("(")[0].upper()
        kind = "INTERVAL" if leaf.converted_type == "INTERVAL" else logical
        if kind in _PARQUET_ONLY:
            only |= {n: kind for n in names if f"{leaf.path}.".startswith(f"{n}.")}
    return only


def _dictionaries(footer: pq.FileMetaData, words: Collection[str]) -> list[str]:
    """Flat text columns whose row groups all consist of a dictionary and short indices.

    Also those of ``words``, unless their words are long or have an encoding of another kind.
    """
    names = []
    for position, field in enumerate(footer.schema.to_arrow_schema()):
        if not pa.types.is_string(field.type) or position >= footer.num_columns:
            continue
        chunks = [footer.row_group(i).column(position) for i in range(footer.num_row_groups)]
        if any(c.path_in_schema != field.name for c in chunks):
            continue
        of_words = field.name in words
        most = _WORD if of_words else _SHORT
        if all(
            (c.has_dictionary_page or of_words)
            and _CODED.issuperset(c.encodings)
            and c.total_uncompressed_size < most * c.num_values + _PAGE_BYTES
            for c in chunks
        ):
            names.append(field.name)
    return names


def read_batches(
    source: pq.ParquetFile,
    path: Location,
    row_groups: Sequence[int],
    columns: list[str],
    rows: int,
    known: pa.Schema | None = None,
    path_columns: pa.RecordBatch | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of ``rows`` rows of the row groups, in order; only the last one may be shorter.

    Their columns have the types of ``nocturne.columns.normal``. While one row group is decoded,
    the kernel is asked to read the next one from the disk, which needs no thread, or threads fetch
    it from a store.

    Args:
        source: what ``open_parquet`` gave for the path.
        known: types for columns without a type, whose values are all null.
        path_columns: one row of further columns (``nocturne.source.path_columns``), whose values
            every row gets.

    Raises:
        InputError: a page can't be decoded, or does not match its checksum.
    """
    constants: pa.RecordBatch | None = None
    if path_columns is not None:
        names = [name for name in path_columns.schema.names if name in columns]
        constants = path_columns.select(names) if names else None
        columns = [name for name in columns if name not in names]
    with nullcontext() if isinstance(path, ObjectPath) else open(path, "rb") as file:
        handle = file.fileno() if file else None
        source.will_need(handle, row_groups[:1], columns)
        next_group, group_end = 0, 0
        rows_read = 0
        try:
            for batch in source.iter_batches(
                batch_size=rows, row_groups=list(row_groups), columns=columns, use_threads=False
            ):
                while rows_read >= group_end and next_group < len(row_groups):
                    group_end += source.metadata.row_group(row_groups[next_group]).num_rows
                    next_group += 1
                    source.will_need(handle, row_groups[next_group : next_group + 1], columns)
                rows_read += batch.num_rows
                batch = _normal(batch, path, known)
                yield batch if constants is None else with_constants(batch, constants)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path.name}: row groups {row_groups[0]} to {row_groups[-1]} can't be decoded: "
                f"{error}. {_remedy(error, source, columns)}",
                path=str(path),
            ) from None


def _remedy(error: Exception, source: pq.ParquetFile, columns: Sequence[str]) -> str:
    """The advice for a file that can't be decoded."""
    fixed = [f.name for f in source.schema_arrow if f.name in columns and _has_fixed_lists(f.type)]
    if not fixed or _OTHER_SIZE not in str(error):
        return "Have the file written again"
    return (
        f"Arrow reads no nulls in lists of a fixed size ({', '.join(fixed)}): have them written as "
        "plain lists, e.g. column.cast(pyarrow.list_(TYPE)), or read the table with "
        "scoring.reader: spark"
    )


def _has_fixed_lists(type_: pa.DataType) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return _has_fixed_lists(type_.storage_type)
    fixed = bool(pa.types.is_fixed_size_list(type_))
    return fixed or any(_has_fixed_lists(type_.field(i).type) for i in range(type_.num_fields))


def _normal(batch: pa.RecordBatch, path: Location, known: pa.Schema | None) -> pa.RecordBatch:
    try:
        return normal(batch, known)
    except pa.ArrowInvalid:
        names = [f.name for f in batch.schema if f.type == FINE]
        raise InputError(
            f"{path.name} has times in nanoseconds ({', '.join(names)}) that are finer than the "
            "microseconds in which another file of the partition has them (INT96 is read so). Have "
            "all files written with the same unit",
            path=str(path),
        ) from None


def with_constants(batch: pa.RecordBatch, constants: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the columns of ``constants``, whose single row is repeated.

    Text becomes a dictionary with one value, so that nothing is copied or hashed row by row.
    """
    arrays = [_repeated(column, batch.num_rows) for column in constants.columns]
    fields = [*batch.schema, *map(pa.field, constants.schema.names, (a.type for a in arrays))]
    return pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=pa.schema(fields))


def _repeated(value: pa.Array, rows: int) -> pa.Array:
    if not pa.types.is_string(value.type):
        return pa.repeat(value[0], rows)
    if value.null_count:
        return pa.nulls(rows, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), value)
