"""Reasons that were stored before a column was sensitive."""

from __future__ import annotations

import pytest

from nocturne.operate.sensitive import text_without_values

HIDDEN = "(not shown: quality.sensitive)"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (
            "2 rows have a key that another row has too, such as word=ab, id=3 (2 times)",
            f"2 rows have a key that another row has too {HIDDEN}",
        ),
        (
            "drifted in a segment alone: x where word=ab (PSI 1.20, alarm at 0.25)",
            f"drifted in a segment alone {HIDDEN}",
        ),
        (
            "p 2026-01-01 is held, nothing was published: 1 of 2 expectations failed: "
            "expect_column_values_to_be_in_set on word (in): 1 of 9, such as\nab. Report: r.html",
            "p 2026-01-01 is held, nothing was published: 1 of 2 expectations failed " + HIDDEN,
        ),
        (
            "1 of 2 expectations failed: expect_column_pair_values_to_be_equal on x, word (out): "
            "7 of 9 values unexpected, such as 1, ab",
            f"1 of 2 expectations failed {HIDDEN}",
        ),
        (
            "as the footers show:\n  expect_column_max_to_be_between on word: a value is 9, "
            "above 8\n  expect_column_max_to_be_between on x: a value is 8, above 7",
            "as the footers show:\n  expect_column_max_to_be_between on word: a value is "
            "above 8\n  expect_column_max_to_be_between on x: a value is 8, above 7",
        ),
    ],
)
def test_a_stored_text_is_cut_before_values_of_a_sensitive_column(stored: str, shown: str) -> None:
    assert text_without_values(stored, {"word"}) == shown
    assert text_without_values(stored, {"wor", "ord"}) == stored
    assert text_without_values(stored, ()) == stored


def test_a_text_without_values_stays_as_it_is() -> None:
    said = "1 column drifted: word (PSI 1.20, alarm at 0.25)"
    assert text_without_values(said, {"word"}) == said
