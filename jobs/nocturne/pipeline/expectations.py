"""Checks suites and sensitive columns before a night is scored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from nocturne import profile, quality
from nocturne.columns.normal import normal_schema, packed, plain_type
from nocturne.columns.types import is_text
from nocturne.config import Loaded
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, InputError, choices, did_you_mean
from nocturne.fitting import output_schema
from nocturne.records.plan import Table
from nocturne.records.quality import Measure
from nocturne.source.protocol import Seen

__all__ = ["check_sensitive", "expected_columns", "measured_tables", "refuse_early", "suites_of"]


def suites_of(loaded: Loaded) -> dict[str, Path]:
    """The files of the suites: "input" or "output" -> path."""
    settings = loaded.pipeline.quality
    suites = {"input": settings.input_suite, "output": settings.output_suite}
    return {side: loaded.suite(name) for side, name in suites.items() if name}


def expected_columns(suites: Mapping[str, Path]) -> tuple[str, ...]:
    """The columns of the input that its suite reads."""
    if "input" not in suites:
        return ()
    return tuple(sorted(quality.columns(quality.load_suite(suites["input"]))))


def refuse_early(loaded: Loaded, suites: Mapping[str, Path], seen: Seen) -> None:
    """Raises: InputError if the footers show that an expectation fails, and so the night does."""
    settings = loaded.pipeline.quality
    if "input" not in suites or seen.schema is None or settings.on_failure != "fail":
        return
    failed = quality.failed_for_certain(suites["input"], seen.paths, settings.sensitive)
    if failed:
        raise InputError(
            f"{len(failed)} expectations of {suites['input'].name} fail, as the Parquet footers "
            "show; nothing was scored:\n  " + "\n  ".join(failed)
        )


def check_sensitive(sensitive: Sequence[str], encoding: Encoding, seen: Seen) -> None:
    """Check that every sensitive column exists and that its values can be hidden.

    Raises:
        ConfigError: a name is that of a prediction or of a key in the folders' names, or there is
            no such column.
    """
    if path_keys := sorted(set(seen.path_keys).intersection(sensitive)):
        raise ConfigError(
            f"quality.sensitive names {choices(path_keys)}, a key of the input's folders: their "
            "names are in reports, quarantine and manifests. Remove it, or name the folders "
            "otherwise"
        )
    if outputs := {output.name for output in encoding.outputs}.intersection(sensitive):
        raise ConfigError(
            f"quality.sensitive names {choices(outputs)}, which the model predicts; expected "
            "columns of the input. Reports, MLflow and manifests show how predictions are "
            "distributed, and a night is judged by that: remove it"
        )
    if seen.schema is not None:
        _check_known(sensitive, seen.schema.names)


def _check_known(names: Sequence[str], columns: Sequence[str]) -> None:
    """Raises: ConfigError if there is no column with a name, so that no value would be hidden."""
    unknown = [f"{name!r}{did_you_mean(name, columns)}" for name in names if name not in columns]
    if unknown:
        raise ConfigError(
            f"quality.sensitive names {', '.join(unknown)}, which the input lacks; it has the "
            f"columns {choices(columns, 40)}"
        )


def measured_tables(
    suites: Mapping[str, Path], encoding: Encoding, columns: Collection[str], seen: Seen
) -> dict[str, Table]:
    """The measures to count on the input and the scores; none if the files are read again.

    Args:
        columns: the keys and passthrough columns.

    Raises:
        ConfigError: the suites are wrong; the message has all problems.
    """
    if seen.schema is None:  # only Spark knows it, when it scores
        return {}
    schemas = {
        "input": normal_schema(seen.schema),
        "output": normal_schema(output_schema(encoding, seen.schema, tuple(columns))),
    }
    tables, problems = {}, list[str]()
    for side, path in suites.items():
        schema = schemas[side]
        try:
            quality.check_columns(path, schema.names)
            if seen.counted:
                measures = quality.measures_of(path, schema)
                _try_to_count(path, measures, schema)
                tables[side] = Table(packed(schema), measures)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return tables


def _blank_value(type_: pa.DataType) -> pa.Array:
    try:
        return pa.array([""] if is_text(plain_type(type_)) else [0]).cast(plain_type(type_))
    except pa.ArrowException:  # of a nested column, which no measure takes
        return pa.nulls(1, type_)


def _try_to_count(path: Path, measures: Sequence[Measure], schema: pa.Schema) -> None:
    """Count a row of zeros and empty texts, to find bad regular expressions and comparisons."""
    row = [_blank_value(field.type) for field in schema]
    blank = pa.RecordBatch.from_arrays(row, names=schema.names)
    for measure in measures:
        try:
            profile.Measurer([measure]).update(blank)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: {measure.rule or measure.kind} on {', '.join(measure.columns)} with "
                f"{measure.args} can't be counted: {error}. (Regular expressions are RE2's, which "
                "have no look-around and no back-references.) quality.scan: pandas counts with "
                "Python's"
            ) from None
