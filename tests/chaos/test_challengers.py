"""``nocturne score`` with two challengers and a canary, killed at random moments.

The champion's night is the one that it would be without challengers, each of which has a whole
night or none. The canary has its share of the whole night or none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from chaos.conftest import MakeRoot
from chaos.nights import Root
from chaos.test_moments import FIRST_SEED, TRIALS
from chaos.test_without_spark import check_killed_and_begun_again
from chaos.test_without_spark import slow as slow
from nocturne import config
from nocturne.model.tracking import connect
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.places import Places
from nocturne.table import published_manifest

CHALLENGERS = [
    {"version": 1, "called": "same"},
    {"version": 1, "called": "other", "threshold": 0.5, "top": 3},
]


NEVER = {"failed": None, "drift": False, "verdict": None}


def _whole_or_none(root: Root, name: str) -> bool:
    """Whether the challenger's night is published; then all of it is, and right."""
    loaded = config.load(f"p@{name}", root=root.path)
    partition = root.partition_of(loaded)
    output = Places.of(loaded).output(partition)
    manifest = published_manifest(output)
    if manifest is None:
        assert not list(Path(output.location).glob("*.parquet"))
        return False
    assert verify_partition(loaded, partition, replay=None).ok
    champion = root.manifest()
    assert champion is not None
    assert manifest.rows_published == champion.rows_published
    assert manifest.rows_quarantined == champion.rows_quarantined
    own, first = (
        sorted(
            (row["id"], row["score"])
            for file in where.outputs
            for row in pq.read_table(of.file(file.path), partitioning=None).to_pylist()
        )
        for where, of in ((manifest, output), (champion, root.table))
    )
    assert own == first
    return True


@pytest.mark.long
@pytest.mark.parametrize("table_format", ["parquet"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + max(1, TRIALS // 4)))
def test_killed_at_a_random_moment_with_challengers(
    make_root: MakeRoot,
    slow: Path,
    record_property: Callable[[str, object], None],
    seed: int,
) -> None:
    root, other = make_root(), make_root()
    for one in (root, other):
        one.configure("scoring", kernel="graph", micro_batch=64)  # a search may choose otherwise
    assert other.night() == 0
    _configure(root, challengers=CHALLENGERS)
    check_killed_and_begun_again(root, [other], slow, 3, seed, record_property)
    there = [_whole_or_none(root, challenger["called"]) for challenger in CHALLENGERS]
    record_property("challengers", sum(there))


def _configure(root: Root, **sections: object) -> None:
    path = root.path / "conf" / "pipelines" / "p.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | sections
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def _another_version(root: Root) -> None:
    client = connect(f"sqlite:///{root.path / 'var' / 'mlflow' / 'mlflow.db'}")
    first = client.get_model_version("small", "1")
    client.create_model_version("small", first.source, run_id=first.run_id)


@pytest.mark.long
@pytest.mark.parametrize("table_format", ["parquet"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + max(1, TRIALS // 4)))
def test_killed_at_a_random_moment_with_challengers_and_a_canary(
    make_root: MakeRoot,
    slow: Path,
    record_property: Callable[[str, object], None],
    seed: int,
) -> None:
    root, mixed, alone = make_root(), make_root(), make_root()
    for one in (root, mixed, alone):
        one.configure("scoring", kernel="graph", micro_batch=64)  # a search may choose otherwise
        _another_version(one)
    for one in (root, mixed):
        _configure(one, canary={"version": 2, "percent": 30, "key": "id", "stop_on": NEVER})
    assert mixed.night() == 0
    assert alone.night() == 0
    assert mixed.published() != alone.published()
    _configure(root, challengers=CHALLENGERS)
    check_killed_and_begun_again(root, [mixed, alone], slow, 4, seed, record_property)
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.arms is not None
    out, has_share = manifest.arms.out, root.published() == mixed.published()
    assert (out, has_share) in {("", True), ("suspected", False)}
    record_property("canary", out)
    loaded = config.load("p", root=root.path)
    assert verify_partition(loaded, root.partition_of(loaded), replay=None).ok
    there = [_whole_or_none(root, challenger["called"]) for challenger in CHALLENGERS]
    record_property("challengers", sum(there))
