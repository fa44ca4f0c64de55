"""A file of quarantined rows is opened in spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from nocturne.operate.rows import _line


@pytest.mark.parametrize("char", [*"=+-@|%\t\r\n＝＋－＠﹦﹢﹣﹫"])
@pytest.mark.parametrize("before", ["", " ", "\ufeff", "\u200b", "\u2060 ", "\u00a0", "\x00"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(char: str, before: str) -> None:
    [[cell]] = csv.reader(io.StringIO(_line([f"{before}{char}1+1"]), newline=""))
    assert cell == f"'{before}{char}1+1" or (before and char in "\t\r\n")


@pytest.mark.parametrize("value", ["plain", "", "1-1", "日本", "\ufeffplain", -1, 1.5])
def test_other_values_stay_as_they_are(value: Any) -> None:
    [[cell]] = csv.reader(io.StringIO(_line([value]), newline=""))
    assert cell == str(value)
