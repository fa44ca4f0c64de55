"""Finds the columns that identify a row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

import pyarrow as pa

from nocturne.cli.init.sample import Sample, take
from nocturne.cli.init.table import Table
from nocturne.errors import ConfigError, choices

__all__ = ["find_keys", "is_key"]

_CANDIDATES = 12
_PARTITIONS = 100
"""A guess must hold in this many partitions: in the year of flights, flight number and scheduled
arrival identify a row on all but 31 days."""

_PART = "__partition"


def find_keys(table: Table, sample: Sample, added: Collection[str]) -> list[str]:
    """The columns that most likely identify a row within its partition, three at most.

    They have no nulls and are unique in the sample and in up to 100 partitions. Names such as id,
    order_id or key are tried first, then other columns in the order of the table, where keys often
    come first.

    Args:
        added: columns that scoring adds; they can't be copied from the input.

    Raises:
        ConfigError: no columns identify a row; the user must name them.
    """
    usable = (name for name in _candidates(sample) if name not in {*added, *sample.constants})
    candidates = sorted(usable, key=_rank)[:_CANDIDATES]
    distinct = {name: _groups(sample, [name]) for name in candidates}
    for size in (1, 2, 3):
        for names in combinations(candidates, size):
            max_groups = 1
            for name in names:
                max_groups *= distinct[name]
            may_identify = max_groups >= sample.rows.num_rows
            if (
                may_identify
                and is_key(sample, names)
                and is_key(take(table, _PARTITIONS, names), names)
            ):
                return list(names)
    raise ConfigError(
        f"no set of up to three columns identifies the rows ({sample.words}): each has nulls or "
        f"repeats among {choices(candidates or sample.schema.names, 20)}. Name the key columns "
        "with --key, once for each"
    )


def is_key(sample: Sample, names: Sequence[str]) -> bool:
    """Whether the columns have no nulls, and differ between any two rows of a partition."""
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
            pa.types.is_integer(type_)
            or pa.types.is_string(type_)
            or pa.types.is_temporal(type_)
            or pa.types.is_large_string(type_)
            or pa.types.is_fixed_size_binary(type_)
        )
        if sortable and not sample.rows[field.name].null_count:
            yield field.name


def _rank(name: str) -> int:
    lower = name.lower()
    if lower in ("id", "uuid", "guid", "key", "pk"):
        return 0
    return 1 if lower.endswith(("_id", "_uuid", "_key")) or name.endswith(("Id", "ID")) else 2
