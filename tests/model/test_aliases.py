"""The history of aliases, in a real registry: who moved them, what MLflow had, what is known."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nocturne.errors import ModelError, StateError
from nocturne.model import aliases
from nocturne.model.aliases import Point, changes_of, demote, known_version, notice, promote
from nocturne.model.tracking import connect
from nocturne.records.aliases import AliasChange

NAME = "delays"


ROUNDS = [NAME, "again", "once more"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with models of four versions. It is copied: making one costs seconds."""
    folder = tmp_path_factory.mktemp("registry")
    made = connect(f"sqlite:///{folder / 'mlflow.db'}")
    for name in ROUNDS:
        made.create_registered_model(name)
        for _ in range(4):
            made.create_model_version(name, str(folder))
    return folder / "mlflow.db"


@pytest.fixture
def client(registry: Path, tmp_path: Path) -> MlflowClient:
    shutil.copy(registry, tmp_path)
    return connect(f"sqlite:///{tmp_path / 'mlflow.db'}")


def changes(client: MlflowClient, alias: str = "champion", name: str = NAME) -> list[AliasChange]:
    return changes_of(client.get_registered_model(name).tags, alias)


def told(client: MlflowClient, name: str = NAME) -> list[tuple[str, int | None, int | None, str]]:
    return [(c.how, c.before, c.after, c.by) for c in changes(client, name=name)]


def test_a_promotion_moves_the_alias_and_says_who_when_and_why(client: MlflowClient) -> None:
    change = promote(client, NAME, "champion", 2, "ada", "better in spring")
    assert client.get_model_version_by_alias(NAME, "champion").version == 2
    assert (change.number, change.before, change.after, change.why) == (
        1,
        None,
        2,
        "better in spring",
    )
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(change.at)
    assert dt.timedelta(0) <= age < dt.timedelta(minutes=1)
    promote(client, NAME, "champion", 3, "bob")
    demote(client, NAME, "champion", "ada", "worse in May")
    assert told(client) == [
        ("promoted", None, 2, "ada"),
        ("promoted", 2, 3, "bob"),
        ("demoted", 3, 2, "ada"),
    ]
    assert client.get_model_version_by_alias(NAME, "champion").version == 2
    assert not [key for key in client.get_registered_model(NAME).tags if "claim" in key]


def test_what_can_not_be_moved_is_refused(client: MlflowClient) -> None:
    with pytest.raises(ModelError, match="has no version 9 that is ready: it has 1, 2, 3, 4"):
        promote(client, NAME, "champion", 9, "ada")
    with pytest.raises(ModelError, match="has no version before"):
        demote(client, NAME, "champion", "ada")
    promote(client, NAME, "champion", 1, "ada")
    with pytest.raises(ModelError, match="is version 1 already"):
        promote(client, NAME, "champion", 1, "bob")
    assert len(changes(client)) == 1


def test_a_change_in_mlflow_is_noticed_with_the_time_since_it_may_have_been(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set_registered_model_alias(NAME, "champion", "1")
    first = notice(client, NAME, "champion")
    assert first is not None
    assert (first.how, first.after, first.since) == ("found", 1, None)
    assert notice(client, NAME, "champion") is None
    monkeypatch.setattr(aliases, "_SEEN_EVERY_S", 0.0)
    time.sleep(0.01)
    seen = dt.datetime.now(dt.UTC)
    assert notice(client, NAME, "champion") is None  # it was seen there again
    client.set_registered_model_alias(NAME, "champion", "3")
    second = notice(client, NAME, "champion")
    assert second is not None
    assert (second.how, second.before, second.after, second.by) == ("noticed", 1, 3, "")
    assert second.since is not None
    assert first.at < second.since < second.at
    assert abs(dt.datetime.fromisoformat(second.since) - seen) < dt.timedelta(seconds=5)
    client.delete_registered_model_alias(NAME, "champion")
    third = notice(client, NAME, "champion")
    assert third is not None
    assert (third.before, third.after) == (3, None)


def test_a_promotion_notices_what_was_changed_before_it(client: MlflowClient) -> None:
    promote(client, NAME, "champion", 1, "ada")
    client.set_registered_model_alias(NAME, "champion", "2")
    promote(client, NAME, "champion", 3, "bob")
    assert told(client) == [
        ("promoted", None, 1, "ada"),
        ("noticed", 1, 2, ""),
        ("promoted", 2, 3, "bob"),
    ]


PROMOTE = """
import sys, time
from nocturne.errors import Superseded
from nocturne.model import aliases
from nocturne.model.tracking import connect
client = connect(sys.argv[1])
there = aliases.versions_of
def versions_of(*given):
    found = there(*given)
    print("ready", flush=True)
    sys.stdin.readline()
    return found
aliases.versions_of = versions_of
for name in sys.argv[3:]:
    try:
        aliases.promote(client, name, "champion", int(sys.argv[2]), "p" + sys.argv[2])
        print("moved", flush=True)
    except Superseded:
        print("refused", flush=True)
"""


@pytest.mark.long
def test_of_promotions_at_once_one_is_carried_out(client: MlflowClient, tmp_path: Path) -> None:
    for name in ROUNDS:
        promote(client, name, "champion", 1, "ada")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, uri, str(version), *ROUNDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for version in (2, 3, 4)
    ]
    for name in ROUNDS:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in processes if process.stdout]
        assert sorted(said) == ["moved", "refused", "refused"]
        winner = said.index("moved") + 2
        moved = ("promoted", 1, winner, f"p{winner}")
        assert told(client, name) == [("promoted", None, 1, "ada"), moved]
        assert client.get_model_version_by_alias(name, "champion").version == winner
    for process in processes:
        process.communicate()


def test_the_claim_of_a_process_that_died_does_not_stop_others(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)).isoformat()
    client.set_registered_model_tag(NAME, "nocturne.claim.champion.dead", f"0 {old}")
    promote(client, NAME, "champion", 2, "ada")
    assert len(changes(client)) == 1
    assert notice(client, NAME, "champion") is None


def test_a_claim_left_behind_does_not_stop_what_is_noticed(client: MlflowClient) -> None:
    promote(client, NAME, "champion", 1, "ada")
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)).isoformat()
    client.set_registered_model_tag(NAME, "nocturne.claim.champion.dead", f"3 {old}")
    client.set_registered_model_alias(NAME, "champion", "2")
    assert notice(client, NAME, "champion") is not None
    now = dt.datetime.now(dt.UTC).isoformat()
    client.set_registered_model_tag(NAME, "nocturne.claim.champion.alive", f"3 {now}")
    client.set_registered_model_alias(NAME, "champion", "3")
    assert notice(client, NAME, "champion") is None  # that one writes it


def test_demote_goes_back_step_by_step_and_not_to_and_fro(client: MlflowClient) -> None:
    for version in (1, 2, 3):
        promote(client, NAME, "champion", version, "ada")
    assert demote(client, NAME, "champion", "ada").after == 2
    assert demote(client, NAME, "champion", "ada").after == 1
    with pytest.raises(ModelError, match="has no version before"):
        demote(client, NAME, "champion", "ada")
    promote(client, NAME, "champion", 4, "ada")
    assert demote(client, NAME, "champion", "ada").after == 1


@pytest.mark.parametrize("alias", ["", "with space", "a.b", "latest", "v3", "x" * 101])
def test_what_can_not_be_an_alias_is_refused(client: MlflowClient, alias: str) -> None:
    with pytest.raises(ModelError, match="can't be an alias"):
        promote(client, NAME, alias, 1, "ada")
    assert not client.get_registered_model(NAME).tags


def test_a_record_is_never_before_the_one_that_precedes_it(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).isoformat(timespec="milliseconds")
    monkeypatch.setattr(aliases, "_now", lambda: ahead)
    monkeypatch.setattr(aliases, "_claim", lambda number: f"{number} {ahead}")
    promote(client, NAME, "champion", 1, "ada")
    monkeypatch.undo()
    assert promote(client, NAME, "champion", 2, "bob").at == ahead


def test_a_long_reason_is_cut_to_what_a_tag_holds(client: MlflowClient) -> None:
    change = promote(client, NAME, "champion", 1, "ada", "ü" * 3000)
    assert changes(client) == [change]
    assert change.why == "ü" * 500


def test_a_record_that_is_missing_is_a_gap_that_is_not_guessed() -> None:
    changes = [moved(1, None, 1, 10), moved(3, 2, 3, 20)]
    assert known_version(changes, [], dt.datetime(2026, 5, 25, tzinfo=dt.UTC)) == 3
    with pytest.raises(StateError, match="the history has a gap before 2026-05-20"):
        known_version(changes, [], dt.datetime(2026, 5, 15, tzinfo=dt.UTC))


def test_a_damaged_record_is_named(client: MlflowClient) -> None:
    client.set_registered_model_tag(NAME, "nocturne.alias.champion.000001", json.dumps({"x": 1}))
    with pytest.raises(StateError, match=r"the tag nocturne\.alias\.champion\.000001"):
        changes(client)


def at(day: int, hour: int = 0) -> str:
    return dt.datetime(2026, 5, day, hour, tzinfo=dt.UTC).isoformat(timespec="milliseconds")


def moved(
    number: int, before: int | None, after: int | None, day: int, since: int = 0
) -> AliasChange:
    how = "noticed" if since else "promoted"
    return AliasChange(
        number,
        "champion",
        how,
        before,
        after,
        at(day),
        at(since) if since else None,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("day", "version"),
    [(10, 1), (14, 1), (15, 2), (19, 2), (20, 2), (25, 3), (28, 3), (30, None), (31, None)],
)
def test_the_version_at_a_time_follows_from_the_history(day: int, version: int | None) -> None:
    changes = [
        moved(1, None, 1, 10),
        moved(2, 1, 2, 15),
        moved(3, 2, 3, 25, since=21),
        moved(4, 3, None, 30),
    ]
    assert known_version(changes, [], dt.datetime(2026, 5, day, tzinfo=dt.UTC)) == version


def test_while_it_was_changed_in_mlflow_it_is_not_known() -> None:
    changes = [moved(1, None, 1, 10), moved(2, 1, 2, 20, since=15)]
    for day in (15, 19):
        with pytest.raises(StateError, match="from version 1 to 2 in MLflow, between 2026-05-15"):
            known_version(changes, [], dt.datetime(2026, 5, day, tzinfo=dt.UTC))


def test_before_the_history_runs_know_it_where_those_around_agree() -> None:
    changes = [moved(1, None, 2, 20)]
    points = [Point(at(1), 1), Point(at(5), 1), Point(at(9), 2)]

    def known(day: int) -> int | None:
        return known_version(changes, points, dt.datetime(2026, 5, day, tzinfo=dt.UTC))

    assert [known(day) for day in (1, 3, 5, 9, 15, 20)] == [1, 1, 1, 2, 2, 2]
    with pytest.raises(StateError, match="it is known from 2026-05-20"):
        known(7)
    with pytest.raises(StateError, match="can't be known: it is known from"):
        known_version(changes, points, dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
    with pytest.raises(StateError, match=r"can't be known\. Name the version"):
        known_version([], [], dt.datetime(2026, 4, 1, tzinfo=dt.UTC))


def test_two_aliases_have_histories_of_their_own(client: MlflowClient) -> None:
    promote(client, NAME, "champion", 1, "ada")
    promote(client, NAME, "challenger", 2, "ada")
    promote(client, NAME, "champion", 2, "ada")
    assert [c.after for c in changes(client, "challenger")] == [2]
    assert [c.after for c in changes(client)] == [1, 2]
