"""Which columns a suite reads, and whether a table has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError, choices, did_you_mean
from nocturne.quality.suites import Suite, load_suite
from nocturne.records.quality import condition_columns

__all__ = ["NAMES_ONLY", "check_columns", "columns", "columns_of"]

NAMES_ONLY = frozenset(
    (
        "expect_column_to_exist",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
    )
)
"""Expectations about the names of columns: they read no values, and a column that they name may
be missing (then they fail)."""


def columns_of(expectation: Mapping[str, Any]) -> Iterator[str]:
    """The columns whose values one expectation reads."""
    if expectation["type"] in NAMES_ONLY:
        return
    kwargs = expectation["kwargs"]
    for name in ("column", "column_A", "column_B"):
        if name in kwargs:
            yield kwargs[name]
    yield from kwargs.get("column_list") or ()
    yield from condition_columns(kwargs.get("row_condition"))


def columns(suite: Suite) -> set[str]:
    """The columns whose values the suite reads; only these are read from the files."""
    return {name for e in suite["expectations"] for name in columns_of(e)}


def check_columns(path: Path, names: Iterable[str]) -> None:
    """Check the suite in ``path`` against a table with the columns ``names``.

    Raises:
        ConfigError: the suite is wrong, or reads columns that the table lacks.
    """
    available = list(names)
    missing: dict[str, str] = {}
    for index, expectation in enumerate(load_suite(path)["expectations"]):
        for name in columns_of(expectation):
            if name not in available:
                missing.setdefault(name, f"expectations[{index}], {expectation['type']}")
    if not missing:
        return
    listed = [
        f"{name!r} of {place}{did_you_mean(name, available)}"
        for name, place in sorted(missing.items())
    ]
    raise ConfigError(
        f"{path}: the suite reads columns that the table lacks: {', '.join(listed)}. The table has "
        f"{choices(available, 40)}",
        path=str(path),
        missing=sorted(missing),
    )
