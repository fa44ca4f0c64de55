"""The Spark job: each task scores some splits; no data rows go through the JVM.

It uses an RDD of split numbers and not a DataFrame: planning the first query of a session and
generating its code takes seconds, which is too long for a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nocturne.errors import NocturneError
from nocturne.records.plan import Split
from nocturne.spark.query import score_query
from nocturne.spark.session import gpu_share
from nocturne.spark.work import device_slot, spark_errors
from nocturne.store.run import Run
from nocturne.worker.progress import Progress, Watch, count, pending
from nocturne.worker.tasks import Failure, Item, as_error, score_items

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

__all__ = ["score_runs", "shares"]


def score_runs(
    spark: SparkContext, runs: Sequence[Run], progress: Progress | None = None
) -> dict[str, NocturneError]:
    """Score every split of the runs that has no result yet, in a single job.

    Returns:
        run directory -> error, for the runs that can't be scored; the others are complete.

    Raises:
        RetryableError: Spark itself failed (for example, it lost a worker). Splits that were
            scored stay and are not scored again.
    """
    todo = pending(runs)
    failures: dict[str, NocturneError] = {}
    share = gpu_share(spark)
    for run in runs:
        if run.plan.is_whole and not run.is_scored:
            try:
                score_query(_session(), run, share)
            except NocturneError as error:
                failures[run.uri] = error
    if todo:
        tasks = shares(todo, spark.defaultParallelism)
        with Watch(runs, progress):
            failed = _collect(spark, tasks, share)
        for run_dir, error_type, message in failed:
            failures.setdefault(run_dir, as_error(error_type, message))
    if progress:
        progress(*count(runs))
    return failures


def shares(todo: Sequence[tuple[Run, Split]], cores: int) -> list[list[Item]]:
    """Guided self-scheduling (Polychronopoulos and Kuck, 1987), biggest splits first.

    Each task takes half of a core's share of the remaining rows. So the first tasks are few and
    long, which costs Spark little; the last are short, so that all cores end at the same time.
    """
    remaining = sum(split.rows for _, split in todo)
    tasks: list[list[Item]] = []
    room = 0.0
    for run, split in sorted(todo, key=lambda item: -item[1].rows):
        if room < split.rows / 2:
            tasks.append([])
            room = remaining / (2 * cores)
        tasks[-1].append((run.uri, split.index))
        room -= split.rows
        remaining -= split.rows
    return tasks


def _session() -> SparkSession:
    """A session on the running context; it is created when it is first needed."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def _collect(spark: SparkContext, tasks: list[list[Item]], share: float) -> list[Failure]:
    advice = "What was scored stays; run the same command again to go on from there"
    with spark_errors("score the splits", advice):
        spark.setJobDescription(f"score {sum(map(len, tasks))} splits")
        work = partial(_work, share)
        failed: list[Failure] = spark.parallelize(tasks, len(tasks)).mapPartitions(work).collect()
    return failed


def _work(share: float, tasks: Iterable[list[Item]]) -> Iterator[Failure]:
    """Runs in a Python worker: scores the splits of its tasks, and yields the failures."""
    for items in tasks:
        yield from score_items(items, partial(device_slot, share=share))
