"""A sample of a table: rows of its newest partition and of others, evenly spread."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.errors import InputError, choices
from nocturne.init.table import Table

__all__ = ["Sample", "distinct_values", "take"]

_ROWS = 50_000
"""At most so many of a partition."""


@dataclass(frozen=True)
class Sample:
    """Rows of several partitions, each row with the number of its partition."""

    rows: pa.Table
    partition: pa.Array
    partitions: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        return self.rows.schema

    @property
    def words(self) -> str:
        """For comments: "4,210 rows of 5 partitions, 2013-01-01 to 2013-12-31"."""
        first, last = self.partitions[0], self.partitions[-1]
        if first == "all":
            return f"{self.rows.num_rows:,} rows of the table"
        days = first if first == last else f"{len(self.partitions)} partitions, {first} to {last}"
        return f"{self.rows.num_rows:,} rows of {days}"


def take(table: Table, partitions: int = 5, columns: Collection[str] | None = None) -> Sample:
    """Rows of the newest partition and of others; those with another schema are left out.

    Args:
        partitions: how many.
        columns: read only these; None reads all.

    Raises:
        InputError: a file is no Parquet file, or there is no row.
    """
    count = len(table.partitions)
    wanted = min(partitions, count)
    places = {round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)} | {count - 1}
    chosen = [table.partitions[place] for place in sorted(places)]
    parts = {partition.key: _head(table.files(partition), columns) for partition in chosen}
    schema = parts[chosen[-1].key].schema  # the newest says how the table looks now
    parts = {key: part for key, part in parts.items() if part.schema == schema and len(part)}
    if not parts:
        raise InputError(
            f"{table.path} has no row in {choices(p.key for p in chosen)}; expected data to learn "
            "the columns from",
            path=str(table.path),
        )
    numbers = [number for number, part in enumerate(parts.values()) for _ in range(len(part))]
    return Sample(pa.concat_tables(parts.values()), pa.array(numbers, pa.int8()), tuple(parts))


def _head(files: Sequence[Path], columns: Collection[str] | None) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    schema = None
    left = _ROWS
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                names = [n for n in file.schema_arrow.names if columns is None or n in columns]
                schema = schema or pa.schema([file.schema_arrow.field(name) for name in names])
                for batch in file.iter_batches(8192, columns=names):
                    if left <= 0 or batch.schema != schema:
                        break
                    batches.append(batch.slice(0, left))
                    left -= batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path} is not a readable Parquet file: {error}. Expected Parquet files only; "
                "CSV and JSON can be converted with pyarrow or pandas",
                path=str(path),
            ) from None
    return pa.Table.from_batches(batches, schema)


def distinct_values(column: pa.ChunkedArray) -> list[str]:
    """The column's values other than null, sorted."""
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)
