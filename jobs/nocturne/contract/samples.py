"""Reads a sample of the training data: a Parquet file, or a folder of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nocturne.columns.normal import plain, plain_type
from nocturne.errors import InputError, choices
from nocturne.records.partition import Partition
from nocturne.source.path_columns import columns_of_paths, keys_of, not_in_files, of_file
from nocturne.source.reading import (
    file_schema,
    open_parquet,
    read_batches,
    read_footer,
    read_schema,
)
from nocturne.source.walk import data_files

__all__ = ["Sample", "read_sample"]

_MOST_ROWS = 5_000_000
_BATCH = 65_536


@dataclass(frozen=True)
class Sample:
    """Rows of training data, and for each its partition (None: it has none).

    ``folders``: the columns that come from the names of folders.
    """

    rows: pa.Table
    partitions: Sequence[str] | None
    folders: frozenset[str]


def read_sample(path: Path, partition: str | None = None) -> Sample:
    """All rows of a Parquet file or folder, in the types that a night computes with.

    Args:
        partition: the column that says a row's partition. Without it, rows of a folder such as
            ``ds=2013-04-01`` belong to that.

    Raises:
        InputError: nothing is there, a file can't be read or has other columns than the first, or
            there are no rows, too many, or no such column.
    """
    files = data_files(path) if path.is_dir() else [path]
    if not path.exists() or not files:
        raise InputError(
            f"{path} {'has no file' if path.exists() else 'is not there'}; expected a Parquet file "
            "with training data, or a folder of them",
            path=str(path),
        )
    below = [file.relative_to(path).as_posix() if file != path else "" for file in files]
    keys = not_in_files(keys_of(Partition("all"), below), read_schema(files[0]).names)
    from_paths = columns_of_paths(Partition("all"), {}, below, keys)
    parts, labels, rows = list[pa.Table](), list[str](), 0
    for number, file in enumerate(files):
        rows += read_footer(file).num_rows
        if rows > _MOST_ROWS:
            raise InputError(
                f"{path} has more than {_MOST_ROWS:,} rows; give a sample of them, of all "
                "partitions",
                path=str(path),
            )
        part = _read(file, of_file(from_paths, number))
        if part.num_rows and parts and part.schema != parts[0].schema:
            raise InputError(
                f"{file} has other columns than {files[0]}: "
                f"{', '.join(_differences(parts[0].schema, part.schema))}. Give files of one table",
                path=str(file),
            )
        if part.num_rows:
            parts.append(part)
            labels += [below[number].rpartition("/")[0]] * part.num_rows
    if rows < 2:
        raise InputError(f"{path} has {rows} rows, expected at least 2 of training data")
    table = pa.concat_tables(parts)
    if partition is not None:
        if partition not in table.schema.names:
            raise InputError(
                f"partition: {path} has no column {partition!r}; it has "
                f"{choices(table.schema.names, 40)}"
            )
        return Sample(
            table, [str(value) for value in table[partition].to_pylist()], frozenset(keys)
        )
    return Sample(table, labels if keys else None, frozenset(keys))


def _read(path: Path, path_columns: pa.RecordBatch | None) -> pa.Table:
    with open_parquet(path) as file:
        schema = file_schema(file, path_columns)
        if twice := {name for name in schema.names if schema.names.count(name) > 1}:
            raise InputError(
                f"{path} has more than one column of the name {choices(twice)}", path=str(path)
            )
        groups = range(file.num_row_groups)
        batches = read_batches(file, path, groups, schema.names, _BATCH, path_columns=path_columns)
        read = [_plain(batch) for batch in batches]
    return pa.Table.from_batches(read) if read else schema.empty_table()


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries, and without what its writer says of it."""
    fields = [(field.name, plain_type(field.type)) for field in batch.schema]
    columns = [plain(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _differences(first: pa.Schema, other: pa.Schema) -> Iterator[str]:
    for field in first:
        at = other.get_field_index(field.name)
        if at < 0:
            yield f"{field.name} is missing"
        elif other.field(at).type != field.type:
            yield f"{field.name} is {other.field(at).type}, not {field.type}"
    added = [name for name in other.names if name not in first.names]
    if added:
        yield f"{choices(added)} is new"
    elif other.names != first.names:
        yield "their order is another"
