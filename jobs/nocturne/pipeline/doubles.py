"""Doubled keys: found among the hashes that the workers left, and then proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nocturne.columns.normal import normal, restored
from nocturne.columns.values import python_values
from nocturne.errors import InputError
from nocturne.pipeline.runs import scores_of
from nocturne.profile import KEY_BYTES, key_hashes
from nocturne.records.result import SplitResult
from nocturne.store.run import Run

__all__ = ["Doubled", "check_size", "doubled"]

_MOST_BYTES = 2 << 30
"""What comparing the keys of a night may take on the driver."""

_SHOWN = 3

_TRIED = 1 << 20
"""Doubled keys whose rows are looked at: what they take is bounded however many there are."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Doubled:
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


def doubled(run: Run, results: Sequence[SplitResult]) -> Doubled | None:
    """The rows that share their key; None if every key is there once.

    Exact, equal hashes only say where to look; where more than a million keys are doubled, as when
    a feed came twice, only the rows of so many are looked at, and hashes of 64 bits count the rest.

    Raises:
        InputError: they are more than the driver may hold.
    """
    check_size(run.plan.pipeline, sum(result.rows_out for result in results))
    parts = [_hashes(run, result) for result in results]
    together = np.sort(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)
    repeated = together[1:][together[1:] == together[:-1]]
    again = np.unique(repeated)
    if not len(again):
        return None
    tried = again[:_TRIED]
    suspects = [
        _rows(run, result, tried)
        for result, part in zip(results, parts, strict=True)
        if np.isin(tried, part).any()
    ]
    counted = (
        pa.concat_tables(suspects).group_by(list(run.plan.keys)).aggregate([([], "count_all")])
    )
    doubles = counted.filter(pc.greater(counted["count_all"], 1))
    if not doubles.num_rows:
        return None
    whole = len(tried) == len(again)
    rows = pc.sum(doubles["count_all"]).as_py() if whole else len(repeated) + len(again)
    written = pq.read_schema(scores_of(run, results[0]))
    return Doubled(rows, _examples(run, restored(doubles, written)))


def _examples(run: Run, doubles: pa.Table) -> tuple[str, ...]:
    if run.plan.sensitive.issuperset(run.plan.keys):
        return ()
    found = []
    for row in python_values(doubles.sort_by([("count_all", "descending")]).slice(0, _SHOWN)):
        named = (f"{k}={'hidden' if k in run.plan.sensitive else row[k]}" for k in run.plan.keys)
        found.append(f"{', '.join(named)} ({row['count_all']} times)")
    return tuple(found)


def _hashes(run: Run, result: SplitResult) -> Hashes:
    """As the worker left them; of a split that was taken over, made from its file."""
    with suppress(OSError, ValueError, EOFError):  # gone or damaged: made again
        kept = np.load(run.keys_file(scores_of(run, result)), mmap_mode="r")
        if kept.dtype == np.uint64 and kept.shape == (result.rows_out,):
            return np.asarray(kept)
    parts = [key_hashes(batch.columns) for batch in _keys(run, result)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


def _rows(run: Run, result: SplitResult, wanted: Hashes) -> pa.Table:
    """The keys of the split's rows whose hash is among ``wanted``."""
    return pa.Table.from_batches(
        batch.filter(pa.array(np.isin(key_hashes(batch.columns), wanted)))
        for batch in _keys(run, result)
    )


def _keys(run: Run, result: SplitResult) -> Iterator[pa.RecordBatch]:
    """The keys of the split's rows, as they are compared."""
    with pq.ParquetFile(scores_of(run, result)) as source:
        yield from map(normal, source.iter_batches(columns=list(run.plan.keys)))
