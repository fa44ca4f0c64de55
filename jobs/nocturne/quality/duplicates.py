"""Duplicate keys: looked for among the hashes that the workers left, and then proved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.key_hashes import KEY_BYTES, Hashes, key_hashes
from nocturne.columns.normal import normal, restored
from nocturne.columns.values import python_values
from nocturne.errors import InputError

__all__ = ["Duplicates", "ScoredKeys", "check_size", "duplicates"]

_MOST_BYTES = 2 << 30
"""What comparing the keys of a night may take on the driver."""

_SHOWN = 3

_TRIED = 1 << 20
"""Repeated hashes whose rows are looked at: what they take is bounded however many there are."""


@dataclass(frozen=True)
class ScoredKeys:
    """Where the keys of some scores are: in their file, and as the hashes that a worker left."""

    scores: Path
    hashes: Path
    rows: int


@dataclass(frozen=True)
class Duplicates:
    """How many rows have a key that another row has too, and some of the keys.

    No value of a sensitive column is among ``examples``; where all keys are, there are none.
    """

    rows: int
    examples: tuple[str, ...]


def check_size(pipeline: str, rows: int) -> None:
    """Raises: InputError if so many keys are more than the driver may hold."""
    size = rows * KEY_BYTES
    if size > _MOST_BYTES:
        raise InputError(
            f"{pipeline}: quality.unique_keys compares the keys of {rows} rows, which takes "
            f"{size / 2**30:.1f} GiB of the driver's memory; at most {_MOST_BYTES / 2**30:.0f} GiB "
            "are allowed. Partition the table more finely, or drop quality.unique_keys"
        )


def duplicates(
    parts: Sequence[ScoredKeys], keys: Sequence[str], sensitive: Collection[str] = ()
) -> Duplicates | None:
    """The rows that share their key; None if every key is there once.

    It is exact: equal hashes only say where to look. Where more than a million keys are repeated,
    as when a feed came twice, only the rows of so many are looked at, and hashes of 64 bits count
    the rest.

    Args:
        keys: the key columns.
        sensitive: columns whose values are shown nowhere.
    """
    hashes = [_hashes(part, keys) for part in parts]
    together = np.sort(np.concatenate(hashes)) if hashes else np.zeros(0, dtype=np.uint64)
    repeated = together[1:][together[1:] == together[:-1]]
    again = np.unique(repeated)
    if not len(again):
        return None
    tried = again[:_TRIED]
    suspects = [
        _rows(part, keys, tried)
        for part, own in zip(parts, hashes, strict=True)
        if np.isin(tried, own).any()
    ]
    counted = pa.concat_tables(suspects).group_by(list(keys)).aggregate([([], "count_all")])
    proved = counted.filter(pc.greater(counted["count_all"], 1))
    if not proved.num_rows:
        return None
    whole = len(tried) == len(again)
    rows = pc.sum(proved["count_all"]).as_py() if whole else len(repeated) + len(again)
    written = pq.read_schema(parts[0].scores)
    return Duplicates(rows, _examples(restored(proved, written), keys, sensitive))


def _examples(proved: pa.Table, keys: Sequence[str], sensitive: Collection[str]) -> tuple[str, ...]:
    if set(sensitive).issuperset(keys):
        return ()
    examples = []
    for row in python_values(proved.sort_by([("count_all", "descending")]).slice(0, _SHOWN)):
        named = (f"{k}={'hidden' if k in sensitive else row[k]}" for k in keys)
        examples.append(f"{', '.join(named)} ({row['count_all']} times)")
    return tuple(examples)


def _hashes(part: ScoredKeys, keys: Sequence[str]) -> Hashes:
    """As the worker left them; of a split that was taken over, made from its file."""
    with suppress(OSError, ValueError, EOFError):  # gone or damaged: made again
        kept = np.load(part.hashes, mmap_mode="r")
        if kept.dtype == np.uint64 and kept.shape == (part.rows,):
            return np.asarray(kept)
    made = [key_hashes(batch.columns) for batch in _keys(part, keys)]
    return np.concatenate(made) if made else np.zeros(0, dtype=np.uint64)


def _rows(part: ScoredKeys, keys: Sequence[str], hashes: Hashes) -> pa.Table:
    """The keys of the rows whose hash is among ``hashes``."""
    return pa.Table.from_batches(
        batch.filter(pa.array(np.isin(key_hashes(batch.columns), hashes)))
        for batch in _keys(part, keys)
    )


def _keys(part: ScoredKeys, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The keys of the scores, as they are compared."""
    with pq.ParquetFile(part.scores) as source:
        yield from map(normal, source.iter_batches(columns=list(keys)))
