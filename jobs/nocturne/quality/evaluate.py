"""Lets Great Expectations evaluate the suites of a night, from counts or from the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.columns.normal import unpacked, unpacked_rows
from nocturne.errors import ConfigError
from nocturne.objects import Location, local
from nocturne.quality import gx
from nocturne.quality.bounds import with_moments
from nocturne.quality.expectation_records import expectation_record
from nocturne.quality.frames import read_frame
from nocturne.quality.reads import NAMES_ONLY, columns
from nocturne.quality.suites import Suite, load_suite
from nocturne.records.quality import Expectation, Measured, QualityResult
from nocturne.stopwatch import Stopwatch

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )

__all__ = ["SuiteRequest", "evaluate"]


@dataclass(frozen=True)
class SuiteRequest:
    """A suite, and the table to evaluate it on.

    Attributes:
        suite: the suite's file.
        schema: if the table was measured, the base64 of its schema's IPC form; else empty.
        measured: the measured values, by the key of the measure.
        files: if the table was not measured, the files to read.
        spark: settings of the session that reads the files; if empty, pandas reads them.
        path_columns: columns from the paths of the files, one row for each file, as
            ``normal.packed_rows`` makes them.
        sensitive: columns whose values must not be shown.
    """

    suite: Path
    schema: str = ""
    measured: dict[str, Measured] = field(default_factory=dict)
    files: tuple[Location, ...] = ()
    sensitive: tuple[str, ...] = ()
    spark: dict[str, str] = field(default_factory=dict)
    path_columns: str = ""


def evaluate(
    suites: Mapping[str, SuiteRequest],
    *,
    watch: Stopwatch | None = None,
) -> QualityResult:
    """Evaluate each suite on its table.

    Args:
        suites: "input" or "output" -> the suite and its table.
        watch: records the seconds of "check".

    Returns:
        One record for each expectation, in the order of the suites. An expectation that can't be
        evaluated has failed, and its record says why.

    Raises:
        ConfigError: a suite is wrong.
        InputError: a file can't be read.
    """
    watch = watch or Stopwatch()
    loaded = {side: (load_suite(request.suite), request) for side, request in suites.items()}
    if not loaded:
        return QualityResult()
    records: list[Expectation] = []
    with gx.quiet(), watch("check"):
        context = gx.context()
        for side, (suite, request) in loaded.items():
            answers = _validate(context, side, suite, request)
            records += _records(side, suite, request.suite, answers)
    return QualityResult(tuple(records))


def _validate(
    context: AbstractDataContext, side: str, suite: Suite, request: SuiteRequest
) -> ExpectationSuiteValidationResult:
    expectations = suite["expectations"]
    if request.schema:
        from nocturne.quality.measured import add_batch

        schema = unpacked(request.schema)
        batch = add_batch(context, side, request.measured, schema.names)
    else:
        by_name = any(e["type"] in NAMES_ONLY for e in expectations)
        names, path_columns = columns(suite), unpacked_rows(request.path_columns)
        if request.spark:
            from nocturne.quality.spark_scan import scan_batch, scan_frame

            rows, schema = scan_frame(
                [*map(local, request.files)],
                names,
                request.spark,
                path_columns,
                all_names=by_name,
            )
            batch = scan_batch(context, side, rows)
        else:
            frame, schema = read_frame(request.files, names, path_columns, all_names=by_name)
            batch = gx.frame_batch(context, side, frame)
    built = gx.build(side, request.suite, [with_moments(e, schema) for e in expectations])
    answered = gx.validate(batch, built)
    gx.hide(answered, frozenset(request.sensitive))
    return answered


def _records(
    side: str, suite: Suite, path: Path, answered: ExpectationSuiteValidationResult
) -> list[Expectation]:
    answers = answered.results
    by_key = {str(r.expectation_config.id): r for r in answers if r.expectation_config}
    expected = {gx.key(i): e for i, e in enumerate(suite["expectations"])}
    if by_key.keys() != expected.keys():
        raise ConfigError(
            f"{path}: Great Expectations answered {len(by_key)} of {len(expected)} expectations; "
            "expected an answer to each. Is version 1.24 installed?"
        )
    return [expectation_record(side, expectation, by_key[k]) for k, expectation in expected.items()]
