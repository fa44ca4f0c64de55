"""The bins that drift compared, as a chart shows them."""

from __future__ import annotations

import datetime as dt

import pytest

from nocturne.drift import compared_bins
from nocturne.drift.bins import count_vector, quantile_edges
from nocturne.records.buckets import bucket
from nocturne.records.drift import ColumnBaseline
from nocturne.records.profile import ColumnProfile


def test_a_night_is_drawn_beside_what_it_was_compared_with() -> None:
    days = {
        f"2024-01-{7 * week + day:02d}": (day == 1, day != 1) for week in range(4) for day in (1, 2)
    }
    trained = ColumnBaseline(
        "category",
        0,
        (),
        ("a", "b"),
        (400, 400, 0, 0),
        {key: (100 * int(is_a), 100 * int(is_b), 0, 0) for key, (is_a, is_b) in days.items()},
    )
    monday = compared_bins(trained, (50, 0, 0, 0), dt.date(2024, 1, 29))
    assert monday.by_weekday
    assert monday.reference == "the 4 Mondays of the training data"
    assert (monday.labels, monday.current, monday.baseline) == (("a", "b"), (1, 0), (1, 0))
    sunday = compared_bins(trained, (50, 0, 0, 0), dt.date(2024, 1, 28))
    assert not sunday.by_weekday
    assert sunday.baseline == (0.5, 0.5)


def test_the_bins_of_numbers_are_named_by_their_ends_and_all_rows_are_in_one() -> None:
    import numpy as np

    ids = bucket(np.arange(100, dtype=np.float32), 0.0)
    counts = {str(id_): int((ids == id_).sum()) for id_ in np.unique(ids)}
    profile = ColumnProfile("numeric", 110, 10, counts)
    edges = quantile_edges(profile)
    vector = count_vector(profile, edges, ())
    trained = ColumnBaseline("numeric", 0.0, edges, (), vector, {"2024-01-01": vector})
    shown = compared_bins(trained, vector)
    assert shown.labels[0] == "below 0"
    assert shown.labels[-1] == "no value"
    assert "other values" not in shown.labels
    assert shown.current[-1] == pytest.approx(10 / 110)
    assert sum(shown.current) == sum(shown.baseline) == pytest.approx(1)
    assert shown.reference == "the training data"
