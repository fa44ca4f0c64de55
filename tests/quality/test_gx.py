"""Answers about sensitive columns: no value in them, in messages of errors neither."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nocturne.codec import dump
from nocturne.quality import SuiteRequest, evaluate, expectation_records, gx
from nocturne.records.quality import QualityResult

SECRET = "topsecret"
TABLE = pa.table(
    {
        "x": [1.0, 2.0, 3.0, 4.0],
        "income": [31337.5, 2.0, 3.0, 4.0],
        "word": ["a", "b", "c", "d"],
        "name": [f"{SECRET}A", f"{SECRET}B", "c", "d"],
    }
)
QUANTILES = {"quantiles": [0.5], "value_ranges": [[0, 4]]}
WORDS = {"values": ["a", "b"], "weights": [0.5, 0.5]}
MEAN = "expect_column_mean_to_be_between"


def _asked(tmp_path: Path, type_: str, kwargs: dict[str, Any]) -> tuple[QualityResult, str]:
    """The answer, and all of its text."""
    suite = tmp_path / "s.yaml"
    suite.write_text(
        yaml.safe_dump({"name": "s", "expectations": [{"type": type_, "kwargs": kwargs}]}),
        encoding="utf-8",
    )
    pq.write_table(TABLE, tmp_path / "part.parquet")
    asked = SuiteRequest(suite, files=(tmp_path / "part.parquet",), sensitive=("income", "name"))
    result = evaluate({"input": asked})
    return result, dump(result)


@pytest.mark.parametrize(
    ("type_", "kwargs"),
    [
        (MEAN, {"column": "name", "min_value": 1}),
        ("expect_column_sum_to_be_between", {"column": "name", "min_value": 1}),
        ("expect_column_stdev_to_be_between", {"column": "name", "min_value": 1}),
        ("expect_column_max_to_be_between", {"column": "name", "min_value": 1}),
        (
            "expect_column_value_z_scores_to_be_less_than",
            {"column": "name", "threshold": 1, "double_sided": True},
        ),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "x", "column_B": "name"}),
        (
            MEAN,
            {
                "column": "x",
                "min_value": 1,
                "row_condition": {
                    "type": "comparison",
                    "column": {"name": "name"},
                    "operator": ">",
                    "parameter": 3,
                },
            },
        ),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["x", "name"], "sum_total": 1}),
    ],
)
def test_an_error_about_a_sensitive_column_shows_no_value(
    tmp_path: Path,
    type_: str,
    kwargs: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    result, pages = _asked(tmp_path, type_, kwargs)
    [answer] = result.expectations
    assert not answer.success
    assert answer.detail.startswith("could not be evaluated: the message is hidden: sensitive")
    assert pages
    shown = (answer.detail, answer.observed, pages, caplog.text, *capfd.readouterr())
    assert not [text for text in shown if SECRET in text]


def test_an_error_about_another_column_is_said(tmp_path: Path) -> None:
    result, _ = _asked(tmp_path, MEAN, {"column": "word", "min_value": 1})
    assert "Could not convert string" in result.expectations[0].detail


@pytest.mark.parametrize(
    ("type_", "kwargs"),
    [
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "income", "quantile_ranges": QUANTILES},
        ),
        (
            "expect_column_kl_divergence_to_be_less_than",
            {"column": "name", "threshold": 0.1, "partition_object": WORDS},
        ),
        ("expect_column_most_common_value_to_be_in_set", {"column": "name", "value_set": ["a"]}),
    ],
)
def test_what_was_observed_of_a_sensitive_column_is_hidden_with_its_details(
    tmp_path: Path, type_: str, kwargs: dict[str, Any]
) -> None:
    result, pages = _asked(tmp_path, type_, kwargs)
    assert result.expectations[0].observed == "hidden: sensitive"
    assert pages
    assert SECRET not in pages
    assert "31337" not in pages


def _raised(column: str, message: str) -> SimpleNamespace:
    return SimpleNamespace(
        expectation_config=SimpleNamespace(type=MEAN, kwargs={"column": column}),
        exception_info={"a metric": {"raised_exception": True, "exception_message": message}},
        result={},
    )


def test_an_error_that_several_expectations_share_is_hidden_in_all_of_them() -> None:
    """As Spark gives one where it computes several columns in one go."""
    answers: Any = SimpleNamespace(
        results=[_raised("x", SECRET), _raised("name", SECRET), _raised("word", "no number")]
    )
    gx.hide(answers, frozenset({"name"}))
    said = [
        list(expectation_records.exception_messages(answer.exception_info))
        for answer in answers.results
    ]
    assert said == [["the message is hidden: sensitive"]] * 2 + [["no number"]]
