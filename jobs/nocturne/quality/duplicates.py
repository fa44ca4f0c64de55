"""Finds duplicate keys: first among the hashes that the workers wrote, then among the keys."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.key_hashes import KEY_BYTES, Hashes, key_hashes
from nocturne.columns.normal import normal, restored
from nocturne.columns.values import python_values
from nocturne.errors import InputError
from nocturne.objects import Location, ObjectPath
from nocturne.objects.reading import native

__all__ = ["Duplicates", "ScoredKeys", "check_size", "duplicates"]

_MOST_BYTES = 2 << 30
"""The most memory of the driver that comparing the keys of a night may use."""

_SHOWN = 3

_COMPARED = 1 << 20
"""The most repeated hashes whose rows are compared, so that memory is bounded."""


@dataclass(frozen=True)
class ScoredKeys:
    """The files with the keys of some scores, and with the hashes of the keys by a worker."""

    scores: Location
    hashes: Location
    rows: int


@dataclass(frozen=True)
class Duplicates:
    """The number of rows that share their key with another row, and examples of such keys.

    ``examples`` hides values of sensitive columns; if all key columns are sensitive, it is empty.
    """

    rows: int
    examples: tuple[str, ...]


def check_size(pipeline: str, rows: int) -> None:
    """Raises: InputError if so many keys need more memory than the driver may use."""
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
    """The rows that share their key; None if no key is repeated.

    The result is exact: the keys of rows with equal hashes are compared. If more than a million
    keys are repeated, for example since a feed came twice, only a million are compared, and for the
    others the hashes of 64 bits are counted.

    Args:
        keys: the key columns.
        sensitive: columns whose values must not be shown.
    """
    hashes = [_hashes(part, keys) for part in parts]
    together = np.sort(np.concatenate(hashes)) if hashes else np.zeros(0, dtype=np.uint64)
    repeated = together[1:][together[1:] == together[:-1]]
    distinct = np.unique(repeated)
    if not len(distinct):
        return None
    compared = distinct[:_COMPARED]
    suspects = [
        _rows(part, keys, compared)
        for part, own in zip(parts, hashes, strict=True)
        if np.isin(compared, own).any()
    ]
    counted = pa.concat_tables(suspects).group_by(list(keys)).aggregate([([], "count_all")])
    proved = counted.filter(pc.greater(counted["count_all"], 1))
    if not proved.num_rows:
        return None
    is_complete = len(compared) == len(distinct)
    rows = pc.sum(proved["count_all"]).as_py() if is_complete else len(repeated) + len(distinct)
    written = pq.read_schema(native(parts[0].scores))
    return Duplicates(rows, _examples(restored(proved, written), keys, sensitive))


def _examples(proved: pa.Table, keys: Sequence[str], sensitive: Collection[str]) -> tuple[str, ...]:
    if set(sensitive).issuperset(keys):
        return ()
    examples = []
    for row in python_values(proved.sort_by([("count_all", "descending")]).slice(0, _SHOWN)):
        values = (f"{k}={'hidden' if k in sensitive else row[k]}" for k in keys)
        examples.append(f"{', '.join(values)} ({row['count_all']} times)")
    return tuple(examples)


def _hashes(part: ScoredKeys, keys: Sequence[str]) -> Hashes:
    """The hashes that the worker wrote; if there are none, they are computed from the scores."""
    with suppress(OSError, ValueError, EOFError):  # gone or damaged: computed again
        kept = _stored(part.hashes)
        if kept.dtype == np.uint64 and kept.shape == (part.rows,):
            return np.asarray(kept)
    made = [key_hashes(batch.columns) for batch in _keys(part, keys)]
    return np.concatenate(made) if made else np.zeros(0, dtype=np.uint64)


def _stored(path: Location) -> Hashes:
    if isinstance(path, ObjectPath):
        return np.load(io.BytesIO(path.read_bytes()))  # type: ignore[no-any-return]
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _rows(part: ScoredKeys, keys: Sequence[str], hashes: Hashes) -> pa.Table:
    """The keys of the rows whose hash is among ``hashes``."""
    return pa.Table.from_batches(
        batch.filter(pa.array(np.isin(key_hashes(batch.columns), hashes)))
        for batch in _keys(part, keys)
    )


def _keys(part: ScoredKeys, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The keys of the scores, in the form in which they are compared."""
    with pq.ParquetFile(native(part.scores)) as source:
        yield from map(normal, source.iter_batches(columns=list(keys)))
