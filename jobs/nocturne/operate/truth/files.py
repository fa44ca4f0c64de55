"""The files with the labels of a night, read batch by batch in the types of the scores' keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import COARSE, FINE, plain_type
from nocturne.columns.types import is_bytes, is_text
from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.errors import InputChanged, InputError, choices
from nocturne.hiding import redacted
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.pipeline.places import folders_of
from nocturne.records.partition import Partition
from nocturne.source.calendar import checked
from nocturne.source.protocol import InputTable
from nocturne.table_formats import INPUTS

__all__ = [
    "BATCH_ROWS",
    "LabelFiles",
    "label_files",
    "label_table",
    "plain",
    "reading",
    "signature",
]

BATCH_ROWS = 262_144


@dataclass(frozen=True)
class LabelFiles:
    """The labels of a night.

    ``rows``: as the footers say. ``schema``: of all files together, without dictionaries.
    ``checksums``: whether pages are compared with their checksums (``input.checksums``).
    """

    files: tuple[Location, ...]
    rows: int
    schema: pa.Schema
    checksums: bool = True

    def tables(self, columns: Sequence[str], keys: pa.Schema) -> Iterator[pa.Table]:
        """The columns, some rows at a time.

        Args:
            keys: the key's columns, with the types that the scores have.

        Raises:
            InputError: a key is of another kind than the scores', or a file is damaged.
            InputChanged: a file is gone meanwhile.
        """
        types = [keys.field(n) if n in keys.names else self.schema.field(n) for n in columns]
        # INT96 is read in microseconds, as it is scored; scores in nanoseconds were none.
        fine = any(pa.types.is_timestamp(t) and t.unit == FINE.unit for t in keys.types)
        unit = FINE.unit if fine else COARSE.unit
        for path in self.files:
            for table in _batches(path, columns, self.checksums, unit):
                yield _typed(table, types, keys)


def label_table(loaded: Loaded, labels: Labels) -> InputTable:
    """The table that the labels are in."""
    place = loaded.location(labels.path)
    read = INPUTS.get(labels.format)
    return folders_of(place) if read is None else read(place, labels.table or "")


def label_files(
    loaded: Loaded, labels: Labels, night: Partition, needed: Sequence[str]
) -> LabelFiles:
    """The files of a night's labels.

    Args:
        needed: columns without which the labels are of no use.

    Raises:
        InputError: there are none, one is damaged, or they lack a column.
        NotReady, InputChanged: they are being written.
    """
    table = label_table(loaded, labels)
    listing = table.listing(night) if table.has(night) else None
    files = tuple(listing.files) if listing is not None else ()
    if listing is None or not files:
        raise InputError(f"there are no labels for {night.key} in {table.folder(night)} yet")
    rows, whole = 0, pa.schema([])
    for path in files:
        with reading(path), _opened(path) as file:
            schema = file.schema_arrow.remove_metadata()
            if missing := [name for name in needed if name not in schema.names]:
                raise InputError(f"{path} has no column {choices(missing)}, which labels need")
            rows += file.metadata.num_rows
            own = plain(schema.empty_table()).schema
        whole = _with(whole, own, path)
    if problems := listing.problems(set(whole.names), {}):
        raise InputError(
            f"the labels of {night.key} are not what readers of the table see: "
            f"{'; '.join(problems[:5])}. Have the partition rewritten"
        )
    return LabelFiles(files, rows, whole, loaded.pipeline.input.checksums)


def _with(others: pa.Schema, own: pa.Schema, path: Location) -> pa.Schema:
    """The columns of several files together.

    Raises:
        InputError: a column has two types of which neither holds the other.
    """
    try:
        return pa.unify_schemas([others, own], promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"{path} does not go together with the other files of its labels: "
            f"{redacted(error).rstrip('.')}. Have all of them written with the same columns and "
            "types"
        ) from None


def signature(files: Sequence[Location]) -> list[tuple[str, int, int]]:
    """What changes if a file is replaced: its path, size and time.

    Raises:
        InputChanged: one is gone.
    """
    found = []
    for path in files:
        with reading(path):
            stat = path.stat()
        found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found


@contextmanager
def reading(path: Location) -> Iterator[None]:
    """Raises Nocturne's errors if a file can't be read.

    Raises:
        InputError: it is damaged, or may not be read.
        InputChanged: it is gone.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputChanged(f"{path} is gone: it was replaced while it was read") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} can't be read as Parquet: {redacted(error)}") from None


def _opened(path: Location, checksums: bool = True, unit: str = COARSE.unit) -> pq.ParquetFile:
    """The file; ``unit`` is that of times in INT96."""
    return pq.ParquetFile(
        native(path), coerce_int96_timestamp_unit=unit, page_checksum_verification=checksums
    )


def _batches(
    path: Location, columns: Sequence[str], checksums: bool, unit: str
) -> Iterator[pa.Table]:
    """Those of the columns that a file has, some rows at a time, without dictionaries."""
    with reading(path), _opened(path, checksums, unit) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in checked(file.iter_batches(BATCH_ROWS, columns=there), file, path):
            yield plain(pa.Table.from_batches([batch]))


def plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries, views, and floats of 16 bits."""

    def type_of(type_: pa.DataType) -> pa.DataType:
        type_ = plain_type(type_)
        if pa.types.is_string_view(type_):
            return pa.string()
        if pa.types.is_binary_view(type_):
            return pa.binary()
        return pa.float32() if pa.types.is_float16(type_) else type_

    return table.cast(pa.schema([f.with_type(type_of(f.type)) for f in table.schema]))


def _typed(table: pa.Table, types: Sequence[pa.Field], keys: pa.Schema) -> pa.Table:
    columns = []
    for field in types:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif field.name in keys.names:
            columns.append(_as_key(table[field.name], field))
        else:
            columns.append(table[field.name].cast(field.type))
    return pa.table(columns, names=[field.name for field in types])


def _as_key(column: pa.ChunkedArray, ours: pa.Field) -> pa.ChunkedArray:
    """A key of the labels in the type of the scores'.

    Raises:
        InputError: it is of another kind, or some value can't be taken for one of that type.
    """
    theirs = column.type
    why = "some value can't be taken for one of the other type"
    try:
        if pa.types.is_null(theirs):
            return column.cast(ours.type)
        if _kind(theirs) != _kind(ours.type):
            raise pa.ArrowInvalid(why := "keys of different kinds are never equal")
        cast = column.cast(ours.type)
        if theirs != ours.type and not cast.cast(theirs).equals(column):
            raise pa.ArrowInvalid(why)
        return cast
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"the labels' key {ours.name!r} is {theirs}, the scores' is {ours.type}, and {why}"
        ) from None


def _kind(type_: pa.DataType) -> str:
    """What a key is, whatever its width: only keys of one kind are compared."""
    kinds: dict[str, Callable[[pa.DataType], bool]] = {
        "boolean": pa.types.is_boolean,
        "number": lambda t: bool(pa.types.is_integer(t) or pa.types.is_floating(t)),
        "decimal": pa.types.is_decimal,
        "date": pa.types.is_date,
        "time": pa.types.is_time,
        "text": is_text,
        "bytes": lambda t: is_bytes(t) or bool(pa.types.is_fixed_size_binary(t)),
    }
    if pa.types.is_timestamp(type_):
        return "timestamp" if type_.tz is None else "timestamp with a time zone"
    return next((name for name, is_one in kinds.items() if is_one(type_)), str(type_))
