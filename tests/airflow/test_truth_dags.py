"""The DAGs of labels and promotions without a server: what they tell, and what they ask once."""

from __future__ import annotations

import datetime as dt
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DagRunTriggerException,
)

from nocturne.records.evidence import Evidence
from nocturne.records.truth import Difference
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.channels import Message
from nocturne_airflow.gate import NOBODY
from nocturne_airflow.promotion import PromotionOperator, question
from nocturne_airflow.truth import LabelsTrigger, ProposeOperator, TruthOperator

DAGS = Path(__file__).resolve().parents[2] / "dags"
EVIDENCE: dict[str, Any] = {
    "pipeline": "daily",
    "model": "m",
    "alias": "champion",
    "name": "challenger",
    "champion": 1,
    "challenger": 2,
    "metric": "auc",
    "better": "more",
    "nights": {"2013-04-01": 0.02, "2013-04-02": 0.03},
    "mean": {"value": 0.025, "low": 0.01, "high": 0.04},
    "segments": {"origin=<b>*": -0.001},
    "proposed": True,
    "why": "auc +0.025 against version 1",
}


class Told(Alerts):
    """Keeps the alerts."""

    def __init__(self, *, works: bool = True) -> None:
        super().__init__("daily")
        self.works = works
        self.sent: list[Message] = []

    def send(self, message: Message) -> bool:
        self.sent.append(message)
        return self.works


def context(**params: Any) -> Any:
    run = SimpleNamespace(run_type="manual", dag_id="daily_truth", run_id="r", conf={})
    there = SimpleNamespace(is_paused=False)
    kept: dict[str, Any] = {"version": 2}
    ti = SimpleNamespace(
        get_dag=lambda dag_id: there,
        xcom_push=lambda key, value: kept.__setitem__(key, value),
        xcom_pull=lambda task_ids, key: kept[key],
    )
    return {"dag_run": run, "params": params, "ti": ti, "task_instance": ti}


def logged(log: Path, answer: Any, code: int = 0) -> str:
    """A step that notes its arguments, and answers; only what is noted as told never fails."""
    return f"""
with open({str(log)!r}, "a") as log: log.write(" ".join(args) + chr(10))
print({json.dumps(answer)!r})
sys.exit(0 if "--told" in args else {code})
"""


def truth(alerts: Alerts, root: Path) -> TruthOperator:
    return TruthOperator(task_id="count", pipeline="daily", alerts=alerts, home=str(root))


def propose(alerts: Alerts, root: Path, auto: bool = False) -> ProposeOperator:
    return ProposeOperator(
        task_id="propose", pipeline="daily", alerts=alerts, home=str(root), auto=auto
    )


def promote(alerts: Alerts, root: Path) -> PromotionOperator:
    return PromotionOperator(
        task_id="approve",
        pipeline="daily",
        alerts=alerts,
        home=str(root),
        deadline=dt.timedelta(hours=1),
    )


def answered(option: str, user: dict[str, str] | None) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_by_user": user,
        "responded_at": dt.datetime.now(dt.UTC),
        "timedout": user is None,
    }


def counted(**more: Any) -> dict[str, Any]:
    said = {"pipeline": "daily", "counted": ["2013-04-01"], "problems": {}, "alerts": {}}
    return {**said, "nights": [], **more}


def test_what_is_beyond_is_told_before_it_is_noted_as_told(steps: Any, tmp_path: Path) -> None:
    log, alerts = tmp_path / "log", Told()
    steps(logged(log, counted(alerts={"2013-04-01:2": ["auc is 0.5"]})))
    assert truth(alerts, tmp_path).execute(context()) == ["2013-04-01"]
    [told] = alerts.sent
    assert (told.event, told.partition, told.why) == ("truth", "2013-04-01", "auc is 0.5")
    assert log.read_text().splitlines() == [
        "truth daily --due --json",
        "truth daily --told 2013-04-01:2",
    ]


def test_an_alert_that_was_not_sent_is_not_noted_as_told(steps: Any, tmp_path: Path) -> None:
    log, alerts = tmp_path / "log", Told(works=False)
    steps(logged(log, counted(alerts={"2013-04-01:2": ["auc is 0.5"]})))
    truth(alerts, tmp_path).execute(context())
    assert log.read_text().splitlines() == ["truth daily --due --json"]


def test_what_a_later_try_may_mend_is_tried_again(steps: Any, tmp_path: Path) -> None:
    steps(logged(tmp_path / "log", counted(problems={"2013-04-02": "no answer"}), code=75))
    with pytest.raises(AirflowException, match="2013-04-02: no answer") as failed:
        truth(Told(), tmp_path).execute(context())
    assert not isinstance(failed.value, AirflowFailException)


def test_nights_that_can_not_be_counted_fail_the_task_after_the_others(
    steps: Any, tmp_path: Path
) -> None:
    alerts = Told()
    problems = {"2013-04-02": "the labels have more than one row of a key"}
    beyond = {"2013-04-01:2": ["auc is 0.5"]}
    steps(logged(tmp_path / "log", counted(alerts=beyond, problems=problems), code=1))
    with pytest.raises(AirflowFailException, match="2013-04-02: the labels have more than one"):
        truth(alerts, tmp_path).execute(context())
    assert len(alerts.sent) == 1


def test_a_failed_step_fails_the_task(steps: Any, tmp_path: Path) -> None:
    steps("print('nocturne: no labels', file=sys.stderr); sys.exit(1)")
    with pytest.raises(AirflowFailException, match="truth: nocturne: no labels"):
        truth(Told(), tmp_path).execute(context())


def test_a_challenger_is_proposed_by_a_run_that_names_both_versions(
    steps: Any, tmp_path: Path
) -> None:
    steps(logged(tmp_path / "log", EVIDENCE))
    with pytest.raises(DagRunTriggerException) as asked:
        propose(Told(), tmp_path).execute(context())
    assert asked.value.trigger_dag_id == "daily_promote"
    assert asked.value.dag_run_id == "m_2_over_1"
    assert asked.value.skip_when_already_exists
    assert asked.value.conf["version"] == 2


def test_without_evidence_nobody_is_asked(steps: Any, tmp_path: Path) -> None:
    steps(logged(tmp_path / "log", EVIDENCE | {"proposed": False, "why": "1 of 2 nights"}))
    with pytest.raises(AirflowSkipException, match="challenger is not proposed: 1 of 2 nights"):
        propose(Told(), tmp_path).execute(context())


def test_with_auto_the_alias_is_moved_at_once_and_told(steps: Any, tmp_path: Path) -> None:
    log, alerts = tmp_path / "log", Told()
    steps(logged(log, EVIDENCE))
    propose(alerts, tmp_path, auto=True).execute(context())
    assert log.read_text().splitlines()[1] == (
        "evidence daily --promote --version 2 --by promote.auto --json"
    )
    [told] = alerts.sent
    assert told.why == "m version 2 is being promoted: auc +0.025 against version 1"


def test_an_answer_is_carried_out_in_the_name_of_who_gave_it(steps: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps(logged(log, EVIDENCE))
    task = promote(Told(), tmp_path)
    task.execute_complete(context(version=2), answered("Approve", {"id": "7", "name": "ada"}))
    task.execute_complete(context(version=2), answered("Reject", {"id": "7", "name": "ada"}))
    [said] = log.read_text().splitlines()
    assert said == "evidence daily --promote --version 2 --by ada --json"
    with pytest.raises(AirflowFailException, match=f"not promoted, {NOBODY}"):
        task.execute_complete(context(version=2), answered("Reject", None))


@pytest.mark.parametrize(
    ("changed", "error", "why"),
    [
        ({"challenger": 3}, AirflowSkipException, "it asks about version 2"),
        ({"proposed": False, "why": "too few"}, AirflowFailException, "not proposed: too few"),
    ],
)
def test_a_question_that_is_out_of_date_is_not_asked(
    steps: Any, tmp_path: Path, changed: dict[str, Any], error: type[Exception], why: str
) -> None:
    alerts = Told()
    steps(logged(tmp_path / "log", EVIDENCE | changed))
    with pytest.raises(error, match=why):
        promote(alerts, tmp_path).execute(context(version=2))
    assert alerts.sent == []


def test_the_question_shows_data_as_text() -> None:
    found = Evidence(**EVIDENCE | {"mean": Difference(**EVIDENCE["mean"])})
    asked = question(found, "/nocturne/daily/truth")
    assert "| 2013\\-04\\-02 | +0.03 |" in asked
    assert "origin=\\<b\\>\\*" in asked
    assert "moves the alias champion of m to version 2" in asked


def test_labels_that_came_or_changed_are_news_and_nights_that_are_done_are_not() -> None:
    trigger = LabelsTrigger("daily", "/x", 5)
    assert trigger.news(None, {}) is None
    assert trigger.news(None, {"a": "1"}) == {"nights": ["a"]}
    assert trigger.news({"a": "1", "b": "1"}, {"a": "1"}) is None
    assert trigger.news({"a": "1"}, {"a": "2", "b": "1"}) == {"nights": ["a", "b"]}


def with_sections(project: Path, **sections: Any) -> None:
    path = project / "conf" / "pipelines" / "daily.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))


LABELS = {"path": "var/labels", "column": "late", "poll_seconds": 7}


def test_a_pipeline_with_labels_has_a_dag_that_waits_for_them(project: Path) -> None:
    assert not any(n.endswith("_truth") for n in runpy.run_path(str(DAGS / "truth.py")))
    with_sections(project, labels=LABELS)
    found = runpy.run_path(str(DAGS / "truth.py"))
    assert "daily_promote" not in found
    dag = found["daily_truth"]
    assert [task.task_id for task in dag.tasks] == ["count"]
    [asset] = dag.timetable.asset_condition.objects
    assert asset.name == "labels/daily"
    _, kwargs = asset.watchers[0].trigger.serialize()
    assert kwargs == {"pipeline": "daily", "home": str(project), "every": 7}


def test_with_promote_it_proposes_and_another_one_asks(project: Path) -> None:
    with_sections(
        project,
        labels=LABELS,
        challengers=[{"alias": "challenger"}],
        promote={"when": {"metric": "auc"}, "auto": True, "deadline_hours": 2},
    )
    code = (
        "import json, runpy, sys; found = runpy.run_path(sys.argv[1]);"
        "dag = found['daily_truth'];"
        "heavy = [m for m in ('pyarrow', 'torch', 'mlflow', 'numpy') if m in sys.modules];"
        "print(json.dumps([heavy, sorted(dag.task_ids), dag.get_task('propose').auto]))"
    )
    command = [sys.executable, "-c", code, str(DAGS / "truth.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[], ["count", "propose"], True]
    asking = runpy.run_path(str(DAGS / "truth.py"))["daily_promote"]
    assert asking.get_task("approve").response_timeout == dt.timedelta(hours=2)
