"""A decision is about the scores that were looked at, and what it can't do it doesn't begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.errors import Held, Superseded
from nocturne.operate.decisions import approve_held, reject_run, roll_back
from nocturne.operate.status import PartitionStatus, status_of
from nocturne.pipeline.publishing import approve, publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.partition import Partition
from nocturne.store.run import Run
from pipeline.conftest import DAYS, night_of, scored, shift

MakeProject = Callable[..., Loaded]
DAY = DAYS[0]


def partition(loaded: Loaded) -> Partition:
    return config.partition(loaded.pipeline.input.partition, DAY)


def stands(loaded: Loaded) -> PartitionStatus:
    return status_of(loaded, partition(loaded))


def held(loaded: Loaded) -> Run:
    run = scored(loaded, DAY, hold="look at it")
    judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    return run


def decided(command: str, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [command, "p", "--date", DAY, *options])
    return done.exit_code, done.output


def rolled_back(loaded: Loaded, root: Path) -> Run:
    """A held run; what is in force is not what it was planned against."""
    night_of(loaded, DAY)
    shift(root, DAY, by=0.01)
    night_of(loaded, DAY)
    shift(root, DAY, by=0.01)
    run = held(loaded)
    roll_back(loaded, partition(loaded), None, "bob")
    return run


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_a_decision_about_another_run_than_is_held_is_refused(
    project: MakeProject, tmp_path: Path, command: str
) -> None:
    loaded = project()
    looked_at = held(loaded)
    shift(tmp_path, DAY, by=0.01)
    now = held(loaded)
    code, said = decided(command, "--run", looked_at.name)
    assert code == 1
    assert f"held are those of the run {now.name}" in said
    assert stands(loaded).state == "held"
    assert (now.approval(), now.rejection()) == (None, None)
    code, said = decided(command, "--run", now.name)
    assert code == 0, said
    assert stands(loaded).state == {"approve": "published", "reject": "rejected"}[command]


def test_an_answer_at_the_gate_of_an_earlier_run_approves_nothing(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    asked = held(loaded)
    shift(tmp_path, DAY, by=0.01)
    now = held(loaded)
    with pytest.raises(Superseded, match=f"held are the scores of the run {now.name}"):
        approve(asked, "ada")
    assert asked.approval() is None
    assert stands(loaded).state == "held"


def test_what_can_t_be_published_any_more_is_not_approved_but_may_be_rejected(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    run = rolled_back(loaded, tmp_path)
    code, said = decided("approve")
    assert code == 1
    assert "these scores were planned when the published manifest was 000002" in said
    assert run.approval() is None
    assert stands(loaded).state == "held"
    code, said = decided("reject", "--why", "it was rolled back")
    assert code == 0, said
    assert stands(loaded).state == "rejected"


def test_what_can_t_be_published_any_more_stays_held_if_it_is_judged_to_be(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(drift__on_drift="hold")
    night_of(loaded, DAY)
    shift(tmp_path, DAY, by=0.01)
    night_of(loaded, DAY)
    shift(tmp_path, DAY, "x")
    run = scored(loaded, DAY)
    judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    roll_back(loaded, partition(loaded), None, "bob")
    path = tmp_path / "conf" / "pipelines" / "p.yaml"
    path.write_text(path.read_text().replace("on_drift: hold", "on_drift: warn"))
    code, said = decided("judge", "--publish")
    assert code == 1
    assert "these scores were planned when the published manifest was 000002" in said
    assert stands(loaded).state == "held"


def test_a_run_that_was_replaced_meanwhile_is_not_rejected(
    project: MakeProject, tmp_path: Path
) -> None:
    """As by a gate where nobody answered: the published night would need somebody again."""
    loaded = project()
    asked = held(loaded)
    shift(tmp_path, DAY, by=0.01)
    night_of(loaded, DAY)
    with pytest.raises(Superseded):
        reject_run(asked, "airflow", "nobody answered", unanswered=True)
    assert stands(loaded).state == "published"


def test_a_rejection_of_an_earlier_run_leaves_the_later_one_held(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    asked = held(loaded)
    shift(tmp_path, DAY, by=0.01)
    now = held(loaded)
    reject_run(asked, "airflow", "nobody answered", unanswered=True)
    status = stands(loaded)
    assert (status.state, status.run and status.run.name) == ("held", now.name)
    assert now.rejection() is None


@pytest.mark.parametrize("damage", ["{", ""])
def test_a_night_whose_judgement_can_t_be_read_stays_held(
    project: MakeProject, damage: str
) -> None:
    loaded = project()
    run = held(loaded)
    Path(str(run.judgement_file)).write_text(damage)
    code, said = decided("approve")
    assert code == 1
    assert str(run.judgement_file) in said
    assert run.approval() is None
    assert stands(loaded).state == "held"
    code, said = decided("judge", "--by", "ada")
    assert code == 0, said
    assert decided("approve")[0] == 0


def test_what_is_in_force_is_not_rejected(project: MakeProject) -> None:
    """As by an answer at a gate after a command has published it, and was killed then."""
    loaded = project()
    run = held(loaded)
    status = run.state.status()
    assert status is not None
    manifest = approve_held(loaded, run.plan.partition, "ada")
    run.state.write_status(status)
    with pytest.raises(Superseded, match="now it is 000001-"):
        reject_run(run, "bob", "too late")
    assert run.rejection() is None
    now = stands(loaded)
    assert (now.state, now.manifest) == ("published", manifest)
