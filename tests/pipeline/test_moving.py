"""A move while others publish, decide and clean, and one that was killed: nothing is mixed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chaos.nights import _fork, until_stopped
from forked import in_child
from nocturne.config import Loaded
from nocturne.errors import Held, PublishError, StateError, Superseded
from nocturne.operate.decisions import (
    adopt_compacted,
    adopt_present,
    approve_held,
    reject_held,
    roll_back,
)
from nocturne.operate.gc import collect
from nocturne.operate.move import move, moved_pipeline
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_again, judge_run
from nocturne.store.failpoints import VARIABLE
from object_store import Bucket
from pipeline.conftest import DAYS, night_of, run_of, scored
from pipeline.test_measuring import OUTPUT, suite
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
    rows,
)
from pipeline.test_move import places as places
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

pytestmark = pytest.mark.long
FOLDERS = {"path": "other/scores", "format": "parquet"}


def _moving(loaded: Loaded, place: Mapping[str, str], failpoint: str) -> int:
    """A process that moves."""

    def work() -> None:
        os.environ[VARIABLE] = failpoint
        settings = {"table": None, "state": None, **place}
        nights = move(loaded, moved_pipeline(loaded, **settings), lambda _: None)
        if problems := [night.problem for night in nights if night.problem]:
            raise PublishError(problems[0])

    return _fork(work)


def started(loaded: Loaded, place: Mapping[str, str], point: str) -> int:
    """A process that moves, and stops at a step."""
    pid = _moving(loaded, place, f"{point}=SIGSTOP")
    until_stopped(pid)
    return pid


def killed(loaded: Loaded, place: Mapping[str, str], point: str) -> None:
    """A move that is killed at a step."""
    assert _ended(_moving(loaded, place, point)) == -signal.SIGKILL


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def goes_on(pid: int) -> int:
    os.kill(pid, signal.SIGCONT)
    return _ended(pid)


def lineage(loaded: Loaded, day: str) -> list[str]:
    night = partition(loaded, day)

    def found() -> list[str]:
        output = Places.of(loaded).output(night)
        return [m.id for m in output.state.lineage(PublishedNights(loaded).manifest(night))]

    return in_child(found)


@pytest.mark.parametrize("target", ["parquet", "delta", "delta on s3", "iceberg on s3"])
def test_two_moves_at_once_are_as_one(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    place = {**places[target], "path": places[target]["path"].replace("parquet/", "other/")}
    first = started(loaded, place, "record.written@4")
    [night] = moved(loaded, place)
    if "s3" in target:
        assert night.ok, night.problem
    else:
        assert "another process is publishing" in night.problem
    assert goes_on(first) == 0
    assert [night.problem for night in moved(loaded, place)] == [""]
    there = manifest_of(at(place), DAYS[0])
    assert manifest_of(at(place), DAYS[0]) == there
    assert lineage(at(place), DAYS[0]) == lineage(loaded, DAYS[0])
    assert not problems(at(place), DAYS[0])
    assert in_child(lambda: collect(at(place), 0, remove=True))[1:] == ([], [])
    assert not problems(at(place), DAYS[0])


@pytest.mark.parametrize(
    ("target", "point"),
    [("delta", 2), ("delta", 3), ("delta on s3", 2), ("delta on s3", 3), ("delta on s3", 4)],
)
def test_a_night_that_is_scored_in_the_new_place_meanwhile_stays_as_it_is(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str, point: int
) -> None:
    """The files that are moved have other bytes, since a lake has other types."""
    loaded = project(**PINNED, output__passthrough=["word", "at"])
    for path in (tmp_path / "data").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        zone = pa.timestamp("us", "Europe/Berlin")
        at_ = pa.array([n * 1000 for n in range(len(table))], pa.int64()).cast(zone)
        pq.write_table(table.append_column("at", at_), path, row_group_size=250)
    published(loaded, DAYS[0])
    place = places[target]
    first = started(loaded, place, f"record.written@{point}")
    try:
        published(at(place), DAYS[0])
    except Superseded:  # the lock is held, on a disk
        assert "s3" not in target
        assert goes_on(first) == 0
        published(at(place), DAYS[0])
        assert not problems(at(place), DAYS[0], replay=1)
        return
    there, seen = manifest_of(at(place), DAYS[0]), rows(at(place), DAYS[0])
    goes_on(first)
    assert manifest_of(at(place), DAYS[0]) == there
    assert rows(at(place), DAYS[0]) == seen
    assert not problems(at(place), DAYS[0], replay=1)
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert manifest_of(at(place), DAYS[0]) == there
    deliver_with = tmp_path / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
    pq.write_table(pq.read_table(deliver_with, partitioning=None).slice(0, 500), deliver_with)
    published(at(place), DAYS[0])
    assert not problems(at(place), DAYS[0])


def test_no_file_that_readers_of_an_earlier_version_need_is_written_over(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    """To Iceberg, where files have a column more, and back."""
    project(**PINNED)
    delta, iceberg = at(places["delta"]), at(places["iceberg"])
    published(delta, DAYS[0])
    before = rows(delta, DAYS[0])
    moved(delta, places["iceberg"])
    deliver(tmp_path, DAYS[0])
    published(iceberg, DAYS[0])
    in_child(lambda: roll_back(iceberg, partition(delta, DAYS[0]), None, "ada"))
    assert [night.problem for night in moved(iceberg, places["delta"])] == [""]
    assert rows(delta, DAYS[0]) == before

    def read(version: int) -> int:
        from deltalake import DeltaTable

        path = str(delta.path(delta.pipeline.output.path))
        return DeltaTable(path, version=version).to_pyarrow_table().num_rows

    assert in_child(lambda: read(1)) == 600


def update(loaded: Loaded, score: float) -> None:
    """Another program changes the night, and it is adopted."""

    def change() -> None:
        from deltalake import DeltaTable

        path = str(loaded.path(loaded.pipeline.output.path))
        DeltaTable(path).update({"score": str(score)})
        adopt_present(loaded, partition(loaded, DAYS[0]), "ada")

    in_child(change)


def scores(loaded: Loaded) -> set[object]:
    return {row["score"] for row in rows(loaded, DAYS[0])}


def held(loaded: Loaded) -> None:
    """The night is held for a person."""

    def hold() -> None:
        run = scored(loaded, DAYS[0], hold="look at it")
        judge_run(run)
        with pytest.raises(Held):
            publish_run(run)

    in_child(hold)


def grow_old(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


def test_a_moved_night_is_found_where_the_table_has_forgotten_its_number(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moved(loaded, place)
    for commit in (tmp_path / place["path"] / "_delta_log").glob("*.json"):
        lines = [line for line in commit.read_text().splitlines() if '"txn"' not in line]
        commit.write_text("\n".join(lines) + "\n")
    assert manifest_of(at(place), DAYS[0]).id == manifest_of(loaded, DAYS[0]).id


@pytest.mark.parametrize("target", ["delta", "delta on s3"])
def test_a_night_that_waits_for_a_person_in_the_new_place_is_left_to_them(
    project: Project, places: Mapping[str, dict], target: str
) -> None:
    loaded, place = project(**PINNED), places[target]
    published(loaded, DAYS[0])
    there = at(place)
    held(there)
    [night] = moved(loaded, place)
    assert "it is held there" in night.problem
    in_child(lambda: reject_held(there, partition(there, DAYS[0]), "ada", "no") and None)
    assert "it is rejected there (rejected by ada: no)" in moved(loaded, place)[0].problem
    held(there)
    in_child(lambda: approve_held(there, partition(there, DAYS[0]), "bob"))
    assert [night.problem for night in moved(loaded, place)] == [""]
    found = manifest_of(there, DAYS[0])
    assert (found.approved_by, found.verdict) == ("bob", "hold")
    assert not problems(there, DAYS[0])


@pytest.mark.parametrize("target", ["delta", "delta on s3"])
@pytest.mark.parametrize("decided", ["held", "rejected"])
def test_what_was_decided_in_the_new_place_outlives_a_failed_planning_and_its_status(
    project: Project, places: Mapping[str, dict], target: str, decided: str
) -> None:
    """The same night, judged alike, is approved in the old place."""
    loaded, place = project(**PINNED), places[target]
    night, there = partition(loaded, DAYS[0]), at(place)
    held(loaded)
    in_child(lambda: approve_held(loaded, night, "bob"))
    held(there)
    if decided == "rejected":
        in_child(lambda: reject_held(there, night, "ada", "no") and None)

    def fail() -> str:
        state = Places.of(there).state.partition(night)
        state.write_planning_failed("no such column")
        status = state.status()
        assert status is not None
        return status.state

    assert in_child(fail) == decided
    assert f"it is {decided} there" in moved(loaded, place)[0].problem
    in_child(lambda: _forget_status(there))
    assert f"it was {decided} there" in moved(loaded, place)[0].problem
    assert in_child(fail) == "failed"
    assert f"it was {decided} there" in moved(loaded, place)[0].problem
    held(there)
    in_child(lambda: approve_held(there, night, "eve"))
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert manifest_of(there, DAYS[0]).approved_by == "eve"


def test_what_a_folder_has_of_the_same_run_is_not_mixed_with_what_others_changed(
    project: Project, places: Mapping[str, dict]
) -> None:
    project(**PINNED)
    lake = at(places["delta"])
    published(lake, DAYS[0])
    update(lake, 0.25)
    assert [night.problem for night in moved(lake, FOLDERS)] == [""]
    in_child(lambda: roll_back(lake, partition(lake, DAYS[0]), None, "ada"))
    for _ in range(2):
        [night] = moved(lake, FOLDERS)
        assert "score it in the new place" in night.problem
        assert scores(at(FOLDERS)) == {0.25}
        assert not problems(at(FOLDERS), DAYS[0], replay=0)


def test_nights_of_one_id_that_others_made_different_are_not_taken_for_one(
    project: Project, places: Mapping[str, dict]
) -> None:
    project(**PINNED)
    one, place = at(places["delta"]), {"path": "other/scores", "format": "delta"}
    published(one, DAYS[0])
    moved(one, place)
    other = at(place)
    for loaded in (one, other):
        update(loaded, 0.25)
    assert [night.problem for night in moved(one, place)] == [""], "the same rows"
    for loaded, score in ((one, 0.5), (other, 0.75)):
        update(loaded, score)
    assert manifest_of(one, DAYS[0]).id == manifest_of(other, DAYS[0]).id
    [night] = moved(one, place)
    assert "another program has changed it in one of the places" in night.problem
    assert scores(other) == {0.75}


def test_a_place_may_be_named_otherwise_when_a_killed_move_goes_on(
    project: Project, tmp_path: Path
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    for point in range(1, 8):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        killed(
            loaded, {**FOLDERS, "path": str(tmp_path / "other/scores")}, f"record.written@{point}"
        )
        if [*tmp_path.glob("other/**/settings.json")]:
            break
    assert not [*tmp_path.glob("other/**/run.json")], "between the two"
    assert [night.problem for night in moved(loaded, FOLDERS)] == [""]
    assert not problems(at(FOLDERS), DAYS[0], replay=0)


@pytest.mark.parametrize("target", ["delta", "delta on s3"])
def test_a_publish_that_was_killed_in_the_new_place_does_not_stop_a_move_for_good(
    project: Project, places: Mapping[str, dict], target: str
) -> None:
    loaded, place = project(**PINNED), places[target]
    published(loaded, DAYS[0])
    there = at(place)

    def publish() -> None:
        os.environ[VARIABLE] = "commit.written"
        night_of(there, DAYS[0])

    assert _ended(_fork(publish)) == -signal.SIGKILL
    assert "it is being scored there" in moved(loaded, place)[0].problem
    in_child(lambda: _forget_status(there))
    [night] = moved(loaded, place)
    if "s3" in target:  # somebody may be publishing it just now
        assert "Score it there (`nocturne score`)" in night.problem
        published(there, DAYS[0])
        [night] = moved(loaded, place)
    assert night.ok, night.problem
    assert not problems(there, DAYS[0])


def _forget_status(loaded: Loaded) -> None:
    state = Places.of(loaded).state.partition(partition(loaded, DAYS[0]))
    status = state.status()
    assert status is not None
    state.clear_status(status.run_key)


def test_a_night_that_was_scored_where_a_move_was_killed_is_the_same_night(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta on s3"]
    published(loaded, DAYS[0])
    killed(loaded, place, "commit.written")
    there = at(place)
    published(there, DAYS[0])
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert manifest_of(there, DAYS[0]).number == 2
    assert not problems(there, DAYS[0])


def test_gc_takes_nothing_of_a_move_that_goes_on_where_it_was_killed(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    """What the killed one copied is old by now."""
    loaded, place = project(**PINNED, quality__max_quarantined=0.5), places["delta"]
    published(loaded, DAYS[0])
    killed(loaded, place, "record.written@3")
    there = at(place)
    grow_old(tmp_path / "delta")
    moving = started(loaded, place, "record.written@2")
    _, problems_, busy = in_child(lambda: collect(there, 86_400, remove=True))
    assert (problems_, len(busy)) == ([], 1)
    assert goes_on(moving) == 0
    assert not problems(there, DAYS[0])
    assert in_child(lambda: run_of(there, manifest_of_here(there)).plan.model.path)


def manifest_of_here(loaded: Loaded):  # type: ignore[no-untyped-def]
    return PublishedNights(loaded).manifest(partition(loaded, DAYS[0]))


def test_gc_waits_for_a_move_into_a_store(
    project: Project, places: Mapping[str, dict], bucket: Bucket
) -> None:
    loaded, place = project(**PINNED), places["delta on s3"]
    published(loaded, DAYS[0])
    killed(loaded, place, "record.written@5")
    there = at(place)
    time.sleep(8)
    moving = started(loaded, place, "record.written@3")
    _, problems_, busy = in_child(lambda: collect(there, 6, remove=True))
    assert (problems_, len(busy)) == ([], 1)
    assert goes_on(moving) == 0
    assert not problems(there, DAYS[0])


@pytest.mark.parametrize("target", ["parquet", "delta on s3"])
def test_what_a_moved_night_has_lost_since_is_brought_again(
    project: Project, places: Mapping[str, dict], bucket: Bucket, tmp_path: Path, target: str
) -> None:
    loaded = project(**PINNED)
    place = FOLDERS if target == "parquet" else places[target]
    published(loaded, DAYS[0])
    moved(loaded, place)
    names = ("settings.json", "profile.json", "report.html")
    if "s3" in target:
        lost = [key for key in bucket.keys("delta/_nocturne") if key.endswith(names)]
        lost += bucket.keys("delta/_nocturne/scores/models/")
        for key in lost:
            bucket.delete(key)
    else:
        lost = [str(p) for name in names for p in tmp_path.glob(f"other/**/{name}")]
        lost += [str(p) for p in tmp_path.glob("other/**/models/*/**/*") if p.is_file()]
        for path in lost:
            os.unlink(path)
    assert len(lost) > 5
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert not problems(at(place), DAYS[0])


def test_decisions_of_nights_that_were_not_moved_stay_where_they_are(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moved(loaded, place)
    deliver(tmp_path, DAYS[0], 1)
    published(loaded, DAYS[0])
    second = manifest_of(loaded, DAYS[0])
    in_child(lambda: run_of(loaded, manifest_of_here(loaded)).write_logged("abc"))
    deliver(tmp_path, DAYS[0], 2)
    published(loaded, DAYS[0])
    assert [night.problem for night in moved(loaded, place)] == [""]
    folders = {path.parent.name for path in tmp_path.glob("delta/**/runs/*/*.json")}
    assert second.run_key[:16] not in folders
    runs = [json.loads(p.read_text())["run_key"] for p in tmp_path.glob("delta/**/runs/*/run.json")]
    assert {key[:16] for key in runs} == folders


@pytest.mark.parametrize("where", ["old", "new"])
@pytest.mark.parametrize("target", ["parquet", "delta"])
def test_a_night_that_was_only_compacted_is_the_same_night(
    project: Project, places: Mapping[str, dict], tmp_path: Path, where: str, target: str
) -> None:
    project(**PINNED)
    old = at(places["delta"])
    place = FOLDERS if target == "parquet" else {"path": "other/scores", "format": "delta"}
    if (where, target) == ("new", "parquet"):
        pytest.skip("folders are not compacted")
    published(old, DAYS[0])
    before = rows(old, DAYS[0])
    moved(old, place)
    compacted = old if where == "old" else at(place)

    def compact() -> None:
        from deltalake import DeltaTable

        DeltaTable(str(compacted.path(compacted.pipeline.output.path))).optimize.compact()
        adopted, left = adopt_compacted(compacted)
        assert (len(adopted), left) == (1, [])

    in_child(compact)
    assert [night.problem for night in moved(old, place)] == [""]
    assert rows(at(place), DAYS[0]) == before
    deliver(tmp_path, DAYS[0])
    published(old, DAYS[0])
    assert [night.problem for night in moved(old, place)] == [""], "a newer one replaces it"
    assert rows(at(place), DAYS[0]) == rows(old, DAYS[0]) != before


def test_nights_with_other_results_of_the_same_run_are_not_taken_for_one(
    project: Project, places: Mapping[str, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that answers differently each time."""
    from nocturne.engine.torch_model import TorchModel

    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    sound = TorchModel.predict

    def other(self: TorchModel, encoded):  # type: ignore[no-untyped-def]
        return tuple(values * 0.5 for values in sound(self, encoded))

    monkeypatch.setattr(TorchModel, "predict", other)
    published(at(place), DAYS[0])
    assert rows(at(place), DAYS[0]) != rows(loaded, DAYS[0])
    [night] = moved(loaded, place)
    assert "it was scored there with other results" in night.problem


@pytest.mark.parametrize("target", ["parquet", "delta"])
def test_a_moved_night_that_was_compacted_is_judged_again(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    """Its files are not those of the splits, which are not moved, and go with a VACUUM."""
    project(**PINNED, quality__unique_keys=True, quality__output_suite="o.yaml")
    suite(tmp_path, "o.yaml", OUTPUT[1:2])
    old = at(places["delta"])
    place = FOLDERS if target == "parquet" else {"path": "other/scores", "format": "delta"}
    published(old, DAYS[0])
    verdict = manifest_of(old, DAYS[0]).verdict

    def compact() -> None:
        from deltalake import DeltaTable

        table = DeltaTable(str(old.path(old.pipeline.output.path)))
        table.optimize.compact()
        adopt_compacted(old)
        table.vacuum(0, enforce_retention_duration=False, dry_run=False)

    in_child(compact)
    assert [night.problem for night in moved(old, place)] == [""]
    suite(tmp_path, "o.yaml", OUTPUT[1:3])  # one that was not measured while it was scored
    night = partition(old, DAYS[0])
    for loaded in (old, at(place)):
        judgement = in_child(lambda one=loaded: judge_again(one, night)[1])
        assert str(judgement.verdict) == verdict
        assert [e.success for e in judgement.quality.expectations] == [True, True]


def test_rows_of_others_are_not_judged_as_scores(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    project(**PINNED, quality__unique_keys=True)
    lake = at(places["delta"])
    published(lake, DAYS[0])
    update(lake, 0.25)
    moved(lake, FOLDERS)
    with pytest.raises(StateError, match="has no files with its scores any more"):
        in_child(lambda: judge_again(at(FOLDERS), partition(lake, DAYS[0])) and None)


@pytest.mark.parametrize("target", ["parquet", "delta", "delta on s3"])
def test_a_moved_night_is_judged_again(
    project: Project, places: Mapping[str, dict], target: str
) -> None:
    """Its keys are read from the published files."""
    loaded = project(**PINNED, quality__unique_keys=True)
    place = FOLDERS if target == "parquet" else places[target]
    published(loaded, DAYS[0])
    moved(loaded, place)
    there = at(place)
    night = partition(there, DAYS[0])
    verdict = manifest_of(loaded, DAYS[0]).verdict
    assert in_child(lambda: str(judge_again(there, night)[1].verdict)) == verdict


def test_a_place_may_get_another_format_when_a_killed_move_goes_on(
    project: Project, tmp_path: Path
) -> None:
    loaded = project(**PINNED)
    published(loaded, DAYS[0])
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    for point in range(1, 8):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        killed(loaded, {**FOLDERS, "format": "delta"}, f"record.written@{point}")
        if [*tmp_path.glob("other/**/run.json")]:
            break
    assert [night.problem for night in moved(loaded, FOLDERS)] == [""]
    there = at(FOLDERS)
    assert not problems(there, DAYS[0])
    assert in_child(lambda: run_of(there, manifest_of_here(there)).plan.format) == "parquet"


def test_a_run_that_was_judged_otherwise_there_is_left_to_its_people(
    project: Project, places: Mapping[str, dict]
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    there = at(place)
    in_child(lambda: judge_run(scored(there, DAYS[0], hold="look at it")) and None)
    in_child(lambda: _forget_status(there))
    assert "it was judged otherwise there" in moved(loaded, place)[0].problem


def test_what_the_old_place_publishes_meanwhile_is_moved_next(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moving = started(loaded, place, "record.written@2")
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    code = goes_on(moving)
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert rows(at(place), DAYS[0]) == rows(loaded, DAYS[0])
    assert code in (0, 1)
