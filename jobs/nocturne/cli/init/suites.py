"""Makes starter suites of expectations that hold in a sample, with some margin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from nocturne.cli.init.sample import Sample, distinct_values
from nocturne.columns.types import is_text
from nocturne.encoding import Encoding

__all__ = ["input_suite", "output_suite"]

_FEW = 20
"""Text columns with at most this many different values get a value set."""

Check = tuple[str, dict[str, Any]]


def input_suite(name: str, sample: Sample, encoding: Encoding, keys: Sequence[str]) -> str:
    """The suite for the input, as YAML."""
    features = [c for c in encoding.columns if c in sample.schema.names]
    vocabularies = {f.column: f.vocabulary for _, f in encoding.features()}
    groups = {
        "Rows, and the keys.": [_rows(), *_keys(sample, keys)],
        "What the model takes, where the sample had no nulls.": [
            _not_null(c) for c in features if c not in keys and not sample.rows[c].null_count
        ],
        "Values: the sample's and the model's own. 5% others are let through.": [
            (
                "expect_column_values_to_be_in_set",
                {"column": c, "value_set": values, "mostly": 0.95},
            )
            for c in features
            for values in [_value_set(sample.rows[c], vocabularies.get(c, ()))]
            if values
        ],
        "Ranges: the sample's, widened by half on each side.": [
            ("expect_column_values_to_be_between", {"column": c, **bounds})
            for c in features
            for bounds in [_range(sample.rows[c])]
            if bounds
        ],
    }
    return _text(
        f"{name}_input",
        f"Checks of the input of {name}, from {sample.words}.",
        groups,
    )


def output_suite(name: str, sample: Sample, encoding: Encoding, keys: Sequence[str]) -> str:
    """The suite for the scores, as YAML."""
    groups = {
        "Rows, and the keys.": [_rows(), *_keys(sample, keys)],
        "The scores.": [
            check
            for output in encoding.outputs
            for check in (
                _not_null(output.name) if not output.nullable else None,
                (
                    "expect_column_values_to_be_between",
                    {"column": output.name, "min_value": 0, "max_value": 1},
                )
                if output.post == "sigmoid"
                else None,
            )
            if check
        ],
        "The model's version is in every row.": [_not_null("model_version")],
    }
    return _text(
        f"{name}_output", f"Checks of the scores of {name}, before they are published.", groups
    )


def _rows() -> Check:
    return "expect_table_row_count_to_be_between", {"min_value": 1}


def _not_null(column: str) -> Check:
    return "expect_column_values_to_not_be_null", {"column": column}


def _keys(sample: Sample, keys: Sequence[str]) -> Iterator[Check]:
    yield from (_not_null(key) for key in keys if not sample.rows[key].null_count)


def _value_set(column: pa.ChunkedArray, vocabulary: Sequence[str | int]) -> list[str]:
    if not is_text(column.type):
        return []
    values = distinct_values(column)
    return sorted({*values, *map(str, vocabulary)}) if 0 < len(values) <= _FEW else []


def _range(column: pa.ChunkedArray) -> dict[str, Any]:
    integer = pa.types.is_integer(column.type)
    if not integer and not pa.types.is_floating(column.type):
        return {}
    finite = column.filter(pc.is_finite(column))
    if not len(finite) - finite.null_count:
        return {}
    extremes = pc.min_max(finite).as_py()
    low, high = extremes["min"], extremes["max"]
    margin = (high - low) / 2 or max(abs(high), 1.0)
    lower, upper = _outwards(low - margin, -1), _outwards(high + margin, 1)
    lower = 0.0 if low >= 0 else lower  # values that were never negative should stay so
    return {"min_value": _number(lower, integer), "max_value": _number(upper, integer)}


def _outwards(value: float, side: int) -> float:
    """Rounded to two digits, away from the middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float((math.ceil if side > 0 else math.floor)(value / step) * step)


def _number(value: float, integer: bool) -> float | int:
    return int(value) if integer or value.is_integer() else float(f"{value:.6g}")


def _text(name: str, title: str, groups: dict[str, list[Check]]) -> str:
    lines = [
        f"# {' '.join(title.split())}",
        "# A starting point by `nocturne init`: keep what must hold, drop what need not, add what",
        "# you know. See https://greatexpectations.io/expectations",
        f"name: {name}",
        "expectations:",
    ]
    for comment, checks in groups.items():
        if checks:
            lines += ["", f"  # {comment}"] if lines[-1] != "expectations:" else [f"  # {comment}"]
        for type_, kwargs in checks:
            flow = yaml.safe_dump(
                kwargs, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
            ).strip()
            lines += [f"  - type: {type_}", f"    kwargs: {flow}"]
    return "\n".join(lines) + "\n"
