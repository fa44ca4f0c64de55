"""What is measured in the pass answers as Great Expectations' pandas engine does on the data."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nocturne.profile import Measurer, merge_measured
from nocturne.quality import gx
from nocturne.quality.bounds import with_moments
from nocturne.quality.frames import read_frame
from nocturne.quality.measuring import EXPECTATIONS, NoMeasure, measures

Expectation = dict[str, Any]
SCHEMA = pa.schema(
    [
        ("f", pa.float64()),
        ("g", pa.float64()),
        ("s", pa.float32()),
        ("i", pa.int64()),
        ("j", pa.int64()),
        ("b", pa.bool_()),
        ("w", pa.string()),
        ("v", pa.string()),
        ("t", pa.timestamp("us")),
        ("u", pa.timestamp("us")),
    ]
)
WORDS = ["a", "ab", "", "Zürich", "x1", "aa"]
TIMES = [dt.datetime(2024, 1, day, hour) for day in (1, 2, 3) for hour in (0, 12)]


def _one(type_: str, **kwargs: Any) -> Expectation:
    return {"type": f"expect_{type_}", "kwargs": kwargs}


NOT_NULL = {"type": "nullity", "column": {"name": "f"}, "is_null": False}
POSITIVE = {"type": "comparison", "column": {"name": "f"}, "operator": ">", "parameter": 0}
A_WORD = {"type": "comparison", "column": {"name": "w"}, "operator": "IN", "parameter": ["a", "x1"]}
NOT_A_WORD = {**A_WORD, "operator": "NOT_IN"}
FALSE = {"type": "comparison", "column": {"name": "b"}, "operator": "==", "parameter": False}
BOTH = {"type": "and", "conditions": [NOT_NULL, A_WORD]}
EITHER = {"type": "or", "conditions": [POSITIVE, A_WORD]}

ASKED: list[Expectation] = [
    _one("table_row_count_to_be_between", min_value=3, max_value=20),
    _one("table_row_count_to_equal", value=5),
    _one("table_row_count_to_be_between", min_value=2, row_condition=POSITIVE),
    _one("column_to_exist", column="f"),
    _one("column_to_exist", column="nowhere"),
    _one("table_column_count_to_be_between", min_value=3, max_value=5),
    _one("table_column_count_to_equal", value=10),
    _one("table_columns_to_match_ordered_list", column_list=SCHEMA.names),
    _one("table_columns_to_match_set", column_set=["f", "nowhere"], exact_match=False),
    _one("column_values_to_not_be_null", column="f", mostly=0.5),
    _one("column_values_to_not_be_null", column="w"),
    _one("column_values_to_not_be_null", column="i", row_condition=BOTH),
    _one("column_values_to_not_be_null", column="i", row_condition=FALSE),
    _one("column_values_to_not_be_null", column="i", row_condition=NOT_A_WORD),
    _one("column_values_to_be_null", column="t"),
    _one("column_values_to_be_null", column="s", mostly=0.2),
    _one("column_proportion_of_non_null_values_to_be_between", column="g", min_value=0.6),
    _one("column_max_to_be_between", column="f", min_value=0, max_value=3),
    _one("column_max_to_be_between", column="t", min_value="2024-01-02", max_value="2024-01-03"),
    _one("column_min_to_be_between", column="i", min_value=-5),
    _one("column_min_to_be_between", column="s", max_value=0.1),
    _one("column_mean_to_be_between", column="f", min_value=-1, max_value=1),
    _one("column_mean_to_be_between", column="i", min_value=0, row_condition=EITHER),
    _one("column_sum_to_be_between", column="i", min_value=-10, max_value=10),
    _one("column_stdev_to_be_between", column="f", min_value=0.5, max_value=5),
    _one("column_values_to_be_between", column="f", min_value=-2, max_value=2),
    _one("column_values_to_be_between", column="f", min_value=0, strict_min=True, mostly=0.5),
    _one("column_values_to_be_between", column="s", min_value=0.1, max_value=0.3),
    _one("column_values_to_be_between", column="i", min_value=-1.5, max_value=3),
    _one("column_values_to_be_between", column="t", min_value="2024-01-01T12:00:00"),
    _one("column_values_to_be_between", column="g", min_value=-1, row_condition=A_WORD),
    _one("column_values_to_be_in_set", column="w", value_set=["a", "ab", "aa"]),
    _one("column_values_to_be_in_set", column="i", value_set=[0, 1, 2, 3.0]),
    _one("column_values_to_be_in_set", column="b", value_set=[True]),
    _one("column_values_to_be_in_set", column="b", value_set=[1, 2]),
    _one("column_values_to_not_be_in_set", column="f", value_set=[0, 1.5]),
    _one("column_values_to_not_be_in_set", column="w", value_set=["x1"], mostly=0.9),
    _one("column_values_to_match_regex", column="w", regex="^a+b?$"),
    _one("column_values_to_not_match_regex", column="w", regex="[0-9]"),
    _one("column_values_to_match_regex_list", column="w", regex_list=["^a", "b$"]),
    _one("column_values_to_match_regex_list", column="w", regex_list=["^a", "b$"], match_on="all"),
    _one("column_values_to_not_match_regex_list", column="w", regex_list=["ü", "1"]),
    _one("column_value_lengths_to_be_between", column="w", min_value=1, max_value=3),
    _one("column_value_lengths_to_equal", column="w", value=2, mostly=0.3),
    _one("column_distinct_values_to_be_in_set", column="w", value_set=["a", "ab", "aa", "x1"]),
    _one("column_distinct_values_to_equal_set", column="i", value_set=[0, 1]),
    _one("column_distinct_values_to_contain_set", column="w", value_set=["a"]),
    _one("column_unique_value_count_to_be_between", column="i", min_value=2, max_value=4),
    _one("column_proportion_of_unique_values_to_be_between", column="w", min_value=0.5),
    _one("column_most_common_value_to_be_in_set", column="w", value_set=["a", "ab"]),
    _one("column_pair_values_to_be_equal", column_A="i", column_B="j"),
    _one(
        "column_pair_values_to_be_equal",
        column_A="w",
        column_B="v",
        ignore_row_if="either_value_is_missing",
    ),
    _one("column_pair_values_a_to_be_greater_than_b", column_A="f", column_B="g"),
    _one(
        "column_pair_values_a_to_be_greater_than_b",
        column_A="t",
        column_B="u",
        or_equal=True,
        ignore_row_if="either_value_is_missing",
    ),
    _one(
        "column_pair_values_to_be_in_set",
        column_A="w",
        column_B="v",
        value_pairs_set=[["a", "a"], ["ab", None], ["x1", "aa"]],
    ),
    _one("multicolumn_sum_to_equal", column_list=["i", "j"], sum_total=2),
    _one("select_column_values_to_be_unique_within_record", column_list=["i", "j"]),
]


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with gx.quiet():
        yield gx.context()


def _pandas(context: Any, folder: Path, table: pa.Table, asked: Sequence[Expectation]) -> list[Any]:
    path = folder / "t.parquet"
    pq.write_table(table, path)
    frame, schema = read_frame([path], table.schema.names, all_names=True)
    suite = gx.build("asked", path, [with_moments(e, schema) for e in asked])
    return _ordered(gx.validate(gx.frame_batch(context, "pandas", frame), suite))


def _measured(context: Any, parts: Sequence[pa.Table], asked: Sequence[Expectation]) -> list[Any]:
    schema = parts[0].schema
    wanted = {m.key: m for e in asked for m in measures(with_moments(e, schema), schema)}
    found = []
    for part in parts:
        measurer = Measurer(list(wanted.values()))
        for batch in part.to_batches(max_chunksize=7) or part.schema.empty_table().to_batches():
            measurer.update(batch)
        if not part.num_rows:
            measurer.update(pa.RecordBatch.from_pylist([], schema=schema))
        found.append(measurer.result())
    suite = gx.build("asked", Path("suite"), [with_moments(e, schema) for e in asked])
    from nocturne.quality import measured

    batch = measured.add_batch(context, "asked", merge_measured(found), schema.names)
    return _ordered(gx.validate(batch, suite))


def _ordered(answered: Any) -> list[Any]:
    return sorted(answered.results, key=lambda r: r.expectation_config.id)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if _null(one) or _null(other):
        return _null(one) and _null(other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    return _time(one) == _time(other)


def _time(value: Any) -> str:
    """Times of pandas, of numpy and as text."""
    return str(value).replace("T", " ").removesuffix(".000000000").removesuffix(".000000")


def _null(value: Any) -> bool:
    return value is None or str(value) in ("nan", "NaT", "<NA>")


def _column(values: st.SearchStrategy[Any], rows: int, nulls: str) -> st.SearchStrategy[list[Any]]:
    if nulls == "all":
        return st.just([None] * rows)
    either = values if nulls == "none" else st.one_of(values, st.none())
    return st.lists(either, min_size=rows, max_size=rows)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.sampled_from([0, 1, 5, 12, 30]))
    number = st.sampled_from([-3.0, -1.0, 0.0, 0.1, 0.3, 1.5, 2.0, 100.0, float("nan")])
    whole = st.integers(-2, 4)
    kinds = {
        "f": number,
        "g": number,
        "s": number,
        "i": whole,
        "j": whole,
        "b": st.booleans(),
        "w": st.sampled_from(WORDS),
        "v": st.sampled_from(WORDS),
        "t": st.sampled_from(TIMES),
        "u": st.sampled_from(TIMES),
    }
    columns = {
        name: draw(_column(values, rows, draw(st.sampled_from(["none", "some", "some", "all"]))))
        for name, values in kinds.items()
    }
    return pa.table(columns, schema=SCHEMA)


@given(table=tables(), cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_answers_as_pandas_does(
    context: Any, tmp_path: Path, table: pa.Table, cuts: tuple[float, float]
) -> None:
    ends = [0, *sorted(int(cut * table.num_rows) for cut in cuts), table.num_rows]
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(ends)]
    expected = _pandas(context, tmp_path, table, ASKED)
    found = _measured(context, parts, ASKED)
    wrong = []
    for one, other in zip(found, expected, strict=True):
        raised = other.exception_info.get("raised_exception", True)
        assert not one.exception_info.get("raised_exception", True), one.exception_info
        keys = (
            "observed_value",
            "element_count",
            "missing_count",
            "unexpected_count",
            "partial_unexpected_list",
            "unexpected_percent",
        )
        pair = [{k: r.result.get(k) for k in keys} for r in (one, other)]
        if not raised and (bool(one.success) != bool(other.success) or not _same(*pair)):
            wrong.append((one.expectation_config.to_domain_obj(), one.success, other.success, pair))
    assert not wrong, "\n".join(map(str, wrong))


def test_every_operator_of_great_expectations_is_known() -> None:
    from great_expectations.expectations.conditions import Operator

    from nocturne.columns.values import OPERATORS

    assert [o.value for o in Operator] == list(OPERATORS)


def test_every_expectation_is_asked() -> None:
    assert {e["type"] for e in ASKED} == set(EXPECTATIONS)


SIX = pa.table(
    {
        "f": [1.0, 2.0, 3.0, None, math.nan, 4.0],
        "g": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        "s": [0.5] * 6,
        "i": [0, 1, 2, 3, 4, 5],
        "j": [2, 3, 4, 5, 6, 7],
        "b": [True] * 6,
        "w": ["a", "ab", "aa", "x1", None, "a"],
        "v": ["a", "ab", "aa", "x1", None, "b"],
        "t": [None] * 6,
        "u": TIMES,
    },
    schema=SCHEMA,
)
PASSES_AND_FAILS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "table_row_count_to_be_between": ({"min_value": 6}, {"max_value": 5}),
    "table_row_count_to_equal": ({"value": 6}, {"value": 5}),
    "column_to_exist": ({"column": "w"}, {"column": "nowhere"}),
    "table_column_count_to_be_between": ({"min_value": 10}, {"min_value": 11}),
    "table_column_count_to_equal": ({"value": 10}, {"value": 9}),
    "table_columns_to_match_ordered_list": (
        {"column_list": SCHEMA.names},
        {"column_list": SCHEMA.names[::-1]},
    ),
    "table_columns_to_match_set": (
        {"column_set": SCHEMA.names[::-1]},
        {"column_set": ["f", "nowhere"]},
    ),
    "column_values_to_not_be_null": (
        {"column": "f", "mostly": 0.6},
        {"column": "f", "mostly": 0.7},
    ),
    "column_values_to_be_null": ({"column": "t"}, {"column": "w"}),
    "column_proportion_of_non_null_values_to_be_between": (
        {"column": "f", "max_value": 0.7},
        {"column": "f", "min_value": 0.7},
    ),
    "column_max_to_be_between": (
        {"column": "f", "max_value": 4},
        {"column": "u", "max_value": "2024-01-03"},
    ),
    "column_min_to_be_between": ({"column": "f", "min_value": 1}, {"column": "i", "min_value": 1}),
    "column_mean_to_be_between": (
        {"column": "f", "min_value": 2.5, "max_value": 2.5},
        {"column": "i", "max_value": 2.4},
    ),
    "column_sum_to_be_between": (
        {"column": "f", "min_value": 10},
        {"column": "i", "max_value": 14},
    ),
    "column_stdev_to_be_between": (
        {"column": "s", "max_value": 0},
        {"column": "i", "max_value": 1.8},
    ),
    "column_values_to_be_between": (
        {"column": "f", "min_value": 1, "max_value": 4},
        {"column": "f", "min_value": 1, "strict_min": True},
    ),
    "column_values_to_be_in_set": (
        {"column": "w", "value_set": ["a", "ab", "aa", "x1"]},
        {"column": "w", "value_set": ["a", "ab", "aa"]},
    ),
    "column_values_to_not_be_in_set": (
        {"column": "i", "value_set": [6]},
        {"column": "i", "value_set": [5]},
    ),
    "column_values_to_match_regex": (
        {"column": "w", "regex": "^[a-z]"},
        {"column": "w", "regex": "^a"},
    ),
    "column_values_to_not_match_regex": (
        {"column": "w", "regex": "y"},
        {"column": "w", "regex": "1$"},
    ),
    "column_values_to_match_regex_list": (
        {"column": "w", "regex_list": ["^a", "^x"]},
        {"column": "w", "regex_list": ["^a", "^x"], "match_on": "all"},
    ),
    "column_values_to_not_match_regex_list": (
        {"column": "w", "regex_list": ["y", "z"]},
        {"column": "w", "regex_list": ["y", "x"]},
    ),
    "column_value_lengths_to_be_between": (
        {"column": "w", "min_value": 1, "max_value": 2},
        {"column": "w", "max_value": 1},
    ),
    "column_value_lengths_to_equal": (
        {"column": "w", "value": 2, "mostly": 0.6},
        {"column": "w", "value": 2},
    ),
    "column_distinct_values_to_be_in_set": (
        {"column": "w", "value_set": ["a", "ab", "aa", "x1", "y"]},
        {"column": "w", "value_set": ["a"]},
    ),
    "column_distinct_values_to_equal_set": (
        {"column": "b", "value_set": [True]},
        {"column": "b", "value_set": [True, False]},
    ),
    "column_distinct_values_to_contain_set": (
        {"column": "w", "value_set": ["x1"]},
        {"column": "w", "value_set": ["x1", "y"]},
    ),
    "column_unique_value_count_to_be_between": (
        {"column": "w", "max_value": 4},
        {"column": "w", "min_value": 5},
    ),
    "column_proportion_of_unique_values_to_be_between": (
        {"column": "i", "min_value": 1},
        {"column": "w", "min_value": 0.9},
    ),
    "column_most_common_value_to_be_in_set": (
        {"column": "w", "value_set": ["a"]},
        {"column": "w", "value_set": ["ab"]},
    ),
    "column_pair_values_to_be_equal": (
        {"column_A": "w", "column_B": "w"},
        {"column_A": "w", "column_B": "v"},
    ),
    "column_pair_values_a_to_be_greater_than_b": (
        {"column_A": "j", "column_B": "i"},
        {"column_A": "i", "column_B": "j"},
    ),
    "column_pair_values_to_be_in_set": (
        {"column_A": "i", "column_B": "j", "value_pairs_set": [[n, n + 2] for n in range(6)]},
        {"column_A": "i", "column_B": "j", "value_pairs_set": [[0, 2]]},
    ),
    "multicolumn_sum_to_equal": (
        {"column_list": ["i", "j"], "sum_total": 2, "mostly": 0.1},
        {"column_list": ["i", "j"], "sum_total": 2},
    ),
    "select_column_values_to_be_unique_within_record": (
        {"column_list": ["i", "j"]},
        {"column_list": ["i", "g"]},
    ),
}


def test_every_expectation_passes_and_fails(context: Any, tmp_path: Path) -> None:
    assert {f"expect_{type_}" for type_ in PASSES_AND_FAILS} == set(EXPECTATIONS)
    for place, expected in ((0, True), (1, False)):
        asked = [_one(type_, **kwargs[place]) for type_, kwargs in PASSES_AND_FAILS.items()]
        for answered in (
            _measured(context, [SIX.slice(0, 4), SIX.slice(4)], asked),
            _pandas(context, tmp_path, SIX, asked),
        ):
            assert not [
                r.exception_info for r in answered if r.exception_info.get("raised_exception", True)
            ]
            wrong = [str(r.expectation_config) for r in answered if bool(r.success) != expected]
            assert not wrong, f"expected {expected}: {wrong}"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([dt.date(2024, 1, 1), None, dt.date(2024, 1, 3)]),
        pa.array([0, None, 86_400_000], pa.date64()),
        pa.array([Decimal("1.50"), None, Decimal("2.00")]),
        pa.array([dt.time(1), None, dt.time(2)]),
        pa.array([dt.timedelta(1), None, dt.timedelta(2)]),
        pa.array([b"\xff", None, b""]),
        pa.array([b"\xff", None, b"\x00"], pa.binary(1)),
        pa.array([[1, None], None, []]),
        pa.array([{"a": 1}, None, {"a": None}]),
        pa.array([1.5, math.nan, 2.0], pa.float16()),
    ],
    ids=lambda column: str(column.type),
)
def test_nulls_are_counted_in_columns_of_every_type(
    context: Any, tmp_path: Path, column: pa.Array
) -> None:
    table = pa.table({"x": column})
    for mostly, expected in ((0.6, [True, False, True]), (0.7, [False, False, False])):
        asked = [
            _one("column_values_to_not_be_null", column="x", mostly=mostly),
            _one("column_values_to_be_null", column="x", mostly=mostly),
            _one(
                "column_proportion_of_non_null_values_to_be_between", column="x", min_value=mostly
            ),
        ]
        for answered in (
            _measured(context, [table.slice(0, 2), table.slice(2)], asked),
            _pandas(context, tmp_path, table, asked),
        ):
            assert [bool(r.success) for r in answered] == expected
            assert [r.result.get("unexpected_count") for r in answered] == [1, 2, None]


def test_what_has_no_measure_says_why() -> None:
    schema = pa.schema([("w", pa.string()), ("d", pa.date32())])
    for expectation, said in [
        (_one("column_median_to_be_between", column="w", min_value=1), "no counts that add up"),
        (_one("column_mean_to_be_between", column="w", min_value=1), "'w' holds text"),
        (_one("column_values_to_be_between", column="d", min_value=1), r"'d' holds date32\[day\]"),
    ]:
        with pytest.raises(NoMeasure, match=said):
            measures(expectation, schema)


def test_the_mean_of_a_constant_is_the_constant(context: Any) -> None:
    parts = [pa.table({"f": pa.array([0.1] * rows)}) for rows in (3, 1000, 77)]
    asked = [_one("column_mean_to_be_between", column="f", min_value=0.1, max_value=0.1)]
    [answer] = _measured(context, parts, asked)
    assert (answer.success, answer.result["observed_value"]) == (True, 0.1)


@pytest.mark.parametrize("far", [10**9, (1 << 60) + 1])
def test_a_deviation_is_right_where_values_are_large(context: Any, far: int) -> None:
    near = np.random.default_rng(3).integers(-50, 50, 3000)
    parts = [pa.table({"i": near[a : a + 1000] + far}) for a in (0, 1000, 2000)]
    exact = float(near.std(ddof=1))
    asked = [
        _one(
            "column_stdev_to_be_between",
            column="i",
            min_value=exact * 0.999999,
            max_value=exact * 1.000001,
        )
    ]
    [answer] = _measured(context, parts, asked)
    assert answer.success, answer.result
