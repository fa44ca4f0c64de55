"""What the suites and the sensitive columns want of a night, looked at before it is scored."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from nocturne import profile, quality
from nocturne.columns.fitting import output_schema
from nocturne.columns.normal import normal_schema, packed, plain_type
from nocturne.config import Loaded
from nocturne.errors import ConfigError, InputError, choices
from nocturne.model.encoding import Encoding, is_text
from nocturne.records import Measure, Table
from nocturne.source.protocol import Seen

__all__ = ["check_sensitive", "expected_columns", "measured_tables", "refuse_early", "suites_of"]


def suites_of(loaded: Loaded) -> dict[str, Path]:
    """The suites' files, of ``input`` and ``output``."""
    wanted = loaded.pipeline.quality
    named = {"input": wanted.input_suite, "output": wanted.output_suite}
    return {side: loaded.suite(name) for side, name in named.items() if name}


def expected_columns(suites: Mapping[str, Path]) -> tuple[str, ...]:
    """The columns of the input that its suite reads."""
    if "input" not in suites:
        return ()
    return tuple(sorted(quality.columns(quality.load_suite(suites["input"]))))


def refuse_early(loaded: Loaded, suites: Mapping[str, Path], seen: Seen) -> None:
    """Raises: InputError if the footers say that an expectation fails, and the night with it."""
    wanted = loaded.pipeline.quality
    if "input" not in suites or seen.schema is None or wanted.on_failure != "fail":
        return
    failed = quality.failed_for_certain(suites["input"], seen.paths, wanted.sensitive)
    if failed:
        raise InputError(
            f"{len(failed)} expectations of {suites['input'].name} fail, as the Parquet footers "
            "say already; nothing was scored:\n  " + "\n  ".join(failed)
        )


def check_sensitive(sensitive: Sequence[str], encoding: Encoding, seen: Seen) -> None:
    """Returns if every column whose values are to be shown nowhere is there, and can be hidden.

    Raises:
        ConfigError: one is a prediction, a key of the folders' names, or no column.
    """
    if shown := sorted(set(seen.path_keys).intersection(sensitive)):
        raise ConfigError(
            f"quality.sensitive names {choices(shown)}, a key of the input's folders: their names "
            "are in reports, quarantine and manifests. Take it out, or have the folders named "
            "otherwise"
        )
    if named := {output.name for output in encoding.outputs}.intersection(sensitive):
        raise ConfigError(
            f"quality.sensitive names {choices(named)}, which the model predicts; expected columns "
            "of the input. Reports, MLflow and manifests tell how predictions are distributed, and "
            "a night is judged by that: take it out"
        )
    if seen.schema is not None:
        _check_known(sensitive, seen.schema.names)


def _check_known(named: Sequence[str], there: Sequence[str]) -> None:
    """Raises: ConfigError if a name is no column's, and so keeps no value from being shown."""
    unknown = []
    for name in (n for n in named if n not in there):
        near = difflib.get_close_matches(name, there, 1)
        unknown.append(f"{name!r}{f' (did you mean {near[0]!r}?)' if near else ''}")
    if unknown:
        raise ConfigError(
            f"quality.sensitive names {', '.join(unknown)}, which the input lacks; it has the "
            f"columns {choices(there, 40)}"
        )


def measured_tables(
    suites: Mapping[str, Path], encoding: Encoding, columns: Collection[str], seen: Seen
) -> dict[str, Table]:
    """What is counted of the input and of the scores; nothing where the files are read again.

    Args:
        columns: keys and passthrough columns.

    Raises:
        ConfigError: what is wrong with the suites, all of it.
    """
    if seen.schema is None:  # Spark says it when it scores
        return {}
    schemas = {
        "input": normal_schema(seen.schema),
        "output": normal_schema(output_schema(encoding, seen.schema, tuple(columns))),
    }
    tables, wrong = {}, list[str]()
    for side, path in suites.items():
        schema = schemas[side]
        try:
            quality.check_columns(path, schema.names)
            if seen.counted:
                measures = quality.measures_of(path, schema)
                _try(path, measures, schema)
                tables[side] = Table(packed(schema), measures)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return tables


def _blank(type_: pa.DataType) -> pa.Array:
    try:
        return pa.array([""] if is_text(plain_type(type_)) else [0]).cast(plain_type(type_))
    except pa.ArrowException:  # of a nested column, which no measure takes
        return pa.nulls(1, type_)


def _try(path: Path, measures: Sequence[Measure], schema: pa.Schema) -> None:
    """Count a row of zeros and empty text: this finds what can't be compared or is no regex."""
    row = [_blank(field.type) for field in schema]
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
