"""What drift does to a night, and which nights count as ordinary afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.pipeline.decisions import approve_held
from nocturne.pipeline.judging import judge
from nocturne.pipeline.publishing import publish_run
from pipeline.conftest import DAYS, night_of, scored

MakeProject = Callable[..., Loaded]


def _shift(root: Path, day: str, name: str = "y", by: float = 3.0) -> None:
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index(name)
    pq.write_table(table.set_column(at, name, pc.add(table[name], by)), path, row_group_size=250)


@pytest.mark.parametrize("on_drift", ["warn", "hold", "fail"])
def test_the_scores_drift_is_on_drifts(project: MakeProject, tmp_path: Path, on_drift: str) -> None:
    project(drift__on_drift=on_drift)
    _shift(tmp_path, DAYS[1])
    judged = judge(scored(config.load("p"), DAYS[1]))
    assert {"y", "score"} <= {c.column for c in judged.drift.alarmed}
    assert (judged.verdict, judged.drift_verdict) == (on_drift, on_drift)
    assert judged.reasons[-1] == "a person should look: score drifted"


def test_a_single_feature_only_warns(project: MakeProject, tmp_path: Path) -> None:
    project(drift__on_drift="hold", drift__page_share=0.9)
    _shift(tmp_path, DAYS[1], "x", 0.25)
    judged = judge(scored(config.load("p"), DAYS[1]))
    assert [c.column for c in judged.drift.alarmed] == ["x"]
    assert judged.verdict == "warn"


def test_nights_without_drift_join_the_history_that_manifests_name(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    _shift(tmp_path, DAYS[2])
    nights = [night_of(loaded, day) for day in DAYS[:4]]
    names = [f"{night.partition.key}:{night.id}" for night in nights]
    assert [night.drift_paged for night in nights] == [False, False, True, False]
    assert nights[0].drift_history == ()
    assert nights[1].drift_history == (names[0],)
    assert nights[3].drift_history == (names[0], names[1]), "the third drifted"

    again = night_of(loaded, DAYS[1], force=True)
    assert again.id != nights[1].id
    assert again.drift_history == (names[0],)
    assert [f.threshold for f in again.drift] == [f.threshold for f in nights[1].drift]
    late = night_of(loaded, DAYS[3], force=True)
    assert late.drift_history == (names[0], names[1]), "not the second's new manifest"


def test_drift_that_a_person_let_pass_is_ordinary_from_then_on(
    project: MakeProject, tmp_path: Path
) -> None:
    project(drift__on_drift="hold")
    loaded = config.load("p")
    for day in DAYS[:2]:
        _shift(tmp_path, day)
    run = scored(loaded, DAYS[0])
    first = judge(run)
    with pytest.raises(Held):
        publish_run(run)
    accepted = approve_held(loaded, run.partition, "ada")

    judged = judge(scored(loaded, DAYS[1]))
    assert judged.drift.history == (f"{DAYS[0]}:{accepted.id}",)
    psi = {c.column: c.psi for c in first.drift.columns}
    for feature in judged.drift.columns:
        assert feature.threshold >= psi[feature.column]
