"""Samples a table: rows of its newest partition and of others, evenly spread."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.cli.init.table import Table
from nocturne.columns.normal import plain, plain_type
from nocturne.errors import InputError, choices
from nocturne.records.partition import Partition
from nocturne.source.path_columns import columns_of_paths, keys_of, not_in_files, of_file
from nocturne.source.reading import file_schema, open_parquet, read_batches, read_schema

__all__ = ["Sample", "distinct_values", "path_columns_of", "take"]

_ROWS = 50_000
"""The most rows of a partition."""
_BATCH = 8192


@dataclass(frozen=True)
class Sample:
    """Rows of several partitions, each row with the number of its partition.

    ``constants``: columns with one value in each partition, since they are keys of its folder.
    """

    rows: pa.Table
    partition: pa.Array
    partitions: tuple[str, ...]
    constants: frozenset[str] = frozenset()

    @property
    def schema(self) -> pa.Schema:
        return self.rows.schema

    @property
    def words(self) -> str:
        """The size for comments: "4,210 rows of 5 partitions, 2013-01-01 to 2013-12-31"."""
        first, last = self.partitions[0], self.partitions[-1]
        if first == "all":
            return f"{self.rows.num_rows:,} rows of the table"
        days = first if first == last else f"{len(self.partitions)} partitions, {first} to {last}"
        return f"{self.rows.num_rows:,} rows of {days}"


def take(table: Table, partitions: int = 5, columns: Collection[str] | None = None) -> Sample:
    """Rows of the newest partition and of others; partitions with another schema are left out.

    Args:
        partitions: the number of partitions.
        columns: read only these; None reads all.

    Raises:
        InputError: a file is not a Parquet file, or there is no row.
    """
    available = len(table.partitions)
    count = min(partitions, available)
    positions = {round(i * (available - 1) / max(count - 1, 1)) for i in range(count)} | {
        available - 1
    }
    chosen = [table.partitions[position] for position in sorted(positions)]
    parts = {partition.key: _head(table, partition, columns) for partition in chosen}
    schema = parts[chosen[-1].key].schema  # the newest partition has the current schema
    parts = {key: part for key, part in parts.items() if part.schema == schema and len(part)}
    if not parts:
        raise InputError(
            f"{table.path} has no row in {choices(p.key for p in chosen)}; expected data to learn "
            "the columns from",
            path=str(table.path),
        )
    numbers = [number for number, part in enumerate(parts.values()) for _ in range(len(part))]
    rows = pa.concat_tables(parts.values())
    from_paths = path_columns_of(table, chosen[-1], columns)
    constants = frozenset(table.key_formats).intersection(
        from_paths.schema.names if from_paths else ()
    )
    return Sample(rows, pa.array(numbers, pa.int8()), tuple(parts), constants)


def path_columns_of(
    table: Table, partition: Partition, columns: Collection[str] | None = None
) -> pa.RecordBatch | None:
    """The keys of the files' paths among ``columns``, one row for each file."""
    files = table.files(partition)
    folder = table.path / partition.path
    below = [path.relative_to(folder).as_posix() for path in files]
    keys = [key for key in keys_of(partition, below) if columns is None or key in columns]
    keys = [key for key in keys if keys.count(key) == 1]
    if keys:
        keys = not_in_files(keys, (name for path in files for name in read_schema(path).names))
    return columns_of_paths(partition, table.key_formats, below, keys)


def _head(table: Table, partition: Partition, columns: Collection[str] | None) -> pa.Table:
    """The first rows of the files that have the same types as the first file with rows."""
    files = table.files(partition)
    all_path_columns = path_columns_of(table, partition, columns)
    batches: list[pa.RecordBatch] = []
    schema: pa.Schema | None = None
    remaining = _ROWS
    for number, path in enumerate(files):
        path_columns = of_file(all_path_columns, number)
        with open_parquet(path) as file:
            names_in_file = file_schema(file, path_columns).names
            _check_names(path, names_in_file)
            names = [n for n in names_in_file if columns is None or n in columns]
            groups = range(file.num_row_groups)
            for batch in read_batches(file, path, groups, names, _BATCH, path_columns=path_columns):
                batch = _plain(batch)
                schema = schema or batch.schema
                if remaining <= 0 or batch.schema != schema:
                    break
                batches.append(batch.slice(0, remaining))
                remaining -= batch.num_rows
    return pa.Table.from_batches(batches, schema or pa.schema([]))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries and without metadata of its writer."""
    schema = pa.schema([pa.field(f.name, plain_type(f.type)) for f in batch.schema])
    columns = [plain(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _check_names(path: Path, names: Sequence[str]) -> None:
    duplicates = {name for name in names if names.count(name) > 1}
    if duplicates:
        raise InputError(
            f"{path} has more than one column of the name {choices(duplicates)}; expected each "
            "once. Have it written with different names",
            path=str(path),
        )


def distinct_values(column: pa.ChunkedArray) -> list[str]:
    """The column's values other than null, sorted."""
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)
