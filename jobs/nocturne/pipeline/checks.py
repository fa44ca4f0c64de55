"""The quality checks of a range, made beside the driver and some nights ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne import profile, quality
from nocturne.columns.normal import normal_schema, packed_rows, unpacked, with_types
from nocturne.config import Loaded, Pipeline
from nocturne.errors import NocturneError
from nocturne.pipeline.runs import as_planned, scores_of
from nocturne.records.plan import TABLE_MARK
from nocturne.records.quality import Measure, Measured, QualityResult
from nocturne.records.result import SplitResult
from nocturne.source.path_columns import of_plan
from nocturne.source.reading import file_schema, open_parquet, read_batches
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run

__all__ = ["Checks", "check", "question"]

_AHEAD = 4
"""Nights that are checked before their turn; bounded, as their questions wait in memory."""


def check(run: Run, loaded: Loaded, watch: Stopwatch) -> QualityResult:
    """What the run's suites say of its input and its scores, with Data Docs.

    Raises:
        ConfigError: a suite is wrong.
    """
    wanted = question(run, loaded)
    return quality.evaluate(**wanted, watch=watch) if wanted["suites"] else QualityResult()


class Checks:
    """``check`` in a process of its own, started before there is anything to check.

    If that process dies, this one does the work.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._coming = deque(runs)
        self._asked: deque[Run] = deque()
        self._helper: quality.Helper | None = None
        config = as_planned(runs[0]).pipeline.quality
        if config.input_suite or config.output_suite:
            with suppress(OSError):
                self._helper = quality.Helper()

    def __call__(self, run: Run, loaded: Loaded, watch: Stopwatch) -> QualityResult:
        """The check of ``run``. Asks the process for the next runs that are scored already."""
        self._drop_before(run)
        try:
            while self._helper and self._coming and len(self._asked) < _AHEAD:
                if not self._coming[0].is_scored:
                    break
                coming = self._coming.popleft()
                with suppress(NocturneError):  # raised again when its turn comes
                    self._helper.ask(**question(coming, as_planned(coming)))
                    self._asked.append(coming)
            if self._helper and self._asked and self._asked[0] is run:
                self._asked.popleft()
                result, seconds = self._helper.answer()
                for name, value in seconds.items():
                    watch.add(name, value)
                return result
        except OSError:
            self.close()
        return check(run, loaded, watch)

    def _drop_before(self, run: Run) -> None:
        """Nights that were not judged, since they failed before, are not waited for."""
        while self._asked and self._asked[0] is not run:
            self._asked.popleft()
            if self._helper:
                with suppress(Exception):
                    self._helper.answer()
        while not self._asked and self._coming and self._coming[0] is not run:
            self._coming.popleft()

    def close(self) -> None:
        """End the process."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()


def question(run: Run, loaded: Loaded) -> dict[str, Any]:
    """The arguments of ``quality.evaluate`` for a scored run."""
    config = loaded.pipeline.quality
    results = run.results()
    named = {"input": config.input_suite, "output": config.output_suite}
    return {
        "suites": {
            side: _asked(run, loaded.pipeline, results, side, loaded.suite(name))
            for side, name in named.items()
            if name
        },
        "docs_dir": run.data_docs,
        "title": f"{run.plan.pipeline} {run.plan.partition.key}",
    }


def _asked(
    run: Run, pipeline: Pipeline, results: Sequence[SplitResult], side: str, suite: Path
) -> quality.SuiteRequest:
    hidden = tuple(sorted(run.plan.sensitive))
    if side not in run.plan.tables:
        inputs = [f.path for f in run.plan.files if TABLE_MARK not in f.path]
        outputs = [scores_of(run, result) for result in results]
        given = of_plan(run.plan, inputs) if side == "input" else None
        files = tuple(map(run.plan.input_file, inputs) if side == "input" else outputs)
        by_spark = pipeline.quality.scan == "spark"
        spark = pipeline.spark_conf | {"spark.master": pipeline.spark.master} if by_spark else {}
        return quality.SuiteRequest(
            suite, files=files, sensitive=hidden, spark=spark, path_columns=packed_rows(given)
        )
    stored = run.plan.tables[side].schema
    schema = unpacked(stored)
    quality.check_columns(suite, schema.names)
    measures = quality.measures_of(suite, schema)
    parts = [_counted(run, result, side, measures) for result in results]
    return quality.SuiteRequest(suite, stored, profile.merge_measured(parts), sensitive=hidden)


def _counted(
    run: Run, result: SplitResult, side: str, measures: Sequence[Measure]
) -> dict[str, Measured]:
    """The measures of a split's rows. What the suite asks for only now is counted now."""
    known = result.measured.get(side, {})
    lacking = [measure for measure in measures if measure.key not in known]
    if not lacking:
        return known
    path, groups, given = scores_of(run, result), None, None
    if side == "input":
        split = run.plan.splits[result.index]
        path, groups = run.plan.input_file(split.file), split.row_groups
        given = of_plan(run.plan, [split.file])
    source, types = open_parquet(path, checksums=run.plan.checksums), unpacked(run.plan.types)
    groups = groups if groups is not None else tuple(range(source.num_row_groups))
    columns = sorted({name for measure in lacking for name in measure.reads()})
    measurer = profile.Measurer(lacking)
    schema = normal_schema(with_types(file_schema(source, given), types))
    measurer.update(pa.RecordBatch.from_pylist([], schema=schema))
    for batch in read_batches(
        source, path, groups, columns, run.plan.pinned.batch_rows, types, given
    ):
        measurer.update(batch)
    return known | measurer.result()
