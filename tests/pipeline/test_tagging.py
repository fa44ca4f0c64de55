"""What became of a night, and what people decided, is in its MLflow run; MLflow holds nobody up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forked import in_child
from formats import OUTPUT
from nocturne.config import Loaded
from nocturne.errors import Held
from nocturne.host.identity import AIRFLOW_PAGE
from nocturne.model import tracking
from nocturne.model.tracking import connect
from nocturne.operate.decisions import accept, adopt_present, approve_held, reject_held, roll_back
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.publishing import gate, publish_run
from nocturne.pipeline.recording import judge_again, judge_run
from nocturne.store.run import Run
from pipeline.conftest import DAYS, night_of, run_of, scored, shift

MakeProject = Callable[..., Loaded]

STATE = "nocturne.state"
PAGE = "https://airflow.example/nocturne/p/2024-01-01"


def _tags(root: Path, run_id: str | None) -> dict[str, str]:
    client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    assert run_id is not None
    return dict(client.get_run(run_id).data.tags)


def _decision(root: Path, run: Run) -> list[str | None]:
    """State, decision, who decided and why of a run."""
    tags = _tags(root, run.mlflow_run_id())
    names = ("decision", "decided_by", "why")
    return [tags[STATE], *(tags.get(f"nocturne.{name}") for name in names)]


def _held(loaded: Loaded, day: str = DAYS[0]) -> Run:
    run = scored(loaded, day, hold="a new model")
    judge_run(run)
    with pytest.raises(Held), run.step("gate"):
        gate(run)
    return run


def test_a_held_night_that_is_approved_is_published_by_somebody(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    run = _held(loaded)
    assert _decision(tmp_path, run) == ["held", None, None, None]
    approve_held(loaded, run.plan.partition, "ada")
    assert _decision(tmp_path, run) == ["published", "approved", "ada", ""]
    approval = run.approval()
    assert approval is not None
    assert _tags(tmp_path, run.mlflow_run_id())["nocturne.decided_at"] == approval.at


def test_a_rejected_night_says_why_until_it_is_judged_again(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    run = _held(loaded)
    reject_held(loaded, run.plan.partition, "ada", "the feed was down")
    assert _decision(tmp_path, run) == ["rejected", "rejected", "ada", "the feed was down"]
    judge_again(loaded, run.plan.partition)
    assert _decision(tmp_path, run) == ["held", None, None, None]


def test_a_rollback_says_which_scores_are_in_force(project: MakeProject, tmp_path: Path) -> None:
    loaded = project()
    first = scored(loaded, DAYS[0])
    judge_run(first)
    before = publish_run(first)
    shift(tmp_path, DAYS[0])
    second = scored(loaded, DAYS[0])
    judge_run(second)
    publish_run(second)
    states = [_decision(tmp_path, run)[0] for run in (first, second)]
    assert states == ["superseded", "published"]
    roll_back(loaded, before.partition, None, "ada")
    why = f"manifest {before.id} is in force again"
    assert _decision(tmp_path, first) == ["published", "rolled back", "ada", why]
    assert _decision(tmp_path, second)[0] == "superseded"


def test_drift_that_is_accepted_is_a_decision_too(project: MakeProject, tmp_path: Path) -> None:
    loaded = project(drift__floor=0.0)
    shift(tmp_path, DAYS[0], by=9.0)
    run = scored(loaded, DAYS[0])
    judge_run(run)
    publish_run(run)
    accept(loaded, run.plan.partition, "ada")
    assert _decision(tmp_path, run) == ["published", "drift accepted", "ada", ""]


def test_rows_of_another_program_that_are_adopted_are_somebodys_decision(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(**{f"output__{name}": value for name, value in OUTPUT["delta"].items()})

    def adopted() -> list[str | None]:
        from deltalake import DeltaTable

        run = scored(loaded, DAYS[0])
        judge_run(run)
        publish_run(run)
        DeltaTable(str(loaded.path(loaded.pipeline.output.path))).update({"score": "0.5"})
        adopt_present(loaded, run.plan.partition, "ada")
        return _decision(tmp_path, run)

    assert in_child(adopted) == ["published", "adopted", "ada", ""]


def test_the_page_of_a_night_is_linked_and_is_not_of_its_environment(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    done = night_of(loaded, DAYS[0], caller={"airflow": "3.3.2", AIRFLOW_PAGE: PAGE})
    assert PAGE not in json.dumps(done.environment)
    run = run_of(loaded, done)
    assert f"[Scoring]({PAGE})" in _tags(tmp_path, run.mlflow_run_id())["mlflow.note.content"]
    assert verify_partition(loaded, done.partition).ok


@pytest.fixture(params=["refuses", "is silent"])
def dead_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that refuses connections, or accepts them and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if request.param == "refuses":
            server.close()
        yield url


def test_a_decision_is_made_soon_and_once_while_mlflow_is_away(
    project: MakeProject,
    tmp_path: Path,
    dead_server: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = project()
    approved, rejected = _held(loaded), _held(loaded, DAYS[1])
    little = tracking._LITTLE_PATIENCE | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    monkeypatch.setattr(tracking, "_LITTLE_PATIENCE", little)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_server)
    began = time.monotonic()
    assert approve_held(loaded, approved.plan.partition, "ada").approved_by == "ada"
    reject_held(loaded, rejected.plan.partition, "ada")
    assert time.monotonic() - began < 8
    assert rejected.rejection() is not None
    said = [r.getMessage() for r in caplog.records if "its MLflow run" in r.getMessage()]
    assert said == [
        f"{day}: {what}, but its MLflow run does not say so: RegistryUnavailable: MLflow at "
        f"{dead_server} did not answer"
        for day, what in ((DAYS[0], "approved"), (DAYS[1], "rejected"))
    ]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    publish_run(approved)  # as when the task is cleared: what was missed is told
    assert _decision(tmp_path, approved) == ["published", "approved", "ada", ""]
