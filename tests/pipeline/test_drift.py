"""What drift does to a night, and which nights count as ordinary afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ConfigError, Held
from nocturne.operate.decisions import approve_held
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from pipeline.conftest import DAYS, judgement_of, night_of, scored, shift

MakeProject = Callable[..., Loaded]


@pytest.mark.parametrize("on_drift", ["warn", "hold", "fail"])
def test_the_scores_drift_is_on_drifts(project: MakeProject, tmp_path: Path, on_drift: str) -> None:
    project(drift__on_drift=on_drift)
    shift(tmp_path, DAYS[1])
    judged = judge_run(scored(config.load("p"), DAYS[1]))
    assert {"y", "score"} <= {c.column for c in judged.drift.alarmed}
    assert (judged.verdict, judged.verdict_of("drift")) == (on_drift, on_drift)
    assert judged.reasons[-1] == "a person should look: score drifted"


def test_a_single_feature_only_warns(project: MakeProject, tmp_path: Path) -> None:
    project(drift__on_drift="hold", drift__page_share=0.9)
    shift(tmp_path, DAYS[1], "x", 0.25)
    judged = judge_run(scored(config.load("p"), DAYS[1]))
    assert [c.column for c in judged.drift.alarmed] == ["x"]
    assert judged.verdict == "warn"


def test_nights_without_drift_join_the_history_that_manifests_name(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    shift(tmp_path, DAYS[2])
    nights = [night_of(loaded, day) for day in DAYS[:4]]
    names = [f"{night.partition.key}:{night.id}" for night in nights]
    judged = [judgement_of(loaded, night).drift for night in nights]
    assert [drift.paged for drift in judged] == [False, False, True, False]
    assert [night.pages for night in nights] == [False, False, True, False]
    assert judged[0].history == ()
    assert judged[1].history == (names[0],)
    assert judged[3].history == (names[0], names[1]), "the third drifted"

    again = night_of(loaded, DAYS[1], force=True)
    assert again.id != nights[1].id
    anew = judgement_of(loaded, again).drift
    assert anew.history == (names[0],)
    assert [f.threshold for f in anew.columns] == [f.threshold for f in judged[1].columns]
    late = judgement_of(loaded, night_of(loaded, DAYS[3], force=True)).drift
    assert late.history == (names[0], names[1]), "not the second's new manifest"


def test_drift_that_a_person_let_pass_is_ordinary_from_then_on(
    project: MakeProject, tmp_path: Path
) -> None:
    project(drift__on_drift="hold")
    loaded = config.load("p")
    for day in DAYS[:2]:
        shift(tmp_path, day)
    run = scored(loaded, DAYS[0])
    first = judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    accepted = approve_held(loaded, run.plan.partition, "ada")

    judged = judge_run(scored(loaded, DAYS[1]))
    assert judged.drift.history == (f"{DAYS[0]}:{accepted.id}",)
    psi = {c.column: c.psi for c in first.drift.columns}
    for feature in judged.drift.columns:
        assert feature.threshold >= psi[feature.column]


def _sort_apart(root: Path, day: str) -> None:
    """What is positive goes to the word "a", what is negative to "b": the whole stays as it is."""
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at, x = table.schema.get_field_index("x"), table["x"]
    size = pc.abs(x)
    for word, moved in (("a", size), ("b", pc.negate(size))):
        x = pc.if_else(pc.fill_null(pc.equal(table["word"], word), False), moved, x)
    pq.write_table(table.set_column(at, "x", x), path, row_group_size=250)


def test_a_segment_that_drifted_alone_warns(project: MakeProject, tmp_path: Path) -> None:
    project(drift__segments=["word"], drift__on_drift="hold")
    loaded = config.load("p")
    calm = night_of(loaded, DAYS[0])
    _sort_apart(tmp_path, DAYS[1])
    run = scored(loaded, DAYS[1])
    assert set(run.plan.segments) == {"word"}
    assert {"a", "b"} <= set(run.plan.segments["word"])
    judged = judge_run(run)
    whole = run.profile.columns["word"].counts
    assert {s.name: s.rows for s in judged.drift.segments} == {
        f"word={value}": whole[value] for value in run.plan.segments["word"]
    }
    only = judged.drift.only_in_segments
    found = [(segment.name, column.column) for segment, column in only]
    assert {("word=a", "x"), ("word=b", "x")} <= set(found)
    assert ("word=c", "x") not in found
    assert "x" not in {column.column for column in judged.drift.alarmed}
    assert judged.verdict == "warn", "a segment holds no night"
    assert judged.reasons[-1].startswith("drifted in a segment alone: x where word=")
    manifest = publish_run(run)
    assert judgement_of(loaded, manifest).drift == judged.drift
    alarmed = {
        (segment.name, column.column)
        for segment in judged.drift.segments
        for column in segment.columns
        if column.alarmed
    }
    assert ("word=b", "x") in alarmed
    assert ("word=c", "x") not in alarmed
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "By segment" in report

    later = judge_run(scored(loaded, DAYS[2]))
    assert later.drift.history == (f"{DAYS[0]}:{calm.id}", f"{DAYS[1]}:{manifest.id}"), (
        "as a whole the night was ordinary"
    )
    [before] = [
        c for s in later.drift.segments if s.name == "word=b" for c in s.columns if c.column == "x"
    ]
    [drifted] = [c.psi for s, c in only if (s.name, c.column) == ("word=b", "x")]
    ordinary = judgement_of(loaded, calm).drift.segments
    [was] = [c.psi for s in ordinary if s.name == "word=b" for c in s.columns if c.column == "x"]
    assert was <= before.threshold < drifted


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"drift__segments": ["x"]}, r"names x; expected features that are categories"),
        ({"drift__segments": ["word"], "quality__sensitive": ["word"]}, "keeps from being shown"),
        ({"drift__segments": ["a", "b", "c"]}, "at most 2 items"),
    ],
)
def test_segments_that_cant_be_are_refused(
    project: MakeProject, changes: dict[str, list[str]], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        scored(project(**changes), DAYS[0])


def test_splits_that_did_not_count_segments_leave_them_out(project: MakeProject) -> None:
    """As splits do that were taken over from a night before drift.segments was set."""
    project()
    scored(config.load("p"), DAYS[0])
    judged = judge_run(scored(config.load("p", overrides={"drift.segments": ["word"]}), DAYS[0]))
    assert judged.drift.segments == ()
    assert judged.drift.columns
