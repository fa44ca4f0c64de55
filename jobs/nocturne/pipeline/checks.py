"""The quality checks of a range of nights, made in another process and in advance."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from nocturne import profile, quality
from nocturne.columns.normal import normal_schema, packed_rows, unpacked, with_types
from nocturne.config import Loaded, Pipeline
from nocturne.errors import NocturneError
from nocturne.objects import Location
from nocturne.pipeline.runs import as_planned, scored_files
from nocturne.records.plan import TABLE_MARK
from nocturne.records.quality import Measure, Measured, QualityResult
from nocturne.records.result import SplitResult
from nocturne.source.path_columns import of_plan
from nocturne.source.reading import file_schema, open_parquet, read_batches
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run

__all__ = ["Checks", "check"]

_AHEAD = 4
"""The most nights that are checked in advance, since their requests wait in memory."""


def check(run: Run, loaded: Loaded, watch: Stopwatch) -> QualityResult:
    """Evaluate the run's suites on its input and its scores.

    Raises:
        ConfigError: a suite is wrong.
    """
    return quality.evaluate(_suites(run, loaded), watch=watch)


class Checks:
    """``check`` in a process of its own, which starts before there is anything to check.

    Importing Great Expectations takes it seconds.

    If that process dies, this process evaluates the suites.
    """

    def __init__(self) -> None:
        self._upcoming: deque[Run] = deque()
        self._pending: deque[Run] = deque()
        self._helper: quality.Helper | None = None

    def start(self, pipeline: Pipeline) -> Checks:
        """Start the process if the pipeline has suites, and return at once."""
        suites = pipeline.quality.input_suite or pipeline.quality.output_suite
        if suites and self._helper is None:
            with suppress(OSError):
                self._helper = quality.Helper()
        return self

    def expect(self, runs: Sequence[Run]) -> Checks:
        """These runs will be scored and then checked, in this order."""
        self._upcoming.extend(runs)
        return self

    def instead(self, run: Run, other: Run) -> None:
        """The other will be scored and checked in the place of this run."""
        self._upcoming = deque(other if known is run else known for known in self._upcoming)

    def __call__(self, run: Run, loaded: Loaded, watch: Stopwatch) -> QualityResult:
        """The check of ``run``. It also requests the checks of the next runs that are scored."""
        self._drop_before(run)
        try:
            while self._helper and self._upcoming and len(self._pending) < _AHEAD:
                if not self._upcoming[0].is_scored:
                    break
                upcoming = self._upcoming.popleft()
                with suppress(NocturneError):  # raised again when its turn comes
                    self._helper.ask(_suites(upcoming, as_planned(upcoming)))
                    self._pending.append(upcoming)
            if self._helper and self._pending and self._pending[0] is run:
                self._pending.popleft()
                result, seconds = self._helper.answer()
                for name, value in seconds.items():
                    watch.add(name, value)
                return result
        except OSError:
            self.close()
        return check(run, loaded, watch)

    def _drop_before(self, run: Run) -> None:
        """Drop the nights before ``run``, which failed and so were not judged."""
        while self._pending and self._pending[0] is not run:
            self._pending.popleft()
            if self._helper:
                with suppress(Exception):
                    self._helper.answer()
        while not self._pending and self._upcoming and self._upcoming[0] is not run:
            self._upcoming.popleft()

    def close(self) -> None:
        """End the process."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()


def _suites(run: Run, loaded: Loaded) -> dict[str, quality.SuiteRequest]:
    """The suites of a scored run: "input" or "output" -> what is asked."""
    config = loaded.pipeline.quality
    results = run.results()
    suites = {"input": config.input_suite, "output": config.output_suite}
    return {
        side: _suite_request(run, loaded.pipeline, results, side, loaded.suite(name))
        for side, name in suites.items()
        if name
    }


def _suite_request(
    run: Run, pipeline: Pipeline, results: Sequence[SplitResult], side: str, suite: Path
) -> quality.SuiteRequest:
    hidden = tuple(sorted(run.plan.sensitive))
    if side not in run.plan.tables:
        inputs = [f.path for f in run.plan.files if TABLE_MARK not in f.path]
        path_columns, files = None, tuple[Location, ...]()
        if side == "input":
            path_columns = of_plan(run.plan, inputs)
            files = tuple(map(run.plan.input_file, inputs))
        else:
            files = tuple(path for path, _ in scored_files(run, results))
        by_spark = pipeline.quality.scan == "spark"
        spark = pipeline.spark_conf | {"spark.master": pipeline.spark.master} if by_spark else {}
        return quality.SuiteRequest(
            suite,
            files=files,
            sensitive=hidden,
            spark=spark,
            path_columns=packed_rows(path_columns),
        )
    stored = run.plan.tables[side].schema
    schema = unpacked(stored)
    quality.check_columns(suite, schema.names)
    measures = quality.measures_of(suite, schema)
    measured = _measured_input if side == "input" else _measured_scores
    return quality.SuiteRequest(suite, stored, measured(run, results, measures), sensitive=hidden)


def _measured_input(
    run: Run, results: Sequence[SplitResult], measures: Sequence[Measure]
) -> dict[str, Measured]:
    """The measured values of the input. What was not measured while scoring is counted now."""

    def of_split(result: SplitResult) -> dict[str, Measured]:
        measured = result.measured.get("input", {})
        missing = [measure for measure in measures if measure.key not in measured]
        if not missing:
            return measured
        split = run.plan.splits[result.index]
        path, path_columns = run.plan.input_file(split.file), of_plan(run.plan, [split.file])
        return measured | _counted(run, path, missing, split.row_groups, path_columns)

    return profile.merge_measured([of_split(result) for result in results])


def _measured_scores(
    run: Run, results: Sequence[SplitResult], measures: Sequence[Measure]
) -> dict[str, Measured]:
    """As ``_measured_input``, of the scores, whose files may not be those of the splits."""
    parts = [result.measured.get("output", {}) for result in results]
    missing = [m for m in measures if any(m.key not in part for part in parts)]
    measured = profile.merge_measured(parts)
    if missing:
        files = [path for path, _ in scored_files(run, results)]
        measured |= profile.merge_measured([_counted(run, path, missing) for path in files])
    return measured


def _counted(
    run: Run,
    path: Location,
    measures: Sequence[Measure],
    groups: tuple[int, ...] | None = None,
    path_columns: pa.RecordBatch | None = None,
) -> dict[str, Measured]:
    """The values of measures, counted in a file or in some of its row groups."""
    source, types = open_parquet(path, checksums=run.plan.checksums), unpacked(run.plan.types)
    groups = groups if groups is not None else tuple(range(source.num_row_groups))
    columns = sorted({name for measure in measures for name in measure.reads()})
    measurer = profile.Measurer(measures)
    schema = normal_schema(with_types(file_schema(source, path_columns), types))
    measurer.update(pa.RecordBatch.from_pylist([], schema=schema))
    for batch in read_batches(
        source, path, groups, columns, run.plan.pinned.batch_rows, types, path_columns
    ):
        measurer.update(batch)
    return measurer.result()
