"""How partitions stand: of those that are asked for as of all, at the price of few files."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.operate.decisions import reject_held
from nocturne.operate.status import Recent, newest, recent, statuses, statuses_of
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.manifest import Manifest
from nocturne.records.status import RunStatus
from nocturne.store import partition_state, record_files
from nocturne.store.partition_state import now
from pipeline.conftest import DAYS, night_of, scored

MakeProject = Callable[..., Loaded]


def test_those_that_are_asked_for_stand_as_all_do(project: MakeProject, tmp_path: Path) -> None:
    suite = {
        "name": "s",
        "expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}}],
    }
    project(quality__max_quarantined=0.5)
    loaded = config.load("p")
    published = night_of(loaded, DAYS[0])
    (tmp_path / "conf" / "expectations" / "s.json").write_text(json.dumps(suite))
    holding = config.load("p", overrides={"quality.output_suite": "s.json"})
    for day in DAYS[1:3]:
        run = scored(holding, day)
        judge_run(run)
        with pytest.raises(Held):
            publish_run(run)
    reject_held(holding, config.partition({"ds": "%Y-%m-%d"}, DAYS[2]), "ada", "no")
    running = scored(loaded, DAYS[3])
    running.state.write_status(
        RunStatus.of(running.plan, "running", "score", "", now(), rows_done=150)
    )

    asked = list(config.span(loaded.pipeline.input.partition, DAYS[0], "2024-01-06"))
    found = list(statuses_of(loaded, asked))
    said = {status.key: status for status in statuses(loaded)}
    assert [status.key for status in found] == [partition.key for partition in asked]
    states = [status.state for status in found]
    assert states == ["published", "held", "rejected", "running", "missing", "missing"]
    for status in found[1:4]:
        assert (status.state, status.message) == (said[status.key].state, said[status.key].message)
    assert found[0].manifest is not None
    assert found[0].manifest.rows_published == published.rows_published
    assert found[0].model_version == 1
    assert found[3].unfinished is not None
    assert (found[3].unfinished.rows_done, found[3].unfinished.rows) == (150, 600)


def test_a_night_that_can_not_be_planned_again_still_shows_its_published_run(
    project: MakeProject,
) -> None:
    project(drift__floor=100)
    loaded = config.load("p")
    published = night_of(loaded, DAYS[0])
    state = Places.of(loaded).state.partition(published.partition)
    state.write_planning_failed("column y is missing")
    [found] = statuses_of(loaded, [published.partition])
    assert (found.state, found.message) == ("failed", "column y is missing")
    assert found.run == state.run(published.run_key)
    assert found.report == state.run(published.run_key).report


def test_a_manifest_is_read_once(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project(drift__floor=100)
    loaded = config.load("p")
    night_of(loaded, DAYS[0])
    asked = [config.partition(loaded.pipeline.input.partition, DAYS[0])]
    read: list[type] = []

    def counting(kind: type, path: Path) -> object:
        read.append(kind)
        return record_files.find(kind, path)

    monkeypatch.setattr(partition_state, "find", counting)
    first = list(statuses_of(loaded, asked))
    assert read.count(Manifest) == 1
    assert list(statuses_of(loaded, asked)) == first
    assert read.count(Manifest) == 1
    assert first[0].state == "published"


def test_what_a_newer_nocturne_wrote_is_said_and_the_rest_is_shown(project: MakeProject) -> None:
    """As where Airflow's Nocturne is older than the jobs' (schedule.on_skew: warn)."""
    loaded = project(drift__floor=100)
    newer, ours = (night_of(loaded, day) for day in DAYS[:2])
    path = Places.of(loaded).state.partition(newer.partition).manifest_file(newer.id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    first, second, *_ = statuses(loaded)
    assert (first.key, first.state) == (newer.partition.key, "failed")
    assert "version 99, which this Nocturne does not know" in first.message
    assert "written by a newer Nocturne" in first.remark
    assert (second.key, second.state) == (ours.partition.key, "published")


def test_files_that_are_not_ours_are_a_failure(project: MakeProject) -> None:
    loaded = project()
    partition = config.partition(loaded.pipeline.input.partition, DAYS[0])
    folder = Places.of(loaded).output(partition).location
    folder.mkdir(parents=True)
    (folder / "other.parquet").touch()
    [status] = statuses_of(loaded, [partition])
    assert status.state == "failed"
    assert "were not published from here" in status.message


@pytest.mark.parametrize(
    ("layout", "folders", "last"),
    [
        ({"ds": "%Y-%m-%d"}, ["ds=2013-12-31", "ds=2014-01-02", "ds=x"], "2014-01-02"),
        ({"d": "%d.%m.%Y"}, ["d=31.12.2013", "d=02.01.2014"], "2014-01-02"),
        (
            {"ds": "%Y-%m-%d", "hour": "%H"},
            ["ds=2013-12-31/hour=23", "ds=2014-01-01/hour=00", "ds=2014-01-02"],
            "2014-01-01T00",
        ),
        ({"ds": "%Y-%m-%d"}, [], None),
    ],
)
def test_the_newest_partition(
    project: MakeProject,
    tmp_path: Path,
    layout: dict[str, str],
    folders: list[str],
    last: str | None,
) -> None:
    project(input__partition=layout, input__path="elsewhere")
    for folder in folders:
        (tmp_path / "elsewhere" / folder).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    assert newest(config.load("p")) == last


def test_the_newest_that_is_published(project: MakeProject) -> None:
    loaded = project()
    assert newest(loaded) == DAYS[-1]
    assert newest(loaded, "published") is None
    for day in (DAYS[1], DAYS[0]):
        night_of(loaded, day)
    scored(loaded, DAYS[2])
    assert newest(loaded, "published") == DAYS[1]


def _input_of(root: Path, *days: str) -> None:
    for day in days:
        (root / "elsewhere" / f"ds={day}").mkdir(parents=True, exist_ok=True)


def test_what_is_shown_first_ends_near_what_was_last_scored(
    project: MakeProject, tmp_path: Path
) -> None:
    """Not where the input ends, nor today."""
    project()
    loaded = config.load("p")
    night_of(loaded, DAYS[1])
    _input_of(tmp_path, *(f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 29)))
    wide = config.load(
        "p", overrides={"input.path": "elsewhere", "schedule.end_date": "2024-12-10"}
    )
    near = recent(wide, 35)
    assert len(near.statuses) == 35
    assert near.last is not None
    assert (near.last.key, near.last.state) == (DAYS[1], "published")
    assert [s.key for s in near.statuses[-8:]] == [f"2024-01-{d:02d}" for d in range(2, 10)]
    assert (near.later[0], near.later[-1]) == ("2024-01-10", "2024-12-10"), "the schedule ends"
    assert recent(wide, 1).statuses[0].key == DAYS[1]


def test_where_nothing_is_scored_yet_only_the_input_is_known(
    project: MakeProject, tmp_path: Path
) -> None:
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=2)).date().isoformat()
    _input_of(tmp_path, "2024-01-01", "2024-01-03", tomorrow)
    loaded = project(input__path="elsewhere")
    assert recent(loaded, 35) == Recent([], ["2024-01-01", "2024-01-03"])
    assert recent(loaded, 35).last is None


def test_a_date_that_was_mistyped_is_not_where_it_ends(project: MakeProject) -> None:
    loaded = project()
    night_of(loaded, DAYS[0])
    partition = config.partition(loaded.pipeline.input.partition, "2924-01-01")
    Places.of(loaded).state.partition(partition).write_planning_failed("there is no such day")
    near = recent(loaded, 35)
    assert near.last is not None
    assert near.last.key == DAYS[0]
    assert newest(loaded, "scored") == "2924-01-01"
