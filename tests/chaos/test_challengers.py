"""``nocturne score`` with two challengers, killed at random moments.

The champion's night is the one that it would be without them, and each challenger has a whole night
or none.
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
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.places import Places
from nocturne.table import published_manifest

CHALLENGERS = [
    {"version": 1, "called": "same"},
    {"version": 1, "called": "other", "threshold": 0.5, "top": 3},
]


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
    path = root.path / "conf" / "pipelines" / "p.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | {"challengers": CHALLENGERS}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    check_killed_and_begun_again(root, other, slow, 3, seed, record_property)
    there = [_whole_or_none(root, challenger["called"]) for challenger in CHALLENGERS]
    record_property("challengers", sum(there))
