"""SIGKILL at random moments between the first split and the commit, while somebody reads.

``NOCTURNE_CHAOS`` trials (the default is for `make test`, `make chaos` makes 220), and a third as
many for each lake format, each with a seed of its own; how many hit which phase is printed at the
end. What is killed: the driver alone, so that its workers live on while the next run starts; one
worker; or all of them.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psutil
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot
from chaos.nights import CORES, DAY, Root, rows_of
from chaos.strangers import Iceberg
from nocturne.codec import load
from nocturne.records.result import SplitResult
from waiting import gone, until

TRIALS = int(os.environ.get("NOCTURNE_CHAOS", "4"))
FIRST_SEED = int(os.environ.get("NOCTURNE_CHAOS_SEED", "2026"))
THROTTLE = 0.06
"""Seconds that each micro-batch takes longer: the window is then some seconds wide."""


@pytest.fixture(scope="module")
def nights() -> dict[str, dict[str, str]]:
    """Table format -> file name -> sha256 of a night that nobody disturbed."""
    return {}


@pytest.fixture
def undisturbed(nights: dict[str, dict[str, str]], table_format: str) -> dict[str, str]:
    """Filled by the first trial of a format."""
    return nights.setdefault(table_format, {})


@pytest.mark.parametrize(
    ("table_format", "seed"),
    [
        *(("parquet", seed) for seed in range(FIRST_SEED, FIRST_SEED + TRIALS)),
        *(
            pytest.param(lake, seed, marks=pytest.mark.long)
            for lake in ("delta", "delta on s3", "iceberg", "iceberg on s3")
            for seed in range(FIRST_SEED, FIRST_SEED + TRIALS // 3)
        ),
    ],
)
def test_killed_at_a_random_moment(
    make_root: MakeRoot,
    undisturbed: dict[str, str],
    record_property: Callable[[str, object], None],
    seed: int,
) -> None:
    chance = random.Random(seed)
    root = make_root()
    if not undisturbed:
        other = make_root()
        assert other.night() == 0
        undisturbed.update(other.published())

    pid = root.start_night(throttle=THROTTLE)
    until(root.attempts, "a split that is begun")
    time.sleep(chance.uniform(0, 1.5))
    over = gone(pid)
    phase, before = "5 over already" if over else _phase(root), root.decided()
    whom = _kill(pid, chance.choice(("driver", "worker", "all")))
    assert not _part_seen(root, undisturbed, seed)
    if whom == "worker":
        assert root.wait(pid) in (0, 75)
    else:
        assert root.wait(pid) in (0, -signal.SIGKILL)
    record_property("seed", seed)
    record_property("hit", f"{phase}, {whom} killed")

    again = root.start_night()
    while not gone(again):  # a reader looks all the time
        assert not _part_seen(root, undisturbed, seed), "a reader saw a part of a night"
        time.sleep(0.005)
    assert root.wait(again) == 0

    root.check()
    assert root.published() == undisturbed
    assert {n: i for n, i in root.decided().items() if n in before} == before
    assert _scored_twice(root, before) <= CORES
    root.end()  # orphaned workers that still score change nothing
    assert root.gc() == 0
    left = [name for name in root.files() if "/attempts" in name or ".tmp" in name]
    assert not left


def _phase(root: Root) -> str:
    """What the night is at, by what lies on the disk."""
    decided = len(root.decided())
    if [*root.place("manifests").glob("*.json")]:
        return "4 commit and after"
    if root.of_runs("judgement.json"):
        return "3 judged"
    return "2 scored" if decided == 18 else "1 scoring"


def _kill(driver: int, whom: str) -> str:
    """Who was killed: once all splits are scored there is no worker any more."""
    process = psutil.Process(driver)
    with suppress(psutil.NoSuchProcess):  # it ended between the look and the kill
        alive = [p for p in process.children() if p.status() != psutil.STATUS_ZOMBIE]
        if whom == "worker" and alive:
            alive[0].kill()
            return whom
    if whom == "all":
        os.killpg(driver, signal.SIGKILL)
        return whom
    process.kill()
    return "driver"


def _part_seen(root: Root, night: dict[str, str], seed: int) -> tuple[list[str], int] | None:
    """What a reader of the table sees, if it is neither no night nor this one.

    The format's own library counts rows, or by other seeds polars or DuckDB.
    """
    names, rows = root.ask(lambda: _read(root, seed))
    is_whole = sorted(names) == sorted(night) and rows == _all(root)
    return (names, rows) if names and not is_whole else None


def _read(root: Root, seed: int) -> tuple[list[str], int]:
    """The names of the files, and the number of rows, as a reader of the format finds them."""
    if (root.scores / "_delta_log").is_dir():
        from deltalake import DeltaTable

        options = {"allow_http": "true"} if root.bucket else None
        table = DeltaTable(str(root.scores), storage_options=options)
        where = [("ds", "=", DAY)]
        names = [Path(uri).name for uri in table.file_uris(partition_filters=where)]
        return names, _count(table, where, options, seed)
    table_format = root.load().pipeline.output.format
    if table_format == "iceberg":
        return Iceberg(root).night(DAY, seed)
    if table_format == "delta":  # there was no table a moment ago, whatever lies there by now
        return [], 0
    try:
        names = [path.name for path in root.output.iterdir()]
    except FileNotFoundError:
        return [], 0
    return names, sum(len(rows_of(root.output / name)) for name in names)


def _count(table: Any, where: list[tuple[str, str, str]], options: Any, seed: int) -> int:
    """The rows of a version of a Delta table, by one reader of three."""
    if seed % 3 == 0:
        return len(table.to_pyarrow_table(partitions=where, columns=["id"]))
    if seed % 3 == 1:
        rows = pl.scan_delta(table.table_uri, version=table.version(), storage_options=options)
        return int(rows.filter(pl.col("ds") == dt.date.fromisoformat(DAY)).collect().height)
    dataset = table.to_pyarrow_dataset(partitions=where)
    [(count,)] = duckdb.from_arrow(dataset).aggregate("count(*)").fetchall()
    return int(count)


def _all(root: Root) -> int:
    tables = [
        pq.read_table(path, columns=["id"], partitioning=None)
        for path in sorted(root.input.glob("*.parquet"))
    ]
    return sum(len(table) - table["id"].null_count for table in tables)


def _scored_twice(root: Root, before: dict[str, int | str]) -> int:
    """Attempts that were begun and are not the ones that count: work that was done in vain."""
    runs = root.place("runs")
    names = (name.removeprefix("runs/") for name in root.decided())
    results = [load(SplitResult, (runs / name).read_bytes()) for name in names]
    assert len(results) == 18
    counted = {result.file for result in results}
    begun = {path.name for path in root.attempts()}
    return len(begun - counted)
