"""Which model was in force on a past night, and backfills that take that one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from conftest import Other, sample
from nocturne import config
from nocturne.cli import app
from nocturne.codec import dump
from nocturne.model.tracking import connect
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.places import Places
from nocturne.records.aliases import AliasChange
from nocturne.table import published_manifest
from pipeline.conftest import DAYS
from pipeline.test_arms import canary, register, sharing
from pipeline.test_challengers import FIXED, Project, night

FIRST, LAST = DAYS[0], DAYS[-1]


def registry(loaded: config.Loaded) -> MlflowClient:
    return connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")


def move_in_mlflow(loaded: config.Loaded) -> None:
    """Version 2 becomes the champion, and nobody records it."""
    register(loaded)
    registry(loaded).set_registered_model_alias("small", "champion", "2")


def record(loaded: config.Loaded, *changes: tuple[int | None, int | None, str, str | None]) -> None:
    """The history of the alias champion: before, after, when, and since when if it was noticed."""
    client = registry(loaded)
    for number, (before, after, at, since) in enumerate(changes, 1):
        change = AliasChange(
            number,
            "champion",
            "noticed" if since else "promoted",
            before,
            after,
            f"{at}+00:00",
            f"{since}+00:00" if since else None,
        )
        client.set_registered_model_tag(
            "small", f"nocturne.alias.champion.{number:06d}", dump(change).strip()
        )
    after = changes[-1][1]
    if after is not None:
        client.set_registered_model_alias("small", "champion", str(after))


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    return result.output


def changes(said: str) -> list[dict[str, Any]]:
    """Those of the alias champion."""
    return [c for c in json.loads(said)["changes"] if c["alias"] == "champion"]


def versions(loaded: config.Loaded, days: Sequence[str] = DAYS) -> dict[str, int]:
    found = {}
    for day in days:
        partition = config.partition(loaded.pipeline.input.partition, day)
        manifest = published_manifest(Places.of(loaded).output(partition))
        if manifest is not None:
            found[day] = manifest.model.version
    return found


def test_a_backfill_as_of_takes_what_was_in_force_at_each_nights_time(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    register(loaded, alias="other")
    register(loaded, Other(12), alias="other")
    record(
        loaded,
        (None, 1, "2023-12-01T00:00:00", None),
        (1, 2, "2024-01-03T00:00:00", None),  # the night of the 2nd is scored at this time
        (2, 3, "2024-01-03T12:00:00", None),
    )
    run("score", "p", "--date", FIRST, "--to", DAYS[2], "--model", "as_of")
    assert versions(loaded) == dict(zip(DAYS, (1, 2, 3), strict=False))
    for day in DAYS[:3]:
        partition = config.partition(loaded.pipeline.input.partition, day)
        verified = verify_partition(loaded, partition, replay=None)
        assert verified.ok
        assert {r.outcome for r in verified.replayed} == {"bit-equal"}
    found = json.loads(run("history", "small", "--json"))
    scored = {(s["version"], s["first"], s["last"], s["nights"]) for s in found["scored"]}
    assert scored == {(number + 1, DAYS[number], DAYS[number], 1) for number in range(3)}
    of_champion = [c["after"] for c in found["changes"] if c["alias"] == "champion"]
    assert of_champion == [1, 2, 3]
    assert "2024-01-03T12:00:00" in run("history", "small")


@pytest.mark.long
def test_a_month_in_which_the_alias_moved_twice_has_for_each_night_the_version_of_its_time(
    project: Project,
) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    days = [f"2024-01-{day:02d}" for day in range(1, 32)]
    for number, day in enumerate(days[len(DAYS) :], len(DAYS)):
        folder = loaded.home / "data" / f"ds={day}"
        folder.mkdir()
        pq.write_table(sample(600, 100 + number, 1000 * number), folder / "part-0.parquet")
    register(loaded, alias="other")
    register(loaded, Other(12), alias="other")
    record(
        loaded,
        (None, 1, "2023-12-01T00:00:00", None),
        (1, 2, "2024-01-11T06:00:00", None),
        (2, 3, "2024-01-24T18:00:00", None),
    )
    run("score", "p", "--date", days[0], "--to", days[-1], "--model", "as_of")
    # A night is scored at the end of its day: that of the 10th before the first move.
    expected = [1] * 10 + [2] * 13 + [3] * 8
    assert versions(loaded, days) == dict(zip(days, expected, strict=True))
    for day in days:
        partition = config.partition(loaded.pipeline.input.partition, day)
        verified = verify_partition(loaded, partition, replay=None)
        assert verified.ok
        assert {r.outcome for r in verified.replayed} == {"bit-equal"}


def test_where_it_can_not_be_known_no_night_is_scored(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    register(loaded, alias="other")
    record(
        loaded,
        (None, 1, "2024-01-03T00:00:00", None),
        (1, 2, "2024-01-05T00:00:00", "2024-01-04T00:00:00"),
    )
    said = run("score", "p", "--date", FIRST, "--to", LAST, "--model", "as_of", code=1)
    assert "it is known from 2024-01-03T00:00:00+00:00 on" in said
    assert versions(loaded) == {}
    said = run("score", "p", "--date", DAYS[2], "--model", "as_of", code=1)
    assert "moved from version 1 to 2 in MLflow, between 2024-01-04" in said
    run("score", "p", "--date", DAYS[3], "--model", "as_of")
    run("score", "p", "--date", DAYS[1], "--model", "as_of")
    assert versions(loaded) == {DAYS[3]: 2, DAYS[1]: 1}


@pytest.mark.long
def test_pinned_keeps_the_version_that_scored_the_night(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    night(loaded)
    move_in_mlflow(loaded)
    assert "already published" in run("score", "p", "--date", FIRST, "--model", "pinned")
    assert versions(loaded) == {FIRST: 1}
    said = run("score", "p", "--date", DAYS[1], "--model", "pinned", code=1)
    assert "is not published" in said
    run("score", "p", "--date", FIRST, "--model", "current")
    assert versions(loaded) == {FIRST: 2}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--model", "newest"], "expected one of current, as_of, pinned"),
        (["--model", "as_of", "--model-version", "1"], "exclude each other"),
    ],
)
def test_what_can_not_be_meant_is_refused(project: Project, arguments: list[str], why: str) -> None:
    project(**FIXED)
    assert why in run("score", "p", "--date", FIRST, *arguments, code=1)


def test_as_of_needs_an_alias(project: Project) -> None:
    project(**FIXED, model__alias=None, model__version=1)
    said = run("score", "p", "--date", FIRST, "--model", "as_of", code=1)
    assert "as_of is for a model that is selected by an alias" in said


def test_a_backfill_of_the_dag_takes_what_the_yaml_says(project: Project) -> None:
    loaded = project(**FIXED, model__backfill="as_of")
    move_in_mlflow(loaded)
    record(loaded, (None, 1, "2023-12-01T00:00:00", None), (1, 2, "2024-01-04T00:00:00", None))

    def version(*arguments: str) -> int:
        out = CliRunner().invoke(app, ["prepare", "p", "--date", FIRST, *arguments]).stdout
        plan = Path(out.strip().splitlines()[-1]) / "run.json"
        return int(json.loads(plan.read_text())["model"]["version"])

    assert version("--backfill") == 1
    assert version() == 2
    assert version("--backfill", "--model", "current") == 2
    assert version("--backfill", "--model-version", "2") == 2


def test_each_run_notices_what_was_changed_in_mlflow(project: Project) -> None:
    loaded = project(**FIXED)
    night(loaded)
    move_in_mlflow(loaded)
    night(loaded, DAYS[1])
    night(loaded, DAYS[2])
    found = changes(run("history", "small", "--json"))
    assert [(c["how"], c["before"], c["after"]) for c in found] == [
        ("found", None, 1),
        ("noticed", 1, 2),
    ]
    assert found[1]["since"] is not None


def test_a_registry_that_takes_no_tags_costs_no_night(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = project(**FIXED)

    def refused(*given: Any) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", refused)
    assert night(loaded).rows_published == 600
    assert "the history of small@champion is not kept: PermissionError: read only" in caplog.text


def test_a_registry_that_takes_no_tags_answers_as_of_by_no_guess(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project(**FIXED)
    move_in_mlflow(loaded)
    record(loaded, (None, 1, "2023-12-01T00:00:00", None))
    registry(loaded).set_registered_model_alias("small", "champion", "2")

    def refused(*given: Any) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", refused)
    said = run("score", "p", "--date", FIRST, "--model", "as_of", code=75)
    assert "is being moved, or its history can't be written" in " ".join(said.split())
    assert versions(loaded) == {}


def test_history_counts_the_nights_of_a_canary_apart(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    night(loaded)
    night(sharing(loaded, canary=canary()), DAYS[1])
    found = json.loads(run("history", "small", "--json"))
    scored = Counter({(s["version"], s["share"]): s["nights"] for s in found["scored"]})
    assert scored == {(1, False): 2, (2, True): 1}


def test_commands_promote_and_demote(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    said = run("promote", "small", "2", "--by", "ada", "--why", "better")
    assert "small@champion: version 2, which was 1 before" in said
    night(loaded)
    assert "back to version 1" in run("demote", "small", "--by", "ada")
    found = changes(run("history", "small", "--json"))
    assert [(c["how"], c["after"], c["by"], c["why"]) for c in found] == [
        ("found", 1, "", ""),
        ("promoted", 2, "ada", "better"),
        ("demoted", 1, "ada", ""),
    ]
    assert "there is no registered model 'nothing'" in run("history", "nothing", code=1)
