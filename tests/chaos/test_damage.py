"""A damaged file of the state is named, and stops only what needs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.damage import HELD, ONCE, TWICE, Nights
from chaos.fuzz import clean
from nocturne.records.plan import RunPlan


@pytest.fixture(autouse=True)
def _undamaged(nights: Nights, at_home: None) -> None:
    nights.put_back()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file's JSON; its other links stay as they are."""
    content = json.loads(path.read_text())
    change(content)
    path.unlink()
    path.write_text(json.dumps(content))


def status(day: str) -> dict[str, Any]:
    code, out, _ = clean("status", "p", "--json")
    assert code == 0
    return next(night for night in json.loads(out) if night["partition"] == day)


def manifests(nights: Nights, day: str) -> list[Path]:
    return sorted((nights.state / f"ds={day}" / "manifests").iterdir())


def orphan(nights: Nights, day: str) -> Path:
    """What gc removes."""
    folder = nights.state / f"ds={day}" / "runs" / "0123456789abcdef"
    folder.mkdir()
    return folder


def test_a_damaged_manifest_keeps_gc_from_its_partition_alone(nights: Nights) -> None:
    first = manifests(nights, TWICE)[0]
    first.unlink()
    first.write_text("{")
    mine, other = orphan(nights, TWICE), orphan(nights, ONCE)
    code, _, said = clean("gc", "p", "--older-than", "0", "--yes")
    assert code == 1
    assert f"{TWICE} is left alone: {first} is not a Manifest" in said
    assert mine.exists()
    assert not other.exists()
    assert status(TWICE)["state"] == "published"
    assert clean("prepare", "p", "--date", TWICE, "--dry-run", "--force")[0] == 0


def test_files_of_others_among_the_manifests_are_left_alone(nights: Nights) -> None:
    notes = manifests(nights, TWICE)[0].with_name("notes.json")
    notes.write_text("mine")
    assert clean("gc", "p", "--older-than", "0", "--yes")[0] == 0
    assert clean("rollback", "p", "--date", TWICE)[0] == 0
    assert notes.read_text() == "mine"


def test_a_manifest_that_replaces_itself_is_named_and_ends(nights: Nights) -> None:
    now = manifests(nights, TWICE)[-1]
    edit(now, lambda content: content.update(replaces=content["id"]))
    assert clean("prepare", "p", "--date", TWICE, "--dry-run", "--force")[0] == 0
    code, _, said = clean("rollback", "p", "--date", TWICE)
    assert code == 1
    assert str(now) in said
    assert "a cycle in the chain of manifests" in said


def test_a_manifests_copy_under_another_name_is_named(nights: Nights) -> None:
    [mine] = manifests(nights, ONCE)
    copy = mine.with_name(f"000007-{mine.stem[7:]}.json")
    copy.write_bytes(mine.read_bytes())
    found = status(ONCE)
    assert found["state"] == "failed"
    assert f"{copy} says that it is manifest {mine.stem}" in found["message"]
    copy.unlink()
    assert status(ONCE)["state"] == "published"


@pytest.mark.parametrize("at", ["yesterday", "2024-01-01T00:00:00", "", None, 5, "9" * 400])
def test_a_time_that_is_none_in_the_runs_status(nights: Nights, at: object) -> None:
    path = nights.state / f"ds={HELD}" / "current.json"
    edit(path, lambda content: content.update(at=at))
    found = status(HELD)
    assert found["state"] == "failed"
    assert f"{path} is not a RunStatus" in found["message"]
    runs = sorted(path.with_name("runs").iterdir())
    code, _, said = clean("gc", "p", "--older-than", "0", "--yes")
    assert code == 1
    assert str(path) in said
    assert sorted(path.with_name("runs").iterdir()) == runs, "it may be held: nothing of it goes"
    code, _, said = clean("approve", "p", "--date", HELD)
    assert code == 1
    assert str(path) in said


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("run.json", {"version": RunPlan.VERSION + 1}, "written by a newer Nocturne"),
        ("run.json", {"created": "soon"}, "created: got 'soon', expected a time with its zone"),
        ("settings.json", {"output": 1}, "config.output: Input should be a valid dictionary"),
        ("run.json", {"another": 1}, "the field 'another', which this Nocturne does not know"),
        ("judgement.json", {"rows_in": float("inf")}, "rows_in"),
        ("judgement.json", {"seconds": {"score": float("nan")}}, "a finite number"),
        ("approval.json", {"by": 1}, "by: Input should be a valid string"),
    ],
)
def test_what_a_run_says_of_itself_is_checked(
    nights: Nights, name: str, change: dict[str, object], said: str
) -> None:
    [folder] = (nights.state / f"ds={HELD}" / "runs").iterdir()
    path = folder / name
    if not path.exists():
        path.write_text('{"by": "ada", "at": "2024-01-01T00:00:00+00:00"}')
    edit(path, lambda content: content.update(change))
    code, _, err = clean("gate", str(folder))
    assert code == 1
    assert str(path) in err
    assert said in err


def test_a_damaged_result_is_scored_again(nights: Nights) -> None:
    from nocturne import config
    from nocturne.pipeline.recording import judge_run
    from pipeline.conftest import scored

    loaded = config.load("p")
    [folder] = (nights.state / f"ds={HELD}" / "runs").iterdir()
    results = sorted((folder / "results").iterdir())
    before = [json.loads(path.read_text())["sha256"] for path in results]
    results[0].unlink()
    results[0].write_text('{"key": ')
    keys = sorted((folder / "attempts").glob("keys-*.npy"))
    for path in keys:
        path.unlink()
        path.write_bytes(b"\x93NUMPY\x01\x00")  # made again from the scores
    run = scored(loaded, HELD)
    assert [json.loads(path.read_text())["sha256"] for path in results] == before
    assert len(keys) == len(results)
    assert judge_run(run).verdict in ("ok", "warn")
