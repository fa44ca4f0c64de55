"""The measures that each expectation needs, without importing Great Expectations.

An expectation that is not listed, or not for such a column, can't be evaluated from counts that
add up (for example a median, an order, a JSON schema): it needs a scan of its own.
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
    """An expectation has no measures; the message says why."""


@dataclass(frozen=True)
class _Recipe:
    """How an expectation is measured: the kinds of measures, and the kinds of columns that it takes
    (every column if there are none)."""

    kinds: tuple[str, ...]
    takes: tuple[str, ...] = ()
    rule: str = ""
    args: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("column",)


_ANY = (NUMBERS, BOOLEANS, TEXT, TIMES)
_SETS = (NUMBERS, BOOLEANS, TEXT)
_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")


def _rule(rule: str, takes: tuple[str, ...], *args: str) -> _Recipe:
    return _Recipe(("missing", "column_rule"), takes, f"column_values.{rule}", args)


def _row_rule(rule: str, takes: tuple[str, ...], *args: str, columns: tuple[str, ...]) -> _Recipe:
    return _Recipe(("row_rule",), takes, rule, args, columns)


_PAIR, _LIST = ("column_A", "column_B"), ("column_list",)

EXPECTATIONS: dict[str, _Recipe] = {
    "expect_table_row_count_to_be_between": _Recipe(("rows",), columns=()),
    "expect_table_row_count_to_equal": _Recipe(("rows",), columns=()),
    "expect_column_to_exist": _Recipe((), columns=()),
    "expect_table_column_count_to_be_between": _Recipe((), columns=()),
    "expect_table_column_count_to_equal": _Recipe((), columns=()),
    "expect_table_columns_to_match_ordered_list": _Recipe((), columns=()),
    "expect_table_columns_to_match_set": _Recipe((), columns=()),
    "expect_column_values_to_not_be_null": _Recipe(("missing",)),
    "expect_column_values_to_be_null": _rule("null", ()),
    "expect_column_proportion_of_non_null_values_to_be_between": _Recipe(("missing",)),
    "expect_column_max_to_be_between": _Recipe(("moments",), (NUMBERS, TIMES)),
    "expect_column_min_to_be_between": _Recipe(("moments",), (NUMBERS, TIMES)),
    "expect_column_mean_to_be_between": _Recipe(("moments",), (NUMBERS,)),
    "expect_column_sum_to_be_between": _Recipe(("moments",), (NUMBERS,)),
    "expect_column_stdev_to_be_between": _Recipe(("moments",), (NUMBERS,)),
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
    "expect_column_distinct_values_to_be_in_set": _Recipe(("values",), _SETS),
    "expect_column_distinct_values_to_equal_set": _Recipe(("values",), _SETS),
    "expect_column_distinct_values_to_contain_set": _Recipe(("values",), _SETS),
    "expect_column_unique_value_count_to_be_between": _Recipe(("values",), _ANY),
    "expect_column_proportion_of_unique_values_to_be_between": _Recipe(("values",), _ANY),
    "expect_column_most_common_value_to_be_in_set": _Recipe(("values",), _SETS),
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
"""Every expectation that is evaluated from values measured while scoring."""


def measures_of(path: Path, schema: pa.Schema) -> tuple[Measure, ...]:
    """The measures for the suite in ``path`` on a table of ``schema``, each one once.

    Raises:
        ConfigError: the suite is wrong, or has expectations without measures; names all of them.
    """
    by_key: dict[str, Measure] = {}
    refused = []
    for index, expectation in enumerate(load_suite(path)["expectations"]):
        try:
            added = measures(with_moments(expectation, schema), schema)
        except NoMeasure as why:
            refused.append(f"expectations[{index}]: {expectation['type']}: {why}")
            continue
        by_key |= {measure.key: measure for measure in added}
    if refused:
        raise ConfigError(
            f"{path}: the rows are read once, and counting them then can't evaluate\n  "
            + "\n  ".join(refused)
            + "\nUse other expectations, or set quality.scan: spark (or pandas, into memory), "
            "which reads the columns that the suites name a second time",
            path=str(path),
        )
    return tuple(by_key.values())


_DEFAULTS = {"match_on": "any"}
_IGNORE = {_PAIR: "both_values_are_missing", _LIST: "all_values_are_missing"}


def measures(expectation: Mapping[str, Any], schema: pa.Schema) -> list[Measure]:
    """The measures for one expectation of a suite.

    Raises:
        NoMeasure: the expectation can't be evaluated from counts, or not on such a column.
    """
    type_, kwargs = expectation["type"], expectation["kwargs"]
    recipe = EXPECTATIONS.get(type_)
    if recipe is None:
        raise NoMeasure("no counts that add up can evaluate it")
    columns = tuple(_columns(recipe, kwargs))
    for name in columns:
        held = kind(schema.field(name).type)
        if recipe.takes and held not in recipe.takes:
            raise NoMeasure(
                f"column {name!r} holds {held}, and it takes {' or '.join(recipe.takes)}"
            )
    kinds = {kind(schema.field(name).type) for name in columns}
    if len(kinds) > 1 and "row_rule" in recipe.kinds:
        raise NoMeasure(f"its columns hold {' and '.join(sorted(kinds))}")
    condition = normal(condition_of(kwargs.get("row_condition")))
    args = normal({name: kwargs.get(name, _DEFAULTS.get(name)) for name in recipe.args})
    ignore = kwargs.get("ignore_row_if") or _IGNORE.get(recipe.columns, "")
    counted = []
    for measure_kind in recipe.kinds:
        rule = recipe.rule if measure_kind.endswith("_rule") else ""
        counted.append(
            Measure(
                kind=measure_kind,  # type: ignore[arg-type]
                columns=columns,
                rule=rule,
                args=args if rule else {},
                condition=condition,
                ignore=ignore if measure_kind == "row_rule" else "",
            )
        )
    if recipe.columns and "rows" not in recipe.kinds:
        counted.append(Measure("rows", condition=condition))
    return counted


def _columns(recipe: _Recipe, kwargs: Mapping[str, Any]) -> Iterator[str]:
    for name in recipe.columns:
        value = kwargs[name]
        yield from [value] if isinstance(value, str) else value


def condition_of(condition: Any) -> dict[str, Any] | None:
    """A row condition from a suite or from an object of Great Expectations, as plain data."""
    if condition is None:
        return None
    if not isinstance(condition, Mapping):
        condition = condition.to_dict()
    plain = {str(k): v for k, v in condition.items()}
    plain["type"] = str(getattr(plain["type"], "value", plain["type"]))
    if "conditions" in plain:
        plain["conditions"] = [condition_of(part) for part in plain["conditions"]]
    if "operator" in plain:
        plain["operator"] = str(getattr(plain["operator"], "value", plain["operator"]))
    if "column" in plain:
        column = plain["column"]
        name = column["name"] if isinstance(column, Mapping) else column.name
        plain["column"] = {"name": str(name)}
    return plain


_MAY_BE_FALSE = ("is_null", "parameter")
"""Keys of a row condition for which False is a value."""


def normal(value: Any) -> Any:
    """A value of a suite in one form, however Great Expectations has coerced it.

    None and defaults of False are left out of a mapping; whole floats become integers, times
    become ISO text.
    """
    if isinstance(value, Mapping):
        mapping = {k: normal(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in mapping.items() if v is not False or k in _MAY_BE_FALSE}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [normal(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value
