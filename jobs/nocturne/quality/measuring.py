"""Which measures answer an expectation, said without importing Great Expectations.

An expectation that is not here, or not on such a column, can't be answered from counts that add
up (a median, an order, a schema of JSON): it needs a scan of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from nocturne.columns.values import BOOLEANS, NUMBERS, TEXT, TIMES, kind
from nocturne.errors import ConfigError
from nocturne.quality.bounds import with_moments
from nocturne.quality.suites import load_suite
from nocturne.records.quality import Measure

__all__ = ["EXPECTATIONS", "NoMeasure", "condition_of", "measures", "measures_of", "normal"]


class NoMeasure(Exception):
    """Why an expectation has no measures, in words."""


@dataclass(frozen=True)
class _Way:
    """How an expectation is measured: kinds of measures, and kinds of columns that it takes.

    Without such kinds it takes every column.
    """

    kinds: tuple[str, ...]
    takes: tuple[str, ...] = ()
    rule: str = ""
    args: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("column",)


_ANY = (NUMBERS, BOOLEANS, TEXT, TIMES)
_SETS = (NUMBERS, BOOLEANS, TEXT)
_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")


def _rule(rule: str, takes: tuple[str, ...], *args: str) -> _Way:
    return _Way(("missing", "column_rule"), takes, f"column_values.{rule}", args)


def _row_rule(rule: str, takes: tuple[str, ...], *args: str, columns: tuple[str, ...]) -> _Way:
    return _Way(("row_rule",), takes, rule, args, columns)


_PAIR, _LIST = ("column_A", "column_B"), ("column_list",)

EXPECTATIONS: dict[str, _Way] = {
    "expect_table_row_count_to_be_between": _Way(("rows",), columns=()),
    "expect_table_row_count_to_equal": _Way(("rows",), columns=()),
    "expect_column_to_exist": _Way((), columns=()),
    "expect_table_column_count_to_be_between": _Way((), columns=()),
    "expect_table_column_count_to_equal": _Way((), columns=()),
    "expect_table_columns_to_match_ordered_list": _Way((), columns=()),
    "expect_table_columns_to_match_set": _Way((), columns=()),
    "expect_column_values_to_not_be_null": _Way(("missing",)),
    "expect_column_values_to_be_null": _rule("null", ()),
    "expect_column_proportion_of_non_null_values_to_be_between": _Way(("missing",)),
    "expect_column_max_to_be_between": _Way(("moments",), (NUMBERS, TIMES)),
    "expect_column_min_to_be_between": _Way(("moments",), (NUMBERS, TIMES)),
    "expect_column_mean_to_be_between": _Way(("moments",), (NUMBERS,)),
    "expect_column_sum_to_be_between": _Way(("moments",), (NUMBERS,)),
    "expect_column_stdev_to_be_between": _Way(("moments",), (NUMBERS,)),
    "expect_column_values_to_be_between": _rule("between", (NUMBERS, TIMES), *_BOUNDS),
    "expect_column_values_to_be_in_set": _rule("in_set", _SETS, "value_set"),
    "expect_column_values_to_not_be_in_set": _rule("not_in_set", _SETS, "value_set"),
    "expect_column_values_to_match_regex": _rule("match_regex", (TEXT,), "regex"),
    "expect_column_values_to_not_match_regex": _rule("not_match_regex", (TEXT,), "regex"),
    "expect_column_values_to_match_regex_list": _rule(
        "match_regex_list", (TEXT,), "regex_list", "match_on"
    ),
    "expect_column_values_to_not_match_regex_list": _rule(
        "not_match_regex_list", (TEXT,), "regex_list"
    ),
    "expect_column_value_lengths_to_be_between": _rule("value_length.between", (TEXT,), *_BOUNDS),
    "expect_column_value_lengths_to_equal": _rule("value_length.equals", (TEXT,), "value"),
    "expect_column_distinct_values_to_be_in_set": _Way(("values",), _SETS),
    "expect_column_distinct_values_to_equal_set": _Way(("values",), _SETS),
    "expect_column_distinct_values_to_contain_set": _Way(("values",), _SETS),
    "expect_column_unique_value_count_to_be_between": _Way(("values",), _ANY),
    "expect_column_proportion_of_unique_values_to_be_between": _Way(("values",), _ANY),
    "expect_column_most_common_value_to_be_in_set": _Way(("values",), _SETS),
    "expect_column_pair_values_to_be_equal": _row_rule(
        "column_pair_values.equal", _ANY, columns=_PAIR
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": _row_rule(
        "column_pair_values.a_greater_than_b", (NUMBERS, TIMES, TEXT), "or_equal", columns=_PAIR
    ),
    "expect_column_pair_values_to_be_in_set": _row_rule(
        "column_pair_values.in_set", _SETS, "value_pairs_set", columns=_PAIR
    ),
    "expect_multicolumn_sum_to_equal": _row_rule(
        "multicolumn_sum.equal", (NUMBERS,), "sum_total", columns=_LIST
    ),
    "expect_select_column_values_to_be_unique_within_record": _row_rule(
        "select_column_values.unique.within_record", _ANY, columns=_LIST
    ),
}
"""Every expectation that is answered from the scoring pass."""


def measures_of(path: Path, schema: pa.Schema) -> tuple[Measure, ...]:
    """What to count for the suite in ``path`` on a table of ``schema``, each thing once.

    Raises:
        ConfigError: the suite is wrong, or holds what can't be answered so; names all of it.
    """
    found: dict[str, Measure] = {}
    refused = []
    for index, expectation in enumerate(load_suite(path)["expectations"]):
        try:
            asked = measures(with_moments(expectation, schema), schema)
        except NoMeasure as why:
            refused.append(f"expectations[{index}]: {expectation['type']}: {why}")
            continue
        found |= {measure.key: measure for measure in asked}
    if refused:
        raise ConfigError(
            f"{path}: the rows are read once, and what is counted on the way does not answer\n  "
            + "\n  ".join(refused)
            + "\nUse other expectations, or say quality.scan: spark (or pandas, into memory), "
            "which reads the columns that the suites name a second time",
            path=str(path),
        )
    return tuple(found.values())


_DEFAULTS = {"match_on": "any"}
_IGNORE = {_PAIR: "both_values_are_missing", _LIST: "all_values_are_missing"}


def measures(expectation: Mapping[str, Any], schema: pa.Schema) -> list[Measure]:
    """What to count for one expectation of a suite.

    Raises:
        NoMeasure: it can't be answered from counts, or not on such a column.
    """
    type_, kwargs = expectation["type"], expectation["kwargs"]
    way = EXPECTATIONS.get(type_)
    if way is None:
        raise NoMeasure("no counts that add up answer it")
    columns = tuple(_columns(way, kwargs))
    for name in columns:
        held = kind(schema.field(name).type)
        if way.takes and held not in way.takes:
            raise NoMeasure(f"column {name!r} holds {held}, and it takes {' or '.join(way.takes)}")
    kinds = {kind(schema.field(name).type) for name in columns}
    if len(kinds) > 1 and "row_rule" in way.kinds:
        raise NoMeasure(f"its columns hold {' and '.join(sorted(kinds))}")
    condition = normal(condition_of(kwargs.get("row_condition")))
    args = normal({name: kwargs.get(name, _DEFAULTS.get(name)) for name in way.args})
    ignore = kwargs.get("ignore_row_if") or _IGNORE.get(way.columns, "")
    made = []
    for one in way.kinds:
        rule = way.rule if one.endswith("_rule") else ""
        made.append(
            Measure(
                kind=one,  # type: ignore[arg-type]
                columns=columns,
                rule=rule,
                args=args if rule else {},
                condition=condition,
                ignore=ignore if one == "row_rule" else "",
            )
        )
    if way.columns and "rows" not in way.kinds:
        made.append(Measure("rows", condition=condition))
    return made


def _columns(way: _Way, kwargs: Mapping[str, Any]) -> Iterator[str]:
    for name in way.columns:
        given = kwargs[name]
        yield from [given] if isinstance(given, str) else given


def condition_of(condition: Any) -> dict[str, Any] | None:
    """A row condition, of a suite or of Great Expectations' own objects, as plain data."""
    if condition is None:
        return None
    if not isinstance(condition, Mapping):
        condition = condition.to_dict()
    found = {str(k): v for k, v in condition.items()}
    found["type"] = str(getattr(found["type"], "value", found["type"]))
    if "conditions" in found:
        found["conditions"] = [condition_of(part) for part in found["conditions"]]
    if "operator" in found:
        found["operator"] = str(getattr(found["operator"], "value", found["operator"]))
    if "column" in found:
        column = found["column"]
        name = column["name"] if isinstance(column, Mapping) else column.name
        found["column"] = {"name": str(name)}
    return found


_KEPT = ("is_null", "parameter")
"""What a row condition may have to be False."""


def normal(value: Any) -> Any:
    """A suite's value in one form, however Great Expectations has coerced it meanwhile.

    What is None, or False by default, is left out of a mapping; whole floats are integers; times
    ISO text.
    """
    if isinstance(value, Mapping):
        kept = {k: normal(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in kept.items() if v is not False or k in _KEPT}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [normal(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value
