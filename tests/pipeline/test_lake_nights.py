"""Nights on Spark into lake tables, as the command line scores them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from commands import nocturne
from forked import in_child
from formats import CATALOG, OUTPUT, catalog_in
from nocturne import config
from pipeline.conftest import DAYS
from pipeline.test_arms import register
from pipeline.test_shape import TWO

Project = Callable[..., config.Loaded]

PINNED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}


@pytest.fixture(params=["delta", pytest.param("iceberg", marks=pytest.mark.long)])
def lake(
    request: pytest.FixtureRequest,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A project that publishes into a lake table."""
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    settings = {f"output__{name}": value for name, value in OUTPUT[request.param].items()}
    return partial(project, **settings, **PINNED)


def read(loaded: config.Loaded, nights: int | None = None) -> pa.Table:
    """The rows of the table, or of what it was after so many nights, by day and id."""

    def call() -> pa.Table:
        if loaded.pipeline.output.format == "delta":
            from deltalake import DeltaTable

            return DeltaTable(str(loaded.path("out/scores")), nights).to_pyarrow_table()
        from pyiceberg.catalog import load_catalog

        name = str(loaded.pipeline.output.table).split(".")[1:]
        table = load_catalog("test", uri=os.environ[CATALOG]).load_table(tuple(name))
        then = table.snapshots()[nights - 1].snapshot_id if nights else None
        return table.scan(snapshot_id=then).to_arrow()

    return in_child(call).sort_by([("ds", "ascending"), ("id", "ascending")])


def files(loaded: config.Loaded) -> list[Path]:
    """The files of the first day."""
    data = "data" if loaded.pipeline.output.format == "iceberg" else "."
    return sorted((loaded.path("out/scores") / data / f"ds={DAYS[0]}").glob("*.parquet"))


@pytest.mark.long
def test_a_range_is_published_day_by_day(lake: Project) -> None:
    loaded = lake()
    nights = nocturne("score", "p", "--date", DAYS[0], "--to", DAYS[1])
    assert [night["outcome"] for night in nights] == ["published", "published"]
    assert len(read(loaded)) == 1200
    assert len(read(loaded, 1)) == 600, "each night is one version"


@pytest.mark.long
def test_a_day_again_is_nothing_to_do_and_folders_have_the_same_bytes(lake: Project) -> None:
    loaded = lake()
    nocturne("score", "p", "--date", DAYS[0], "--to", DAYS[1])
    states = nocturne("status", "p", "--to", DAYS[2])
    assert [night["state"] for night in states] == ["published", "published", "missing"]
    again = nocturne("score", "p", "--date", DAYS[0])
    assert [night["outcome"] for night in again] == ["unchanged"]

    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["output"] |= {"path": "out/plain", "format": "parquet", "table": None}
    path.write_text(yaml.safe_dump(settings))
    nocturne("score", "p", "--date", DAYS[0])
    plain = loaded.home / "out" / "plain" / f"ds={DAYS[0]}"
    if loaded.pipeline.output.format == "delta":
        for file in files(loaded):
            assert file.read_bytes() == (plain / file.name).read_bytes()
    else:  # Iceberg's have the partition column too
        tables = [pq.read_table(file, partitioning=None) for file in files(loaded)]
        assert pa.concat_tables(tables).drop_columns(["ds"]) == pa.concat_tables(
            pq.read_table(file, partitioning=None) for file in sorted(plain.iterdir())
        )


@pytest.mark.long
def test_what_spark_reads_is_published_too(lake: Project) -> None:
    loaded = lake(scoring__reader="spark")
    [night] = nocturne("score", "p", "--date", DAYS[0])
    assert (night["outcome"], night["rows_published"]) == ("published", 600)
    [file] = files(loaded)
    assert read(loaded)["id"].to_pylist() == sorted(
        pq.read_table(file, partitioning=None)["id"].to_pylist()
    )
    [verified] = nocturne("verify", "p", "--date", DAYS[0])
    assert verified["ok"]


@pytest.mark.long
def test_columns_are_added_to_the_table_if_that_is_said(lake: Project) -> None:
    loaded = lake()
    nocturne("score", "p", "--date", DAYS[0])
    register(loaded, encoding=TWO, alias="champion")
    refused = subprocess.run(
        [sys.executable, "-m", "nocturne.cli", "score", "p", "--date", DAYS[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "it has no column 'raw'" in refused.stderr
    assert "output.evolve: add" in refused.stderr
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["output"]["evolve"] = "add"
    path.write_text(yaml.safe_dump(settings))
    nocturne("score", "p", "--date", DAYS[1], "--to", DAYS[2])
    nocturne("score", "p", "--date", DAYS[3], "--model-version", "1")
    rows = read(loaded)
    assert len(rows) == 2400
    missing = Counter(str(d) for d, v in zip(*columns(rows, "ds", "raw"), strict=True) if v is None)
    assert missing == {DAYS[0]: 600, DAYS[3]: 600}
    assert rows["score"].null_count == 0
    for day in DAYS[:4]:
        [verified] = nocturne("verify", "p", "--date", day, "--replay")
        assert verified["ok"], verified
    [again] = nocturne("score", "p", "--date", DAYS[0], "--force")
    assert again["outcome"] == "published"
    assert len(read(loaded)) == 2400


def columns(rows: pa.Table, *names: str) -> list[list[object]]:
    return [rows[name].to_pylist() for name in names]
