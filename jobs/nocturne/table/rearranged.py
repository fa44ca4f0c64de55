"""Compares the rows of a partition whose files another program wrote anew, as OPTIMIZE does.

Only the order of the rows, and how they are spread over files, may have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.key_hashes import Hashes, key_hashes
from nocturne.columns.normal import normal
from nocturne.columns.row_sum import RowSum, row_sum
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.records.manifest import Manifest
from nocturne.table_formats.protocol import TablePartition

__all__ = ["difference", "other_rows", "rows_with_keys"]

_ANEW = "its files were written anew by another program, and"


def difference(table: TablePartition, manifest: Manifest) -> str:
    """How the rows of the partition differ from those of the manifest's files; "" if they don't.

    Columns are compared that any of the manifest's files has; keys of the partition are left out,
    since they have one value and other programs leave them out of the files.
    """
    present = table.files()
    before = [table.file(file.path) for file in manifest.outputs]
    after = [table.file(name) for name in sorted(present)]
    if missing := [name for name, size in present.items() if size < 0]:
        return f"{len(missing)} of its files are missing ({missing[0]})"
    if gone := [path for path in before if not path.is_file()]:
        return (
            f"{_ANEW} {len(gone)} of those of manifest {manifest.id} are gone (VACUUM, expired?), "
            "so the rows can't be compared"
        )
    try:
        schema = _without_keys(_columns(before), table)
        was, now = (row_sum(map(normal, _rows(paths, schema))) for paths in (before, after))
    except (pa.ArrowException, OSError, KeyError) as error:
        return f"{_ANEW} can't be compared: {error}"
    return _difference(was, now, manifest)


def _difference(was: RowSum, now: RowSum, manifest: Manifest) -> str:
    if was == now:
        return ""
    if was[0] != now[0]:
        return f"{_ANEW} have {now[0]} rows instead of the {was[0]} of manifest {manifest.id}"
    return f"{_ANEW} have other values than those of manifest {manifest.id}"


def other_rows(table: TablePartition, before: Sequence[Location], after: Sequence[Location]) -> str:
    """How the rows of files that replace others in a partition differ; "" if they don't."""
    was, now = (_without_keys(_columns(paths), table) for paths in (before, after))
    if was.names != now.names:
        return f"have the columns {', '.join(now.names)}, expected {', '.join(was.names)}"
    sums = [row_sum(map(normal, _rows(paths, now))) for paths in (before, after)]
    return "" if sums[0] == sums[1] else f"have other rows ({sums[1][0]}, expected {sums[0][0]})"


def rows_with_keys(table: TablePartition, keys: Sequence[str], rows: pa.Table) -> pa.Table:
    """The published rows whose keys are among those of ``rows``, in its order and its types.

    Keys that are there several times give no order: then the rows come as they lie.
    """
    schema = _without_keys(rows.schema, table)
    found = _with_keys(table, [k for k in keys if k in schema.names], rows.select(schema.names))
    for at, field in enumerate(rows.schema if len(rows) else ()):
        if field.name not in schema.names:  # one value in the whole partition
            found = found.add_column(at, field, pa.repeat(rows[field.name][0], len(found)))
    return found


def _with_keys(table: TablePartition, keys: Sequence[str], rows: pa.Table) -> pa.Table:
    paths = [table.file(name) for name in sorted(table.files())]
    order = _hashes(rows, keys)
    found = [
        batch.filter(pa.array(np.isin(_of_batch(batch, keys), order)))
        for batch in _rows(paths, rows.schema)
    ]
    published = pa.Table.from_batches(found, schema=rows.schema)
    if len(published) != len(rows) or len(np.unique(order)) != len(rows):
        return published
    positions = np.empty(len(rows), dtype=np.int64)
    positions[np.argsort(order)] = np.argsort(_hashes(published, keys))
    return published.take(pa.array(positions))


def _hashes(table: pa.Table, keys: Sequence[str]) -> Hashes:
    parts = [_of_batch(batch, keys) for batch in table.to_batches()]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


def _of_batch(batch: pa.RecordBatch, keys: Sequence[str]) -> Hashes:
    return key_hashes([batch.column(key) for key in keys])


def _without_keys(schema: pa.Schema, table: TablePartition) -> pa.Schema:
    """The schema without keys of the partition."""
    names = dict(table.state.partition.keys)
    return pa.schema([field for field in schema if field.name not in names])


def _columns(paths: Iterable[Location]) -> pa.Schema:
    """The columns that any of the files has, each as the first one has it."""
    fields = {
        field.name: field for path in reversed([*paths]) for field in pq.read_schema(native(path))
    }
    return pa.schema(fields.values())


def _rows(paths: Iterable[Location], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows in the columns and types of the schema; a column that a file lacks is null."""
    for path in paths:
        with pq.ParquetFile(native(path)) as file:
            there = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=there):
                columns = [
                    batch.column(field.name).cast(field.type)
                    if field.name in there
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
