"""A sample of a table, and the columns that identify its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.errors import ConfigError, InputError, choices
from nocturne.init.table import Table

__all__ = ["Sample", "distinct_values", "find_keys", "is_key", "take"]

_PARTITIONS = 5
_ROWS = 50_000
_CANDIDATES = 12
_PART = "__partition"


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
        """For comments: "4,210 rows of 2013-01-01 to 2013-12-31"."""
        first, last = self.partitions[0], self.partitions[-1]
        if first == "all":
            return f"{self.rows.num_rows:,} rows of the table"
        days = first if first == last else f"{len(self.partitions)} partitions, {first} to {last}"
        return f"{self.rows.num_rows:,} rows of {days}"


def take(table: Table) -> Sample:
    """Up to 50,000 rows of the newest partition and of four others, evenly spread.

    Others with another schema are left out.

    Raises:
        InputError: a file is no Parquet file, or there is no row.
    """
    count = len(table.partitions)
    wanted = min(_PARTITIONS, count)
    places = {round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)} | {count - 1}
    chosen = [table.partitions[place] for place in sorted(places)]
    parts = {partition.key: _head(table.files(partition)) for partition in chosen}
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


def _head(files: Sequence[Path]) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    schema = None
    left = _ROWS
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                schema = schema or file.schema_arrow
                for batch in file.iter_batches(min(_ROWS, 8192)):
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


def find_keys(sample: Sample, features: Collection[str], made: Collection[str] = ()) -> list[str]:
    """The columns that most likely identify a row within its partition, three at most.

    They hold no null and are unique in every sampled partition. Names such as id, order_id or
    key come first, then columns that are not features of the model.

    Args:
        made: columns that scoring makes, which can't be copied from the input.

    Raises:
        ConfigError: there are none; the user must name them.
    """
    usable = (name for name in _candidates(sample) if name not in made)
    candidates = sorted(usable, key=lambda name: _rank(name, features))[:_CANDIDATES]
    distinct = {name: _groups(sample, [name]) for name in candidates}
    for size in (1, 2, 3):
        for names in combinations(candidates, size):
            most = len(sample.partitions)
            for name in names:
                most *= distinct[name]
            if most >= sample.rows.num_rows and is_key(sample, names):
                return list(names)
    raise ConfigError(
        f"no set of up to three columns identifies the rows ({sample.words}): each has nulls or "
        f"repeats among {choices(candidates or sample.schema.names, 20)}. Name the key columns "
        "with --key, once for each"
    )


def is_key(sample: Sample, names: Sequence[str]) -> bool:
    """Whether the columns have no null and no two rows of a partition in common."""
    if any(sample.rows[name].null_count for name in names):
        return False
    unique: bool = _groups(sample, names) == sample.rows.num_rows
    return unique


def _groups(sample: Sample, names: Sequence[str]) -> int:
    table = sample.rows.select(list(names)).append_column(_PART, sample.partition)
    return int(table.group_by([*names, _PART]).aggregate([]).num_rows)


def _candidates(sample: Sample) -> Iterator[str]:
    for field in sample.schema:
        type_ = field.type
        sortable = (
            pa.types.is_integer(type_) or pa.types.is_string(type_) or pa.types.is_temporal(type_)
            or pa.types.is_large_string(type_) or pa.types.is_fixed_size_binary(type_)
        )  # fmt: skip
        if sortable and not sample.rows[field.name].null_count:
            yield field.name


def _rank(name: str, features: Collection[str]) -> tuple[int, int]:
    lower = name.lower()
    if lower in ("id", "uuid", "guid", "key", "pk"):
        return 0, 0
    if lower.endswith(("_id", "_uuid", "_key")) or name.endswith(("Id", "ID")):
        return 1, 0
    return 2, int(name in features)


def distinct_values(column: pa.ChunkedArray) -> list[str]:
    """The column's values other than null, sorted."""
    return sorted(value for value in pc.unique(column).to_pylist() if value is not None)
