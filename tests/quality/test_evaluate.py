"""Real Great Expectations on real Parquet files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nocturne.codec import dump, load
from nocturne.errors import ConfigError
from nocturne.quality import SuiteRequest, evaluate
from nocturne.records.quality import Expectation, QualityResult

EVIL = "<script>alert(1)</script>"
TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "count": pa.array([1, None, 9, 9], pa.int32()),
        "x": pa.array([0.1, float("nan"), None, 0.4], pa.float32()),
        "word": pa.array(["a", "b", EVIL, None]),
        "when": pa.array(
            [dt.datetime(2013, 4, 1, h, tzinfo=dt.UTC) for h in range(4)],
            pa.timestamp("us", "UTC"),
        ),
        "local": pa.array([dt.datetime(2013, 4, 1, h) for h in range(4)], pa.timestamp("us")),
    }
)

Check = tuple[str, dict[str, Any]]


def ask(tmp_path: Path, checks: Sequence[Check], table: pa.Table = TABLE) -> QualityResult:
    path = tmp_path / "suite.yaml"
    listed = [{"type": t, "kwargs": kwargs} for t, kwargs in checks]
    path.write_text(yaml.safe_dump({"name": "demo", "expectations": listed}), encoding="utf-8")
    pq.write_table(table, tmp_path / "part.parquet")
    asked = SuiteRequest(path, files=(tmp_path / "part.parquet",))
    return evaluate({"input": asked})


def answer(tmp_path: Path, type_: str, table: pa.Table = TABLE, **kwargs: Any) -> Expectation:
    return ask(tmp_path, [(type_, kwargs)], table).expectations[0]


def test_answers_come_in_the_suites_order_though_failures_come_first_from_gx(
    tmp_path: Path,
) -> None:
    checks: list[Check] = [
        ("expect_table_row_count_to_equal", {"value": 4}),
        ("expect_column_mean_to_be_between", {"column": "word", "min_value": 1}),
        ("expect_column_values_to_not_be_null", {"column": "id"}),
        ("expect_column_values_to_be_unique", {"column": "count"}),
    ]
    result = ask(tmp_path, checks)
    assert [e.type for e in result.expectations] == [t for t, _ in checks]
    assert [e.success for e in result.expectations] == [True, False, True, False]
    assert len(result.failed) == 2
    assert {e.suite for e in result.expectations} == {"input"}
    assert load(QualityResult, dump(result)) == result


WORDS: dict[str, tuple[Check, bool, str, str]] = {
    "a failed row check": (
        ("expect_column_values_to_be_between", {"column": "count", "max_value": 5}),
        False,
        "2 of 3 (66.67%) values unexpected, such as 9; 1 null",
        "count values must be less than or equal to 5.",
    ),
    "NaN is null": (
        ("expect_column_values_to_not_be_null", {"column": "x"}),
        False,
        "2 of 4 (50.00%) values unexpected",
        "x values must never be null.",
    ),
    "a measure": (
        ("expect_column_max_to_be_between", {"column": "id", "max_value": 3}),
        False,
        "4",
        "id maximum value must be less than or equal to 3.",
    ),
    "columns": (
        ("expect_table_columns_to_match_set", {"column_set": ["id", "gone"]}),
        False,
        "unexpected: count, local, when, word, x; missing: gone",
        "Must have exactly these columns (in any order): id gone",
    ),
    "a quantile, on which GX's checkpoint fails under numpy 2": (
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "id", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 4]]}},
        ),
        True,
        "3",
        "column=id, quantile_ranges={quantiles: 0.5, value_ranges: 0, 4}",
    ),
    "a date against moments with a zone": (
        ("expect_column_values_to_be_between", {"column": "when", "min_value": "2013-04-01"}),
        True,
        "0 of 4 values unexpected",
        "when values must be greater than or equal to 2013-04-01T00:00:00+00:00.",
    ),
    "a date against moments without one": (
        ("expect_column_values_to_be_between", {"column": "local", "max_value": "2013-04-02"}),
        True,
        "0 of 4 values unexpected",
        "local values must be less than or equal to 2013-04-02T00:00:00.",
    ),
    "keys": (
        ("expect_compound_columns_to_be_unique", {"column_list": ["count", "x"]}),
        True,
        "0 of 3 values unexpected; 1 null",
        "Values for given compound columns must be unique together: count x",
    ),
    "a condition": (
        (
            "expect_column_values_to_not_be_null",
            {
                "column": "word",
                "row_condition": {
                    "type": "comparison",
                    "column": {"name": "id"},
                    "operator": "<",
                    "parameter": 4,
                },
            },
        ),
        True,
        "0 of 3 values unexpected",
        "If id < 4, then word values must never be null.",
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_an_answer_says_in_words_what_was_seen_and_what_was_asked(
    tmp_path: Path, name: str
) -> None:
    (type_, kwargs), success, observed, detail = WORDS[name]
    found = answer(tmp_path, type_, **kwargs)
    assert (found.success, found.observed, found.detail) == (success, observed, detail)


def test_an_expectation_that_great_expectations_cant_evaluate_has_failed_and_says_why(
    tmp_path: Path,
) -> None:
    found = answer(tmp_path, "expect_column_mean_to_be_between", column="word", min_value=1)
    assert (found.success, found.observed) == (False, "not evaluated")
    assert found.detail.startswith("could not be evaluated: ")
    assert "word mean must be greater than or equal to 1" in found.detail


def test_an_expectation_that_raises_through_costs_the_others_nothing(tmp_path: Path) -> None:
    result = ask(
        tmp_path,
        [
            ("expect_column_values_to_not_be_null", {"column": "id"}),
            (
                "expect_column_kl_divergence_to_be_less_than",
                {"column": "word", "threshold": 0.1, "partition_object": {}},
            ),
        ],
    )
    assert [e.success for e in result.expectations] == [True, False]
    assert "Invalid partition_object provided" in result.expectations[1].detail


def test_arguments_that_great_expectations_refuses_are_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expectations\[0\]: .*Great Expectations refuses its"):
        answer(tmp_path, "expect_table_row_count_to_be_between", min_value=5, max_value=1)


def test_a_suite_about_names_needs_no_values(tmp_path: Path) -> None:
    checks: list[Check] = [
        ("expect_table_columns_to_match_ordered_list", {"column_list": TABLE.column_names}),
        ("expect_column_to_exist", {"column": "gone"}),
    ]
    assert [e.success for e in ask(tmp_path, checks).expectations] == [True, False]


def test_a_severity_other_than_critical_is_told(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "name: demo\nexpectations:\n  - {type: expect_table_row_count_to_equal, severity: info,"
        " kwargs: {value: 4}}\n",
        encoding="utf-8",
    )
    pq.write_table(TABLE, tmp_path / "part.parquet")
    result = evaluate({"output": SuiteRequest(path, files=(tmp_path / "part.parquet",))})
    assert result.expectations[0].detail == "Must have exactly 4 rows. Severity: info."


def test_no_rows_pass_checks_of_rows_and_fail_a_row_count(tmp_path: Path) -> None:
    checks: list[Check] = [
        ("expect_column_values_to_not_be_null", {"column": "id"}),
        ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ]
    result = ask(tmp_path, checks, TABLE.schema.empty_table())
    assert [e.success for e in result.expectations] == [True, False]


def test_no_suite_is_an_empty_answer(tmp_path: Path) -> None:
    assert evaluate({}) == QualityResult()


def test_values_to_follow_and_notes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    notes = {"format": "markdown", "content": ["Ask the airport.", "Then score again."]}
    expectations: list[dict[str, Any]] = [
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 4}, "notes": "Count them."},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "count", "max_value": 5},
            "meta": {"notes": notes},
        },
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "id", "max_value": 1}},
        {"type": "expect_column_to_exist", "kwargs": {"column": "id"}},
        {
            "type": "expect_column_most_common_value_to_be_in_set",
            "kwargs": {"column": "word", "value_set": ["a"]},
        },
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "word", "min_value": 1}},
    ]
    path.write_text(yaml.safe_dump({"name": "demo", "expectations": expectations}))
    pq.write_table(TABLE, tmp_path / "part.parquet")
    asked = SuiteRequest(path, files=(tmp_path / "part.parquet",))
    kept = evaluate({"input": asked}).expectations
    assert [e.value for e in kept] == [4.0, pytest.approx(2 / 3), 2.5, None, None, None]
    assert [e.notes for e in kept[:2]] == ["Count them.", "Ask the airport. Then score again."]
    hidden = replace(asked, sensitive=("id", "count"))
    assert [e.value for e in evaluate({"input": hidden}).expectations[:3]] == [
        4.0,
        pytest.approx(2 / 3),
        None,
    ]


def test_at_most_a_few_short_examples_are_shown(tmp_path: Path) -> None:
    table = pa.table({"word": ["x" * 5000 + str(i) for i in range(100)]})
    found = answer(
        tmp_path, "expect_column_values_to_be_in_set", table, column="word", value_set=["a"]
    )
    assert len(found.observed) < 300
    assert found.observed.startswith("100 of 100 (100.00%) values unexpected, such as xxx")


def test_an_expectation_without_an_answer_is_an_error_and_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.quality import gx

    whole = gx.build
    monkeypatch.setattr(gx, "build", lambda name, path, checks: whole(name, path, checks[:1]))
    checks: list[Check] = [
        ("expect_column_values_to_not_be_null", {"column": "id"}),
        ("expect_column_values_to_be_null", {"column": "id"}),
    ]
    with pytest.raises(ConfigError, match="Great Expectations answered 1 of 2 expectations"):
        ask(tmp_path, checks)


def test_a_sentence_is_asked_for_once_however_many_nights_ask_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.quality import expectation_records

    asked, whole = [], expectation_records._rendered
    monkeypatch.setattr(expectation_records, "_SENTENCES", {})
    monkeypatch.setattr(
        expectation_records, "_rendered", lambda c: asked.append(c.type) or whole(c)
    )
    type_ = "expect_column_values_to_be_between"
    said = [answer(tmp_path, type_, column="count", max_value=m).detail for m in (5, 5, 6)]
    assert said == [f"count values must be less than or equal to {m}." for m in (5, 5, 6)]
    assert len(asked) == 2


def test_the_watch_is_told_of_the_checks(tmp_path: Path) -> None:
    from nocturne.stopwatch import Stopwatch

    path = tmp_path / "suite.yaml"
    checks = [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 4}}]
    path.write_text(yaml.safe_dump({"name": "demo", "expectations": checks}))
    pq.write_table(TABLE, tmp_path / "part.parquet")
    watch = Stopwatch()
    evaluate({"input": SuiteRequest(path, files=(tmp_path / "part.parquet",))}, watch=watch)
    assert list(watch.seconds) == ["check"]


IMAGE = "<img src=x onerror=EVIL()>"
QUOTES = 'q" onmouseover="EVIL()" x=\''
ENDS = "</script><script src=EVIL></script>"
COMMENT = "<!--EVIL $column"


def test_names_arguments_and_notes_may_be_any_text(tmp_path: Path) -> None:
    """Of the data's columns, of the suite's author and of the run's title."""
    table = pa.table({IMAGE: [1.0, 2.0, None], QUOTES: ["a", IMAGE, ENDS], ENDS: [1, 2, 3]})
    words, numbers = [IMAGE, ENDS, QUOTES], [IMAGE, ENDS]
    checks: list[Check] = [
        *(("expect_column_values_to_not_be_null", {"column": name}) for name in words),
        ("expect_column_mean_to_be_between", {"column": IMAGE, "min_value": 5}),
        ("expect_column_values_to_be_in_set", {"column": QUOTES, "value_set": ["a", *words]}),
        ("expect_column_values_to_match_regex", {"column": QUOTES, "regex": f"(?<!b){IMAGE}"}),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": ENDS, "column_B": IMAGE}),
        ("expect_multicolumn_sum_to_equal", {"column_list": numbers, "sum_total": 3}),
        ("expect_table_columns_to_match_ordered_list", {"column_list": words}),
        ("expect_table_columns_to_match_set", {"column_set": [*words, COMMENT]}),
        ("expect_column_to_exist", {"column": ENDS}),
        ("expect_column_most_common_value_to_be_in_set", {"column": QUOTES, "value_set": words}),
        (
            "expect_column_kl_divergence_to_be_less_than",
            {
                "column": QUOTES,
                "threshold": 0.1,
                "partition_object": {"values": ["a", IMAGE], "weights": [0.5, 0.5]},
            },
        ),
    ]
    notes = {"format": "markdown", "content": [IMAGE, "[x](javascript:EVIL())"]}
    expectations = [
        {"type": type_, "kwargs": kwargs, "meta": {"notes": notes, IMAGE: IMAGE}, "notes": IMAGE}
        for type_, kwargs in checks
    ]
    expectations[0]["description"] = f"{IMAGE} $column"
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"name": IMAGE, "expectations": expectations}))
    pq.write_table(table, tmp_path / "part.parquet")
    asked = {"input": SuiteRequest(suite, files=(tmp_path / "part.parquet",))}
    result = evaluate(asked)
    assert len(result.expectations) == len(checks)
    assert result.expectations[0].notes == IMAGE
    assert IMAGE in result.expectations[0].detail


def test_columns_that_are_in_other_places_are_named(tmp_path: Path) -> None:
    told = answer(
        tmp_path, "expect_table_columns_to_match_ordered_list", column_list=TABLE.column_names[::-1]
    )
    assert not told.success
    assert "Expected Column Position: 0" in told.observed
