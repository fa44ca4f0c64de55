"""Old days and times that Spark has written by the Julian calendar are refused, and no others."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import MakeRun, sample
from nocturne.columns.normal import plain
from nocturne.errors import InputError
from nocturne.source.calendar import checked
from nocturne.source.reading import open_parquet, read_batches
from nocturne.worker.split import run_split

OLD, NEW = dt.datetime(1, 1, 1), dt.datetime(2024, 1, 1)
LAST, FIRST = dt.datetime(1582, 10, 4), dt.datetime(1582, 10, 15)
CLOCKS = dt.datetime(1899, 12, 31)
LEGACY = {"version": "3.5.0", "legacyDateTime": "", "legacyINT96": "", "timeZone": "UTC"}
DATE, UTC, INT96 = pa.date32(), pa.timestamp("us", "UTC"), pa.timestamp("us")


def _spark(table: pa.Table, said: dict[str, str]) -> pa.Table:
    """The table with what Spark says in the footers of its files."""
    return table.replace_schema_metadata({f"org.apache.spark.{k}": v for k, v in said.items()})


def _read(path: Path, values: list[Any], type_: pa.DataType, said: dict[str, str]) -> pa.Array:
    table = _spark(pa.table({"c": pa.array(values, type_), "x": range(len(values))}), said)
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    with open_parquet(path) as source:
        [_] = checked(read_batches(source, path, [0], ["x"], 10), source, path)
        [batch] = checked(read_batches(source, path, [0], ["c"], 10), source, path)
    return batch.column("c")


@pytest.mark.parametrize(
    ("values", "type_", "said"),
    [
        ([NEW, None, OLD], DATE, LEGACY),
        ([LAST], DATE, LEGACY),
        ([OLD], DATE, {"version": "2.4.8"}),
        ([OLD], INT96, LEGACY),
        ([OLD], INT96, {"version": "3.0.3"}),
        ([CLOCKS], INT96, LEGACY | {"timeZone": "Europe/Berlin"}),
        ([CLOCKS], INT96, {"version": "2.4.8"}),  # which says no zone
        ([[NEW], None, [NEW, OLD]], pa.list_(DATE), LEGACY),
        ([{"m": [("a", OLD)]}, None], pa.struct([("m", pa.map_(pa.string(), DATE))]), LEGACY),
    ],
)
def test_what_is_by_the_old_calendar_is_refused(
    tmp_path: Path, values: list[Any], type_: pa.DataType, said: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=r"^c.parquet has days before .* \(c\) that Spark has"):
        _read(tmp_path / "c.parquet", values, type_, said)


@pytest.mark.parametrize(
    ("values", "type_", "said"),
    [
        ([OLD, None], DATE, {}),
        ([OLD, None], DATE, {"version": "3.0.0"}),
        ([OLD], INT96, {"version": "3.1.0", "legacyDateTime": ""}),
        ([NEW, FIRST, None], DATE, LEGACY),
        ([NEW, CLOCKS, None], INT96, LEGACY),
        ([None], DATE, LEGACY),
        ([[NEW], None, []], pa.list_(DATE), LEGACY),
        (["1582-01-01"], pa.string(), LEGACY),
    ],
)
def test_what_is_not_is_read(
    tmp_path: Path, values: list[Any], type_: pa.DataType, said: dict[str, str]
) -> None:
    column = _read(tmp_path / "c.parquet", values, type_, said)
    assert plain(column).equals(pa.array(values, type_))


@pytest.mark.parametrize("zone", ["UTC", None])
def test_times_in_int64_are_by_it_if_they_have_a_zone(make_run: MakeRun, zone: str | None) -> None:
    """Spark never converts its TIMESTAMP_NTZ."""
    times = pa.array([OLD] * 10, pa.timestamp("us", zone))
    table = _spark(sample(10).append_column("at", times), LEGACY)
    run = make_run({"p.parquet": table}).changed(passthrough=("at",))
    if zone is None:
        assert run_split(run, run.plan.splits[0]).rows_out == 10
        return
    with pytest.raises(InputError, match=r"\(at\) .* scoring.reader: spark"):
        run_split(run, run.plan.splits[0])
    unread = run.changed(passthrough=())
    assert run_split(unread, unread.plan.splits[0]).rows_out == 10
