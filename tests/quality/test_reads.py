"""Which columns a suite reads, and the refusal of a table that lacks them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nocturne.errors import ConfigError
from nocturne.quality import check_columns, columns

SUITE = {
    "name": "demo",
    "expectations": [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {
                "column": "a",
                "row_condition": {
                    "type": "and",
                    "conditions": [
                        {"type": "nullity", "column": {"name": "f"}, "is_null": False},
                        {
                            "type": "comparison",
                            "column": {"name": "g"},
                            "operator": ">",
                            "parameter": 1,
                        },
                    ],
                },
            },
        },
        {
            "type": "expect_column_pair_values_to_be_equal",
            "kwargs": {"column_A": "b", "column_B": "c"},
        },
        {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["d", "e"]}},
        {"type": "expect_column_to_exist", "kwargs": {"column": "named_only"}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 3}},
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(SUITE), encoding="utf-8")
    return path


def test_columns_are_those_whose_values_are_read_in_arguments_and_conditions() -> None:
    assert columns(SUITE) == set("abcdefg")


def test_a_table_with_the_columns_passes_though_one_that_must_exist_is_missing(path: Path) -> None:
    check_columns(path, "abcdefg")


def test_missing_columns_are_all_named_with_where_and_what_the_table_has(path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        check_columns(path, ["a", "b", "cc", "d", "e", "f"])
    said = str(error.value)
    assert str(path) in said
    assert (
        "'c' of expectations[1], expect_column_pair_values_to_be_equal (did you mean 'cc'?)" in said
    )
    assert "'g' of expectations[0], expect_column_values_to_not_be_null" in said
    assert "The table has a, b, cc, d, e, f" in said
    assert error.value.missing == ["c", "g"]
