"""A move continues the line of the new place, and undoes nothing that was decided there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from forked import in_child
from nocturne.config import Loaded
from nocturne.operate.decisions import adopt_compacted, adopt_present, roll_back
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
    rows,
)
from pipeline.test_move import places as places
from pipeline.test_moving import FOLDERS, lineage, scores, update
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

pytestmark = pytest.mark.long
OTHER = {"path": "other/scores", "format": "delta"}


def back(loaded: Loaded) -> str:
    """The id of the manifest by which a person rolls the first day back."""
    return in_child(lambda: roll_back(loaded, partition(loaded, DAYS[0]), None, "ada").id)


def delivery(root: Path, day: str) -> Path:
    return root / "data" / f"ds={day}" / "part-0.parquet"


@pytest.mark.parametrize("target", ["parquet", "delta", "delta on s3", "iceberg"])
def test_what_a_person_rolled_back_in_the_new_place_stays_so(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    loaded = project(**PINNED)
    place = FOLDERS if target == "parquet" else places[target]
    for seed in (1, 2):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
        assert [night.problem for night in moved(loaded, place)] == [""]
    there = at(place)
    restored, seen = back(there), rows(there, DAYS[0])
    for seed in (2, 3):  # what was left, and a night that comes after it
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
        [night] = moved(loaded, place)
        assert "which somebody put in force there again" in night.problem
        assert manifest_of(there, DAYS[0]).id == restored
        assert rows(there, DAYS[0]) == seen
    assert not problems(there, DAYS[0], replay=0)


def test_what_was_scored_again_in_the_new_place_stays_so(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    first = delivery(tmp_path, DAYS[0]).read_bytes()
    published(loaded, DAYS[0])
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    moved(loaded, place)
    delivery(tmp_path, DAYS[0]).write_bytes(first)
    there = at(place)
    published(there, DAYS[0])
    scored, seen = manifest_of(there, DAYS[0]), rows(there, DAYS[0])
    assert not moved(loaded, place)[0].ok
    assert (manifest_of(there, DAYS[0]), rows(there, DAYS[0])) == (scored, seen)


@pytest.mark.parametrize("target", ["parquet", "delta"])
def test_what_a_person_rolled_back_in_the_old_place_moves(
    project: Project, places: Mapping[str, dict], tmp_path: Path, target: str
) -> None:
    loaded = project(**PINNED)
    place = FOLDERS if target == "parquet" else places[target]
    published(loaded, DAYS[0])
    first = rows(loaded, DAYS[0])
    moved(loaded, place)
    deliver(tmp_path, DAYS[0])
    published(loaded, DAYS[0])
    moved(loaded, place)
    restored = back(loaded)
    assert [night.problem for night in moved(loaded, place)] == [""]
    assert manifest_of(at(place), DAYS[0]).id == restored
    assert rows(at(place), DAYS[0]) == first
    assert lineage(at(place), DAYS[0]) == lineage(loaded, DAYS[0])
    assert not problems(at(place), DAYS[0], replay=0)


def test_a_pipeline_moves_back_over_what_came_and_went_between_two_moves(
    project: Project, places: Mapping[str, dict], tmp_path: Path
) -> None:
    loaded, place = project(**PINNED), places["delta"]
    published(loaded, DAYS[0])
    moved(loaded, place)
    for seed in (1, 2):
        deliver(tmp_path, DAYS[0], seed)
        published(loaded, DAYS[0])
    moved(loaded, place)
    deliver(tmp_path, DAYS[0], 3)
    published(at(place), DAYS[0])
    [night] = moved(at(place), {"path": "out/scores", "format": "parquet"})
    assert (night.problem, night.manifest) == ("", manifest_of(loaded, DAYS[0]).id)
    assert rows(loaded, DAYS[0]) == rows(at(place), DAYS[0])


def test_rows_that_were_adopted_in_the_new_place_are_not_replaced_because_ids_coincide(
    project: Project, places: Mapping[str, dict]
) -> None:
    project(**PINNED)
    one = at(places["delta"])
    published(one, DAYS[0])
    moved(one, OTHER)
    other = at(OTHER)
    update(one, 0.25)
    update(other, 0.75)
    assert manifest_of(one, DAYS[0]).id == manifest_of(other, DAYS[0]).id
    for score in (0.5, 0.6):
        update(one, score)
        [night] = moved(one, OTHER)
        assert "another program has changed it in one of the places" in night.problem
        assert scores(other) == {0.75}


def test_adopted_rows_are_known_again_in_files_of_other_bytes(
    project: Project, places: Mapping[str, dict]
) -> None:
    """Those of Iceberg have a column more, and a compaction writes others with the same rows."""
    project(**PINNED)
    one, place = at(places["delta"]), places["iceberg"]
    published(one, DAYS[0])
    update(one, 0.25)
    assert [night.problem for night in moved(one, place)] == [""]
    assert [night.problem for night in moved(one, place)] == [""], "it is there"

    def compact() -> None:
        from deltalake import DeltaTable

        DeltaTable(str(one.path(one.pipeline.output.path))).optimize.compact()
        adopt_compacted(one)

    in_child(compact)
    assert [night.problem for night in moved(one, place)] == [""], "the same rows"
    update(one, 0.5)
    assert [night.problem for night in moved(one, place)] == [""]
    assert scores(at(place)) == {0.5}
    assert not problems(at(place), DAYS[0], replay=0)


def test_what_a_folder_can_t_tell_apart_is_said_with_what_to_do(
    project: Project, places: Mapping[str, dict]
) -> None:
    project(**PINNED)
    lake = at(places["delta"])
    published(lake, DAYS[0])
    moved(lake, FOLDERS)
    update(lake, 0.25)
    [night] = moved(lake, FOLDERS)
    assert "again" not in night.problem
    assert "Choose another place" in night.problem
    fresh = {"path": "fresh/scores", "format": "parquet"}
    assert [night.problem for night in moved(lake, fresh)] == [""]
    assert scores(at(fresh)) == {0.25}


def test_a_night_whose_rows_were_all_deleted_is_no_obstacle(
    project: Project, places: Mapping[str, dict], bucket: Bucket
) -> None:
    project(**PINNED)
    lake = at(places["delta"])
    published(lake, *DAYS[:2])
    assert [night.ok for night in moved(lake, FOLDERS)] == [True, True]

    def delete() -> None:
        from deltalake import DeltaTable

        DeltaTable(str(lake.path(lake.pipeline.output.path))).delete(f"ds = '{DAYS[0]}'")
        adopt_present(lake, partition(lake, DAYS[0]), "ada")

    in_child(delete)
    night, second = moved(lake, {"path": "fresh/scores", "format": "delta"})
    assert (night.ok, second.ok) == (True, True)
    assert "it has no rows" in night.note
    night, second = moved(lake, FOLDERS)
    assert (night.ok, second.ok) == (False, True), "its rows are there"
    assert "score it there" in night.problem
    assert "changed its rows again" not in night.problem
