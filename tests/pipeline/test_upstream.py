"""A night that reads another pipeline's table goes on while that one publishes and rolls back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from conftest import sample
from forked import in_child
from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import InputChanged
from nocturne.operate.decisions import roll_back
from nocturne.pipeline import prepare
from nocturne.store.run import Run
from nocturne.worker import split
from pipeline.conftest import DAYS
from pipeline.test_move import PINNED, Project, at, deliver, partition, published
from pipeline.test_move import places as places
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint


def downstream(root: Path) -> Loaded:
    """A pipeline whose input is the Delta table of the other one."""
    tree = yaml.safe_load((root / "conf/pipelines/p.yaml").read_text())
    tree["input"] = {"path": "delta/scores", "format": "delta", "partition": {"ds": "%Y-%m-%d"}}
    tree["output"] = {"path": "q/scores", "keys": ["id"]}
    (root / "conf/pipelines/q.yaml").write_text(yaml.safe_dump(tree))
    return config.load("q")


def score(run: str) -> int:
    """Score the splits of a run that was planned before; returns their number."""

    def scored() -> int:
        planned = Run.open(run)
        return len([split.run_split(planned, one) for one in planned.plan.splits])

    return in_child(scored)


@pytest.mark.parametrize("change", ["publish", "rollback"])
def test_a_pinned_version_can_be_read_whatever_happens_upstream(
    project: Project, places: Mapping[str, dict], tmp_path: Path, change: str
) -> None:
    """A publish links to the files that it takes over, and a rollback puts them in place again."""
    project(**PINNED, output__passthrough=["word", "x", "y"])
    up = at(places["delta"])
    night = partition(up, DAYS[0])
    folder = tmp_path / "data" / f"ds={DAYS[0]}"
    pq.write_table(sample(600, 7, 5000), folder / "part-1.parquet", row_group_size=250)
    published(up, DAYS[0])
    for path in (tmp_path / "delta/scores").rglob("*.parquet"):
        os.utime(path, (1e9, 1e9))
    run = in_child(lambda: prepare(downstream(tmp_path), night).run.uri)

    deliver(tmp_path, DAYS[0])
    published(up, DAYS[0])
    if change == "rollback":
        in_child(lambda: roll_back(up, night, None, "ada") and None)

    [*files] = (tmp_path / "delta/scores").rglob("*.parquet")
    assert any(path.stat().st_mtime > 1e9 and path.stat().st_nlink > 1 for path in files)
    assert score(run) == 6


def test_another_file_of_the_name_of_a_pinned_one_is_noticed(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    project(**PINNED, output__passthrough=["word", "x", "y"])
    up = at(places["delta"])
    published(up, DAYS[0])
    night = partition(up, DAYS[0])
    run = in_child(lambda: prepare(downstream(tmp_path), night).run.uri)
    for path in (tmp_path / "delta/scores").rglob("*.parquet"):
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").rename(path)
    with pytest.raises(InputChanged, match="changed after planning"):
        score(run)
