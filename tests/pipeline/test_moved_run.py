"""What a move brings of runs, and that it writes over nothing that is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forked import in_child
from nocturne.operate.gc import collect
from nocturne.operate.move import Moved
from nocturne.operate.status import statuses
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Accepted
from nocturne.store.partition_state import now
from nocturne.store.record_files import write
from object_store import Bucket
from pipeline.conftest import DAYS
from pipeline.test_move import (
    PINNED,
    Project,
    at,
    deliver,
    manifest_of,
    moved,
    partition,
    problems,
    published,
)
from pipeline.test_move import places as places
from pipeline.test_moving import FOLDERS, killed, lineage
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

pytestmark = pytest.mark.long


@pytest.mark.parametrize("target", ["delta", "iceberg", "delta on s3"])
def test_a_forgotten_format_changes_nothing_of_a_published_night(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    loaded, place = project(**PINNED), places[target]
    published(loaded, *DAYS[:2])
    published(at(place), *DAYS[:2])
    other = {"path": place["path"], "format": "delta" if "iceberg" in target else "parquet"}
    if "s3" in target:
        other = {"path": place["path"], "format": "iceberg", "table": "test.nights.other"}
    nights = moved(loaded, other)
    assert [night.ok for night in nights] == [False, False]
    assert not [problem for day in DAYS[:2] for problem in problems(at(place), day)]
    if target == "iceberg":  # its scores are those of another run
        return
    assert [night.problem for night in moved(loaded, place)] == ["", ""]
    assert not [problem for day in DAYS[:2] for problem in problems(at(place), day)]


def test_a_forgotten_format_on_the_way_back_changes_nothing(
    project: Project, places: Mapping[str, dict]
) -> None:
    project(**PINNED)
    delta, back = at(places["delta"]), {"path": "back/scores", "format": "parquet"}
    published(delta, *DAYS[:2])
    moved(delta, back)
    nights = moved(at(back), {"path": "delta/scores", "format": "parquet"})
    assert all("is a Delta table" in night.problem for night in nights)
    assert not [problem for day in DAYS[:2] for problem in problems(delta, day)]


def test_another_spelling_of_a_place_changes_nothing_of_a_published_night(
    project: Project, bucket: Bucket
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    place = {"path": bucket.uri("d/scores"), "format": "delta", "state": "st/p"}
    published(at(place), DAYS[0])
    assert [night.problem for night in moved(loaded, {**place, "path": f"{place['path']}/"})] == [
        ""
    ]
    assert not problems(at(place), DAYS[0])


def test_a_plan_that_a_manifest_names_is_not_written_over_where_the_table_is_gone(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    published(at(place), DAYS[0])
    table = tmp_path / place["path"]
    table.rename(tmp_path / "away")
    [night] = moved(loaded, {"path": place["path"], "format": "parquet"})
    assert "is the plan of a night that was published there as delta" in night.problem
    shutil.rmtree(table, ignore_errors=True)
    (tmp_path / "away").rename(table)
    assert not problems(at(place), DAYS[0])


def test_plan_and_settings_name_one_format_where_a_killed_move_gets_another(
    project: Project, tmp_path: Path
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    for point in range(1, 7):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        killed(loaded, {**FOLDERS, "format": "delta"}, f"record.written@{point}")
        assert [night.problem for night in moved(loaded, FOLDERS)] == [""]
        runs = [path.parent for path in tmp_path.glob("other/**/run.json")]
        formats = [
            (
                json.loads((run / "run.json").read_text())["format"],
                json.loads((run / "settings.json").read_text())["output"]["format"],
            )
            for run in runs
        ]
        assert formats == [("parquet", "parquet")] * 2
        assert not problems(at(FOLDERS), DAYS[0], replay=0)


@pytest.mark.parametrize("point", ["record.written@2", "commit.written", "commit.swapped"])
def test_what_a_person_accepted_of_earlier_versions_comes_with_a_killed_move(
    project: Project, places: Mapping[str, dict], tmp_path: Path, point: str
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    ids = []
    for seed in (1, 2, 3):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
        ids.append(manifest_of(loaded, DAYS[0]).id)
    night = partition(loaded, DAYS[0])
    old, new = (Places.of(one).state.partition(night) for one in (loaded, at(place)))
    write(old.accepted(ids[0]), Accepted("ada", now(), ids[0]))
    killed(loaded, place, point)
    assert [night.problem for night in moved(loaded, place)] == [""]
    write(old.accepted(ids[1]), Accepted("ada", now(), ids[1]))
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert [new.accepted(id_).is_file() for id_ in ids] == [True, True, False]


@pytest.mark.parametrize(("old", "new"), [("parquet", "delta"), ("delta", "parquet"), ("", "")])
def test_the_old_place_is_as_it_was_also_to_those_who_look_at_times(
    project: Project, places: Mapping[str, dict], tmp_path: Path, old: str, new: str
) -> None:
    loaded = project(**PINNED, quality__max_quarantined=0.5)
    for path in (tmp_path / "data").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        ids = pa.array([None if n % 50 == 0 else n for n in range(len(table))], pa.int64())
        pq.write_table(table.set_column(0, "id", ids), path, row_group_size=250)
    loaded = at(places[old]) if old == "delta" else loaded
    published(loaded, DAYS[0])
    folder = loaded.path(loaded.pipeline.output.path).parent
    for path in folder.rglob("*.parquet"):
        os.utime(path, (1.6e9, 1.6e9))

    def seen() -> dict[str, tuple[int, ...]]:
        stats = {str(p): p.stat() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}
        return {
            name: (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink)
            for name, s in stats.items()
        }

    before = seen()
    place = places["delta"] if new == "delta" else FOLDERS
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert seen() == before
    assert not problems(at(place), DAYS[0])
    assert not [*tmp_path.rglob(".moving")]


@pytest.mark.parametrize("lost", ["run", "manifest", "model"])
def test_a_damaged_earlier_version_does_not_keep_a_night_from_moving(
    project: Project, places: Mapping[str, dict], tmp_path: Path, lost: str
) -> None:
    loaded = project(**PINNED)
    manifests = []
    for seed in (1, 2, 3):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
        manifests.append(manifest_of(loaded, DAYS[0]))
    first, second, third = manifests
    night = tmp_path / f"out/_nocturne/scores/ds={DAYS[0]}"
    run = night / "runs" / first.run_key[:16]
    if lost == "run":
        shutil.rmtree(run)
    elif lost == "model":
        plan = json.loads((run / "run.json").read_text())
        plan["model"]["path"] = "models/none"
        (run / "run.json").write_text(json.dumps(plan))
    else:
        (night / "manifests" / f"{first.id}.json").write_text("{")
    [moved_night] = moved(loaded, FOLDERS)
    assert moved_night.ok
    assert f"without what was in force before {second.id}" in moved_night.note
    assert lineage(at(FOLDERS), DAYS[0]) == [third.id, second.id]
    assert not problems(at(FOLDERS), DAYS[0], replay=0)
    assert moved(loaded, FOLDERS)[0].ok
    deliver(tmp_path, DAYS[0], 4)
    published(loaded, DAYS[0])
    assert moved(loaded, FOLDERS)[0].ok, "what is not copied is not looked at"


def test_a_damaged_version_that_is_not_copied_is_not_looked_at(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    first = manifest_of(loaded, DAYS[0])
    assert moved(loaded, FOLDERS)[0].ok
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    shutil.rmtree(tmp_path / f"out/_nocturne/scores/ds={DAYS[0]}/runs/{first.run_key[:16]}")
    assert [night.problem for night in moved(loaded, FOLDERS)] == [""]


def test_what_failed_in_the_new_place_before_is_not_its_status_any_more(
    project: Project, places: Mapping[str, dict]
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    there = at(place)
    night = partition(there, DAYS[0])
    Places.of(there).state.partition(night).write_planning_failed("no such column")
    killed(loaded, place, "commit.swapped")
    assert [night.problem for night in moved(loaded, place)] == [""]
    states = in_child(lambda: {one.key: one.state for one in statuses(there)})
    assert states[DAYS[0]] == "published"


def test_a_night_that_got_another_number_is_named_by_it(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    deliver(tmp_path, DAYS[0], 1)
    published(loaded, DAYS[0])
    for seed in (2, 3):
        deliver(tmp_path, DAYS[0], seed)
        published(at(place), DAYS[0])
    deliver(tmp_path, DAYS[0], 1)
    published(at(place), DAYS[0])
    deliver(tmp_path, DAYS[0], 4)
    published(loaded, DAYS[0])
    there = manifest_of(at(place), DAYS[0])
    assert there.number == 3
    [night] = moved(loaded, place)
    assert night == Moved(DAYS[0], manifest_of(at(place), DAYS[0]).id, 600)
    assert night.manifest.startswith("000004-")


@pytest.mark.parametrize("cleaned", [True, False])
def test_the_copies_of_a_killed_move_are_removed_by_gc_or_by_the_next_move(
    project: Project, places: Mapping[str, dict], tmp_path: Path, cleaned: bool
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    killed(loaded, place, "record.written@3")
    assert [*tmp_path.rglob(".moving")]
    if cleaned:
        in_child(lambda: collect(at(place), 0, remove=True))
        assert not [*tmp_path.rglob(".moving")]
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert not [*tmp_path.rglob(".moving")]
    assert not problems(at(place), DAYS[0])
