"""Nights on Spark into a Delta table, as the command line scores them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forked import in_child
from nocturne import config
from pipeline.conftest import DAYS

Project = Callable[..., config.Loaded]

PINNED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}


def nocturne(*words: str) -> Any:
    """The answer of a command in a process of its own: this one must be able to fork."""
    hidden = ("SPARK_CONF_DIR", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
    done = subprocess.run(
        [sys.executable, "-m", "nocturne.cli", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={name: value for name, value in os.environ.items() if name not in hidden},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def read(table: Path, version: int | None = None) -> pa.Table:
    def call() -> pa.Table:
        from deltalake import DeltaTable

        return (
            DeltaTable(str(table), version)
            .to_pyarrow_table()
            .sort_by([("ds", "ascending"), ("id", "ascending")])
        )

    return in_child(call)


def test_a_range_is_published_day_by_day(project: Project) -> None:
    loaded = project(output__format="delta", **PINNED)
    nights = nocturne("score", "p", "--date", DAYS[0], "--to", DAYS[1])
    assert [night["outcome"] for night in nights] == ["published", "published"]
    table = loaded.path("out/scores")
    found = read(table)
    assert len(found) == 1200
    assert len(read(table, 1)) == 600, "each night is one version"


@pytest.mark.long
def test_a_day_again_is_nothing_to_do_and_folders_have_the_same_bytes(project: Project) -> None:
    loaded = project(output__format="delta", **PINNED)
    nocturne("score", "p", "--date", DAYS[0], "--to", DAYS[1])
    table = loaded.path("out/scores")
    states = nocturne("status", "p", "--to", DAYS[2])
    assert [night["state"] for night in states] == ["published", "published", "missing"]
    again = nocturne("score", "p", "--date", DAYS[0])
    assert [night["outcome"] for night in again] == ["unchanged"]

    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text().replace("out/scores", "out/plain").replace("delta", "parquet"))
    nocturne("score", "p", "--date", DAYS[0])
    for file in (loaded.home / "out" / "plain" / f"ds={DAYS[0]}").iterdir():
        assert file.read_bytes() == (table / f"ds={DAYS[0]}" / file.name).read_bytes()


@pytest.mark.long
def test_what_spark_reads_is_published_too(project: Project) -> None:
    loaded = project(output__format="delta", scoring__reader="spark", **PINNED)
    [night] = nocturne("score", "p", "--date", DAYS[0])
    assert (night["outcome"], night["rows_published"]) == ("published", 600)
    found = read(loaded.path("out/scores"))
    [file] = (loaded.path("out/scores") / f"ds={DAYS[0]}").glob("*.parquet")
    assert found["id"].to_pylist() == sorted(
        pq.read_table(file, partitioning=None)["id"].to_pylist()
    )
    [verified] = nocturne("verify", "p", "--date", DAYS[0])
    assert verified["ok"]
