"""How the tasks run a step, and how its exit code becomes Airflow's answer."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import timedelta
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

from nocturne.config.alerts import Webhook
from nocturne.host.identity import code
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.command import Command, Outcome
from nocturne_airflow.operators import (
    JudgeOperator,
    PrepareOperator,
    ScoreOperator,
    StepOperator,
    check,
    need_run_dir,
)
from nocturne_airflow.sensor import ReadySensor
from receivers import posts
from waiting import gone, until

ROOT = Path(__file__).parents[2]
DAILY = {"ds": "%Y-%m-%d"}
LOG = logging.getLogger("test")


class Events:
    """What a task adds to an asset alias."""

    def __init__(self) -> None:
        self.added: list[tuple[Asset, dict[str, Any]]] = []

    def add(self, asset: Asset, *, extra: dict[str, Any]) -> None:
        self.added.append((asset, extra))


def context(run_type: str = "manual", key: str | None = None, **params: Any) -> Any:
    """What Airflow hands a task, as far as ours look at it."""
    task = SimpleNamespace(get_flat_relative_ids=lambda upstream: {"score", "judge"})
    run = SimpleNamespace(
        run_type=run_type,
        partition_key=key,
        conf=dict(params),
        triggering_user_name="ada",
        dag_id="daily",
    )
    ti = SimpleNamespace(task=task, get_first_reschedule_date=lambda _: None)
    return {"dag_run": run, "params": params, "ti": ti, "outlet_events": defaultdict(Events)}


def prepare(home: Path) -> PrepareOperator:
    return PrepareOperator(
        task_id="prepare",
        pipeline="daily",
        key_formats=DAILY,
        home=str(home),
        asset=Asset(name="scores/daily"),
    )


def sensor(home: Path, *, skip: bool = False, timeout: float = 60) -> ReadySensor:
    return ReadySensor(
        task_id="wait",
        pipeline="daily",
        key_formats=DAILY,
        home=str(home),
        skip_missing=skip,
        timeout=timedelta(seconds=timeout),
    )


def test_a_step_answers_with_its_last_line_and_speaks_on_stderr(
    steps: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps("print('working', file=sys.stderr); print('chatter'); print(json.dumps({'a': args}))")
    with caplog.at_level(logging.INFO):
        outcome = Command(["judge", "DIR"], tmp_path, LOG).run()
    assert outcome == Outcome(0, "working", {"a": ["judge", "DIR"]})
    assert {"$ nocturne judge DIR", "working", "chatter"} <= set(caplog.messages)


def test_a_step_does_not_see_airflows_secrets(
    steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://models")
    steps("print(json.dumps(dict(os.environ)))")
    seen = Command(["status"], tmp_path, LOG).run().output
    assert "secret" not in seen.values()
    assert seen["NOCTURNE_HOME"] == str(tmp_path)
    assert seen["MLFLOW_TRACKING_URI"] == "http://mlflow"
    assert seen["MLFLOW_REGISTRY_URI"] == "http://models"


def test_ending_a_step_ends_what_it_started(steps: Any, tmp_path: Path) -> None:
    steps(
        "import signal, subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    command = Command(["score"], tmp_path, LOG)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(command.run()))
    thread.start()
    child = int(until(lambda: _said(tmp_path / "child"), "a child", 20))
    command.end()
    thread.join(10)
    assert outcomes[0].code == -signal.SIGTERM
    until(lambda: gone(child), "the child's end", 5)


def _said(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("code", [1, 2, 3])
def test_terminal_exit_codes_are_not_retried(code: int) -> None:
    with pytest.raises(AirflowFailException, match="gate: held: approve it"):
        check("gate", Outcome(code, "held: approve it"))


@pytest.mark.parametrize("code", [75, -9, 137])
def test_other_exit_codes_are_retried(code: int) -> None:
    with pytest.raises(AirflowException, match=f"ended with code {code}: away") as caught:
        check("publish", Outcome(code, "away"))
    assert not isinstance(caught.value, AirflowFailException)


def test_prepare_hands_over_the_run_directory(steps: Any, tmp_path: Path) -> None:
    steps("print(json.dumps({'action': 'score', 'run_dir': json.dumps(args), 'message': ''}))")
    given = json.loads(prepare(tmp_path).execute(context(day="2013-04-01", model_version=2)))
    assert given[:6] == ["prepare", "daily", "--date", "2013-04-01", "--model-version", "2"]
    assert given[6] == "--caller"
    assert json.loads(given[7])["nocturne in airflow"] == code()
    assert json.loads(given[7])["airflow"] == version("apache-airflow")
    assert json.loads(given[7])["page"].endswith("/nocturne/daily/2013-04-01")


def test_a_backfill_takes_the_version_that_the_yaml_says(steps: Any, tmp_path: Path) -> None:
    steps("print(json.dumps({'action': 'score', 'run_dir': json.dumps(args), 'message': ''}))")
    given = json.loads(prepare(tmp_path).execute(context("backfill", "2013-04-01")))
    assert "--backfill" in given
    by_hand = context("manual", "2013-04-01", model="as_of")
    given = json.loads(prepare(tmp_path).execute(by_hand))
    assert given[4:6] == ["--model", "as_of"]
    assert "--backfill" not in given


@pytest.mark.parametrize("action", ["nothing", "skip", "dry_run"])
def test_where_there_is_nothing_to_score_the_rest_is_skipped(
    steps: Any, tmp_path: Path, action: str
) -> None:
    steps(f"print(json.dumps({{'action': {action!r}, 'run_dir': None, 'message': 'why'}}))")
    with pytest.raises(DownstreamTasksSkipped) as caught:
        prepare(tmp_path).execute(context(key="2013-04-01"))
    assert caught.value.tasks == ["judge", "score"]


SCORES = {
    "partition": "2013-04-01",
    "manifest": "/state/manifests/000007-0123456789abcdef.json",
    "mlflow": None,
    "id": "000007-0123456789abcdef",
    "restores": None,
    "rows_published": 9,
    "rows_quarantined": 0,
    "model_version": 1,
    "verdict": "ok",
}


@pytest.mark.parametrize("action", ["approve", "reject", "rollback", "accept", "adopt"])
def test_a_decision_is_carried_out_in_the_name_of_who_started_the_run(
    steps: Any, tmp_path: Path, action: str
) -> None:
    log = tmp_path / "log"
    steps(f"open({str(log)!r}, 'w').write(' '.join(args)); print({json.dumps(SCORES)!r})")
    asked = context(day="2013-04-01", action=action)
    assert sensor(tmp_path).poke(asked) is True
    assert not log.exists()
    with pytest.raises(DownstreamTasksSkipped):
        prepare(tmp_path).execute(asked)
    assert log.read_text() == f"{action} daily --date 2013-04-01 --by ada --json"
    [events] = asked["outlet_events"].values() or [Events()]
    published = [(Asset(name="scores/daily"), SCORES)]
    assert events.added == ([] if action == "reject" else published)


JUDGED = {
    "verdict": "ok",
    "reasons": [],
    "report": "r",
    "run_dir": "d",
    "rows_in": 3,
    "quarantined": 0,
    "drift_paged": False,
    "seconds": {},
}


@pytest.mark.parametrize("news", ["canary: it scores no more nights: odd", ""])
def test_a_canary_that_is_out_is_told(
    steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    steps(f"print({json.dumps(JUDGED | {'arms': news})!r})")
    with posts() as received:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", received.connection)
        rules = [Webhook(to="webhook", connection="ops", events=["canary"])]
        alerts = Alerts("daily", rules)
        judge = JudgeOperator(task_id="judge", alerts=alerts, home=str(tmp_path), run_dir="d")
        asked = context(key="2013-04-01")
        asked["dag_run"].run_id = "manual__1"
        asked["ti"].xcom_push = lambda **_: None
        judge.execute(asked)
        told = [(body["event"], body["subject"], body["why"]) for _, body in received.got]
    subject = "daily 2013-04-01 takes out its canary"
    assert told == ([("canary", subject, news)] if news else [])


@pytest.mark.parametrize("published", [True, False])
def test_a_night_is_judged_again_and_published_if_its_verdict_allows(
    steps: Any, tmp_path: Path, published: bool
) -> None:
    log = tmp_path / "log"
    answer = JUDGED | {"published": SCORES if published else None}
    steps(f"open({str(log)!r}, 'w').write(' '.join(args)); print({json.dumps(answer)!r})")
    asked = context(day="2013-04-01", action="judge")
    with pytest.raises(DownstreamTasksSkipped):
        prepare(tmp_path).execute(asked)
    assert log.read_text() == "judge daily --date 2013-04-01 --by ada --publish --json"
    [events] = asked["outlet_events"].values() or [Events()]
    assert events.added == ([(Asset(name="scores/daily"), SCORES)] if published else [])


def test_a_night_that_is_still_held_after_it_was_judged_again_fails_and_says_why(
    steps: Any, tmp_path: Path
) -> None:
    answer = JUDGED | {"verdict": "hold", "reasons": ["3 rows have no key"]}
    steps(f"print({json.dumps(answer)!r})")
    with pytest.raises(AirflowFailException, match="the verdict is hold: 3 rows have no key"):
        prepare(tmp_path).execute(context(day="2013-04-01", action="judge"))


def test_a_requeue_goes_through_all_tasks_and_says_who_asked(steps: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    answer = json.dumps({"action": "score", "run_dir": "/run", "message": ""})
    steps(f"open({str(log)!r}, 'w').write(' '.join(args)); print({answer!r})")
    assert prepare(tmp_path).execute(context(day="2013-04-01", action="requeue")) == "/run"
    assert log.read_text().startswith("prepare daily --date 2013-04-01 --requeue --caller ")
    assert '"asked by": "ada"' in log.read_text()


def test_a_roll_back_may_name_the_manifest(steps: Any, tmp_path: Path) -> None:
    steps(
        f"open({str(tmp_path / 'log')!r}, 'w').write(' '.join(args)); print({json.dumps(SCORES)!r})"
    )
    asked = context(day="2013-04-01", action="rollback", manifest="3")
    with pytest.raises(DownstreamTasksSkipped):
        prepare(tmp_path).execute(asked)
    assert (tmp_path / "log").read_text().endswith("--to 3 --json")


def test_an_answer_of_another_version_is_refused(steps: Any, tmp_path: Path) -> None:
    steps("print(json.dumps({'action': 'dance'}))")
    with pytest.raises(AirflowFailException, match="expected an action"):
        prepare(tmp_path).execute(context(key="2013-04-01"))


@pytest.mark.parametrize("operator", [StepOperator, ScoreOperator])
def test_a_task_without_a_run_directory_says_what_to_clear(operator: Any, tmp_path: Path) -> None:
    extra = {"step": "judge"} if operator is StepOperator else {"application": "score.py"}
    task = operator(task_id="t", home=str(tmp_path), run_dir="", **extra)
    with pytest.raises(AirflowFailException, match="Clear `prepare` with its downstream tasks"):
        task.execute(context(key="2013-04-01"))
    assert need_run_dir("/runs/1") == "/runs/1"


@pytest.mark.parametrize(
    ("terminal", "kind"), [(True, AirflowFailException), (False, AirflowException)]
)
def test_a_failed_job_says_what_its_run_directory_says(
    steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type
) -> None:
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text("#!/bin/sh\necho 'job failed' >&2\nexit 1\n")
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", f"{submit.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type":"spark","host":"local[1]"}')
    left = {"type": "InputError", "message": "column 'y' is missing", "terminal": terminal}
    submit.write_text(
        f"#!/bin/sh\necho '{json.dumps(json.dumps(left))[1:-1]}' > /dev/null\n"
        f"cat > {tmp_path}/error.json <<'EOF'\n{json.dumps(left)}\nEOF\nexit 1\n"
    )
    task = ScoreOperator(
        task_id="score", application="score.py", home=str(tmp_path), run_dir=str(tmp_path)
    )
    with pytest.raises(AirflowException, match="score: column 'y' is missing") as caught:
        task.execute(context(key="2013-04-01"))
    assert type(caught.value) is kind


@pytest.fixture
def submitting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[dict[str, str], str]]:
    """Submits with a spark-submit that notes how it was called, as a JVM leaves its archive."""
    for name in ("NOCTURNE_PYTHON", "SPARK_HOME", "SPARK_CONF_DIR", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    monkeypatch.setenv("PATH", f"{submit.parent}:{os.environ['PATH']}")
    shutil.copytree(ROOT / "conf" / "spark", tmp_path / "conf" / "spark")

    def once(
        code: int = 0, host: str = "local[1]", wrote_error: bool = False, **options: Any
    ) -> tuple[dict[str, str], str]:
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", f'{{"conn_type":"spark","host":"{host}"}}')
        submit.write_text(
            f"#!{sys.executable}\n"
            "import os, pathlib, re, sys\n"
            f"noted = pathlib.Path({str(tmp_path / 'noted')!r})\n"
            "noted.write_text('\\0'.join([os.environ.get('SPARK_CONF_DIR', ''), *sys.argv[1:]]))\n"
            "if made := re.search(r'ArchiveClassesAtExit=(\\S+)', ' '.join(sys.argv)):\n"
            "    pathlib.Path(made[1]).write_bytes(b'classes')\n"
            f"if {wrote_error}:\n"
            f"    pathlib.Path({str(tmp_path / 'error.json')!r}).write_text('{{}}')\n"
            f"sys.exit({code})\n"
        )
        submit.chmod(0o755)
        task = ScoreOperator(
            task_id="score",
            application="score.py",
            home=str(tmp_path),
            run_dir=str(tmp_path),
            lean=True,
            **options,
        )
        with suppress(AirflowException) if code else nullcontext():
            task.execute(context(key="2013-04-01"))
        folder, *arguments = (tmp_path / "noted").read_text().split("\0")
        pairs = [value for name, value in pairwise(arguments) if name == "--conf"]
        return dict(pair.split("=", 1) for pair in pairs), folder

    return once


JAVA = "spark.driver.extraJavaOptions"


def test_a_local_jvm_starts_small_and_from_an_archive_that_the_first_one_left(
    submitting: Any, tmp_path: Path
) -> None:
    first, folder = submitting(conf={JAVA: "-Dmine=1", "spark.task.cpus": "2"})
    assert "-XX:ArchiveClassesAtExit=" in first[JAVA]
    assert first[JAVA].endswith("-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dmine=1")
    assert f"-Dlog4j2.configurationFile={tmp_path}/conf/spark/log4j2.properties" in first[JAVA]
    assert (folder, first["spark.task.cpus"]) == ("", "2")
    [archive] = (tmp_path / "cache").glob("spark-*")
    second, _ = submitting()
    assert f"-XX:SharedArchiveFile={archive}" in second[JAVA]


def test_an_archive_with_which_the_job_did_not_start_is_removed(
    submitting: Any, tmp_path: Path
) -> None:
    submitting()
    assert [*(tmp_path / "cache").glob("spark-*.jsa")]
    submitting(code=1)
    assert not [*(tmp_path / "cache").glob("spark-*.jsa")]
    again, _ = submitting()
    assert "Archive" not in again[JAVA], "it is not tried again"


def test_a_job_that_started_and_failed_keeps_the_archive(submitting: Any, tmp_path: Path) -> None:
    submitting()
    submitting(code=1, wrote_error=True)
    [kept] = (tmp_path / "cache").glob("spark-*.jsa")
    assert kept.read_bytes() == b"classes"


def test_a_job_that_failed_leaves_no_archive_and_the_next_one_makes_it(
    submitting: Any, tmp_path: Path
) -> None:
    submitting(code=1)
    assert [*(tmp_path / "cache").glob("*")] == []
    made, _ = submitting()
    assert "-XX:ArchiveClassesAtExit=" in made[JAVA]


def test_a_pod_makes_no_archive_and_other_masters_and_interpreters_are_left_alone(
    submitting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, folder = submitting(host="spark://somewhere:7077")
    assert (JAVA in cluster, folder) == (False, str(tmp_path / "conf" / "spark"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    pod, _ = submitting()
    assert "Archive" not in pod[JAVA]
    assert "-XX:TieredStopAtLevel=1" in pod[JAVA]
    monkeypatch.setenv("NOCTURNE_PYTHON", "/opt/jobs/bin/python")
    assert JAVA not in submitting()[0]


def test_the_sensor_passes_a_complete_partition(steps: Any, tmp_path: Path) -> None:
    steps("sys.exit(0)")
    assert sensor(tmp_path).poke(context("scheduled", "2013-04-01")) is True


def test_a_scheduled_run_waits(steps: Any, tmp_path: Path) -> None:
    steps("sys.exit(75)")
    with pytest.raises(AirflowRescheduleException):
        sensor(tmp_path).execute(context("scheduled", "2013-04-01"))


@pytest.mark.parametrize("run_type", ["manual", "backfill"])
def test_other_runs_say_at_once_what_is_missing(steps: Any, tmp_path: Path, run_type: str) -> None:
    steps("print('there is no _SUCCESS', file=sys.stderr); sys.exit(75)")
    with pytest.raises(AirflowFailException, match=r"no _SUCCESS\nOnly scheduled runs wait"):
        sensor(tmp_path).execute(context(run_type, "2013-04-01"))


def test_a_missing_partition_may_be_skipped(steps: Any, tmp_path: Path) -> None:
    steps("sys.exit(75)")
    with pytest.raises(AirflowSkipException, match="on_missing is skip"):
        sensor(tmp_path, skip=True).execute(context("manual", "2013-04-01"))
    with pytest.raises(AirflowSkipException, match="on_missing is skip"):
        sensor(tmp_path, skip=True, timeout=0).execute(context("scheduled", "2013-04-01"))
    with pytest.raises(AirflowSensorTimeout):
        sensor(tmp_path, timeout=0).execute(context("scheduled", "2013-04-01"))


def test_wrong_parameters_fail_even_where_missing_is_skipped(steps: Any, tmp_path: Path) -> None:
    steps("sys.exit(0)")
    with pytest.raises(AirflowFailException, match="unknown run parameter 'dryrun'"):
        sensor(tmp_path, skip=True).execute(context("manual", "2013-04-01", dryrun=True))


def test_a_configuration_error_fails_the_sensor(steps: Any, tmp_path: Path) -> None:
    steps("print('no pipeline', file=sys.stderr); sys.exit(1)")
    with pytest.raises(AirflowFailException, match="ready: no pipeline"):
        sensor(tmp_path, skip=True).execute(context("scheduled", "2013-04-01"))
