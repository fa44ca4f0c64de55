"""Has Great Expectations evaluate the suites of a night, on what was counted or on the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.columns.normal import unpacked, unpacked_rows
from nocturne.errors import ConfigError
from nocturne.quality import docs, gx, words
from nocturne.quality.bounds import with_moments
from nocturne.quality.frames import read_frame
from nocturne.quality.reads import NAMES_ONLY, columns
from nocturne.quality.suites import Suite, load_suite
from nocturne.records import Expectation, Measured, QualityResult
from nocturne.stopwatch import Stopwatch

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )

__all__ = ["Asked", "evaluate"]


@dataclass(frozen=True)
class Asked:
    """A suite, and the table that it is about.

    Attributes:
        suite: the suite's file.
        schema: the table's, as base64 of its IPC form, if it was measured; else empty.
        measured: the answers, by the measure's key.
        files: of a table that was not measured; they are read.
        spark: settings of the session that reads them; without them pandas does.
        given: columns of the files' paths, a row a file, as ``normal.packed_rows`` has it.
        sensitive: columns whose values are not shown.
    """

    suite: Path
    schema: str = ""
    measured: dict[str, Measured] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    sensitive: tuple[str, ...] = ()
    spark: dict[str, str] = field(default_factory=dict)
    given: str = ""


def evaluate(
    suites: Mapping[str, Asked],
    *,
    docs_dir: Path | None,
    title: str,
    watch: Stopwatch | None = None,
) -> QualityResult:
    """The answers of each suite about its table, and Data Docs of them.

    Args:
        suites: "input" or "output" -> the suite and its table.
        docs_dir: where Data Docs are written, replacing what is there; None for none.
        title: names the run in Data Docs, e.g. "flight_delay 2013-04-01".
        watch: is told the seconds of "check" and of "docs".

    Returns:
        One record an expectation, in the order of the suites. An expectation that can't be
        evaluated has failed, and says why.

    Raises:
        ConfigError: a suite is wrong.
        InputError: a file can't be read.
    """
    watch = watch or Stopwatch()
    loaded = {side: (load_suite(asked.suite), asked) for side, asked in suites.items()}
    if not loaded:
        return QualityResult()
    records: list[Expectation] = []
    answers: list[docs.Answered] = []
    made_in = docs.scratch(docs_dir) if docs_dir else None
    with gx.quiet():
        with watch("check"):
            context = gx.context(made_in)
            for side, (suite, asked) in loaded.items():
                answers.append(_ask(context, side, suite, asked))
                records += _records(side, suite, asked.suite, answers[-1])
        if docs_dir is None or made_in is None:
            return QualityResult(tuple(records))
        with watch("docs"):
            for answered in answers:
                docs.add(context, title, *answered)
            index = docs.place(context, made_in, docs_dir)
    return QualityResult(tuple(records), index.relative_to(docs_dir.parent).as_posix())


def _ask(context: AbstractDataContext, side: str, suite: Suite, asked: Asked) -> docs.Answered:
    expectations = suite["expectations"]
    if asked.schema:
        from nocturne.quality.measured import add_batch

        schema = unpacked(asked.schema)
        batch = add_batch(context, side, asked.measured, schema.names)
    else:
        by_name = any(e["type"] in NAMES_ONLY for e in expectations)
        wanted, given = columns(suite), unpacked_rows(asked.given)
        if asked.spark:
            from nocturne.quality.spark_scan import scan_batch, scan_frame

            rows, schema = scan_frame(asked.files, wanted, asked.spark, given, all_names=by_name)
            batch = scan_batch(context, side, rows)
        else:
            frame, schema = read_frame(asked.files, wanted, given, all_names=by_name)
            batch = gx.frame_batch(context, side, frame)
    built = gx.build(side, asked.suite, [with_moments(e, schema) for e in expectations])
    answered = gx.validate(batch, built)
    gx.hide(answered, frozenset(asked.sensitive))
    return built, answered


def _records(side: str, suite: Suite, path: Path, answered: docs.Answered) -> list[Expectation]:
    answers = answered[1].results
    by_key = {str(r.expectation_config.id): r for r in answers if r.expectation_config}
    expected = {gx.key(i): e for i, e in enumerate(suite["expectations"])}
    if by_key.keys() != expected.keys():
        raise ConfigError(
            f"{path}: Great Expectations answered {len(by_key)} of {len(expected)} expectations; "
            "expected an answer to each. Is version 1.24 installed?"
        )
    return [words.record(side, expectation, by_key[k]) for k, expectation in expected.items()]
