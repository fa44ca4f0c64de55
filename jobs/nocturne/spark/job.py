"""The Spark job: one row a split, no data rows in the JVM."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from nocturne.errors import NocturneError, RetryableError
from nocturne.records import Run, Split
from nocturne.rundir import progress_path, result_path, scored_path
from nocturne.spark.query import score_query
from nocturne.spark.session import cause_of, gpu_share
from nocturne.spark.work import guarded, open_run, place, raised

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Progress", "score_runs"]

Progress = Callable[[int, int], None]
"""Called every second or so with (rows done, rows in all)."""

Item = tuple[str, int]
_SCHEMA = "run_dir string, split int, rows long, error string, message string"
_SMALL_TASK_ROWS = 200_000


def score_runs(
    spark: SparkSession, runs: Sequence[Run], progress: Progress | None = None
) -> dict[str, NocturneError]:
    """Score every split of the runs that has no result yet, all in one job.

    Returns:
        run directory -> error, for the runs that can't be scored; the others are complete.

    Raises:
        RetryableError: Spark itself failed (a worker was lost, memory); what was scored
            stays and is not scored again.
    """
    pending = [(run, split) for run in runs if run.query is None for split in run.splits
               if not result_path(run, split).exists()]  # fmt: skip
    failures: dict[str, NocturneError] = {}
    share = gpu_share(spark)
    for run in runs:
        if run.query is not None and not scored_path(run).exists():
            try:
                score_query(spark, run, share)
            except NocturneError as error:
                failures[run.run_dir] = error
    if pending:
        tasks = _tasks(pending, spark.sparkContext.defaultParallelism)
        with _Watch(runs, progress):
            rows = _collect(spark, tasks, share)
        for row in rows:
            if row["error"]:
                failures.setdefault(row["run_dir"], raised(row["error"], row["message"]))
    if progress:
        progress(*_count(runs))
    return failures


def _tasks(pending: Sequence[tuple[Run, Split]], cores: int) -> list[list[Item]]:
    """Big splits alone, small ones together, but never fewer tasks than cores."""
    total = sum(split.rows for _, split in pending)
    size = max(1, min(_SMALL_TASK_ROWS, total // max(1, cores)))
    tasks: list[list[Item]] = []
    filled = size
    for run, split in sorted(pending, key=lambda item: -item[1].rows):
        if filled >= size:
            tasks.append([])
            filled = 0
        tasks[-1].append((run.run_dir, split.index))
        filled += split.rows
    return tasks


def _collect(spark: SparkSession, tasks: list[list[Item]], share: float) -> list[dict[str, str]]:
    numbers = spark.range(0, len(tasks), 1, len(tasks))
    try:
        rows = numbers.mapInArrow(partial(_work, tasks, share), _SCHEMA).collect()
    except Exception as error:
        raise RetryableError(
            f"Spark could not score the splits: {cause_of(error)}. What was scored stays; run the "
            "same command again to go on from there"
        ) from error
    return [row.asDict() for row in rows]


def _work(
    tasks: list[list[Item]], share: float, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the splits of each task number that comes."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            for run_dir, index in tasks[number]:
                rows, error, message = guarded(
                    partial(_score, run_dir, index, share), f"split {index}"
                )
                yield pa.RecordBatch.from_arrays(
                    [[run_dir], pa.array([index], pa.int32()), [rows or 0],
                     pa.array([error], pa.string()), pa.array([message], pa.string())],
                    names=["run_dir", "split", "rows", "error", "message"],
                )  # fmt: skip


def _score(run_dir: str, index: int, share: float) -> int:
    from nocturne.split import run_split

    run = open_run(run_dir)
    return run_split(run, run.splits[index], place(run, share)).rows_in


def _count(runs: Sequence[Run]) -> tuple[int, int]:
    done = 0
    for run in runs:
        for split in run.splits:
            if result_path(run, split).exists():
                done += split.rows
            else:
                with contextlib.suppress(FileNotFoundError, ValueError):
                    done += int(progress_path(run, split).read_text() or 0)
    return done, sum(run.rows for run in runs)


class _Watch:
    """Reports progress from a thread of its own while the job runs."""

    def __init__(self, runs: Sequence[Run], progress: Progress | None) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, args=(runs, progress), daemon=True)

    def _loop(self, runs: Sequence[Run], progress: Progress | None) -> None:
        while progress and not self._stop.wait(1):
            progress(*_count(runs))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
