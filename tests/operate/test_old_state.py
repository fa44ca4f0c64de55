"""A state that an earlier version wrote, moved to another place, opens and goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nocturne import config, table
from nocturne.config import Loaded
from nocturne.operate.decisions import approve_held, reject_held, roll_back
from nocturne.operate.reports import report_of
from nocturne.operate.status import statuses
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.recording import judge_again
from nocturne.records.findings import Verdict
from nocturne.records.partition import Partition
from pipeline.conftest import make_project

STATE = Path(__file__).parents[1] / "data" / "state_of_format_2"
TWICE, HELD = "2024-01-01", "2024-01-02"


def partition(key: str) -> Partition:
    return Partition(key, (("ds", key),))


@pytest.fixture
def old(tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """The project that the state belongs to, in a place where it was not made."""
    loaded = make_project(tmp_path, registry, monkeypatch)
    for name in ("data", "out"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(STATE / name, tmp_path / name)
    return loaded


def test_its_nights_stand_as_they_stood(old: Loaded) -> None:
    twice, held = statuses(old)
    assert (twice.key, twice.state, twice.model_version) == (TWICE, "published", 1)
    assert twice.manifest is not None
    assert (twice.manifest.number, twice.manifest.rows_published) == (2, 310)
    assert (held.key, held.state) == (HELD, "held")
    assert "20 of 200 rows (10.00%) are quarantined" in held.message


def test_reading_changes_no_file_of_it(old: Loaded) -> None:
    files = {path: path.read_bytes() for path in old.home.glob("out/**/*") if path.is_file()}
    statuses(old)
    verify_partition(old, partition(TWICE), replay=None)
    assert {p: p.read_bytes() for p in old.home.glob("out/**/*") if p.is_file()} == files


def test_what_was_found_of_a_night_is_known_rule_by_rule(old: Loaded) -> None:
    output = Places.of(old).output(partition(TWICE))
    first = output.state.history()[0]
    judgement = output.state.judgement(first)
    [finding] = [f for f in judgement.findings if f.rule == "quality.quarantined"]
    assert finding.verdict == Verdict.OK
    assert finding.reason.startswith("1 of 300 rows (0.33%) are quarantined, within the limit")
    assert first.findings == judgement.findings
    assert first.drifted == tuple(c.column for c in judgement.drift.alarmed)
    assert set(judgement.drift.columns[0].metrics) >= {"psi", "js", "linf"}


def test_a_night_verifies_and_replays(old: Loaded) -> None:
    found = verify_partition(old, partition(TWICE), replay=None)
    assert not found.problems
    assert len(found.replayed) == 2
    assert all(one.ok for one in found.replayed), found.replayed


def test_a_night_rolls_back_and_forth(old: Loaded) -> None:
    back = roll_back(old, partition(TWICE), None, "ada")
    assert (back.number, back.rows_published, back.rows_quarantined) == (3, 299, 1)
    assert back.restores is not None
    assert back.restores.startswith("000001-")
    assert not verify_partition(old, partition(TWICE)).problems
    again = roll_back(old, partition(TWICE), "2", "ada")
    assert (again.number, again.rows_published) == (4, 310)
    assert not verify_partition(old, partition(TWICE)).problems


def test_a_held_night_is_published_once_it_is_approved(old: Loaded) -> None:
    done = approve_held(old, partition(HELD), "ada")
    assert (done.approved_by, done.rows_published, done.rows_quarantined) == ("ada", 180, 20)
    assert not verify_partition(old, partition(HELD), replay=None).problems
    assert [night.key for night in PublishedNights(old).all()] == [TWICE, HELD]


def test_a_held_night_can_be_judged_again_and_rejected(old: Loaded) -> None:
    _, judgement, is_published = judge_again(old, partition(HELD))
    assert (judgement.verdict, is_published) == (Verdict.HOLD, False)
    reject_held(old, partition(HELD), "ada", "too many")
    [_, held] = statuses(old)
    assert (held.state, held.message) == ("rejected", "rejected by ada: too many")


def test_what_comes_after_is_judged_with_it_and_reported(old: Loaded) -> None:
    assert PublishedNights(old).manifest(partition(TWICE)).number == 2
    path = report_of(old, [partition(TWICE), partition(HELD)], None)
    assert path.is_relative_to(old.home / "out" / "_nocturne")
    assert f"not published: {HELD}" in path.read_text()


def test_its_format_becomes_todays_with_the_first_night(old: Loaded) -> None:
    places = Places.of(old)
    places.claim()
    assert '"format": 3' in (places.state.root / "format.json").read_text()
    assert table.published_manifest(places.output(partition(TWICE))) is not None
    assert config.load("p").pipeline == old.pipeline
