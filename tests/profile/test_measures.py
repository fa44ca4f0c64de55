"""Measures merged over batches."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from nocturne.profile import Measurer
from nocturne.records import Measure


def test_the_extremes_of_times_are_those_of_all_batches() -> None:
    measure = Measure("moments", ("t",))
    measurer = Measurer([measure])
    for days in ([], [3, 1], [2]):
        values = pa.array([dt.datetime(2024, 1, day) for day in days], pa.timestamp("us"))
        measurer.update(pa.record_batch({"t": values}))
    found = measurer.result()[measure.key]
    assert (found.rows, found.minimum, found.maximum) == (
        3, "2024-01-01T00:00:00", "2024-01-03T00:00:00")  # fmt: skip
