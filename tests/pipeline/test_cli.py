"""The command line: exit codes, messages on standard error, JSON on the last line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nocturne import config

Project = Callable[..., config.Loaded]
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def _nocturne(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nocturne.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_day_is_scored_in_steps_as_airflow_does(project: Project) -> None:
    loaded = project()
    prepared = _nocturne("prepare", "p", "--date", "2024-01-01", "--json")
    assert prepared.returncode == 0, prepared.stderr
    answer = json.loads(prepared.stdout.splitlines()[-1])
    assert answer["action"] == "score"
    submit = subprocess.run(
        [
            BIN / "spark-submit",
            "--master",
            "local[2]",
            "--conf",
            "spark.driver.host=127.0.0.1",
            ROOT / "jobs" / "score.py",
            answer["run_dir"],
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
    )
    assert submit.returncode == 0, submit.stderr
    judged = _nocturne("judge", answer["run_dir"], "--json")
    assert json.loads(judged.stdout.splitlines()[-1])["verdict"] in ("ok", "warn"), judged.stderr
    assert _nocturne("gate", answer["run_dir"]).returncode == 0
    published = _nocturne("publish", answer["run_dir"], "--json")
    assert json.loads(published.stdout.splitlines()[-1])["rows_published"] == 600
    again = _nocturne("prepare", "p", "--date", "2024-01-01", "--json")
    assert json.loads(again.stdout.splitlines()[-1])["action"] == "nothing"
    listed = _nocturne("status", "p", "--json", "--to", "2024-01-02")
    rows = json.loads(listed.stdout.splitlines()[-1])
    assert [(r["partition"], r["state"]) for r in rows] == [
        ("2024-01-01", "published"),
        ("2024-01-02", "missing"),
    ]
    wanted = {
        "partition",
        "state",
        "model_version",
        "rows_in",
        "rows_published",
        "rows_quarantined",
        "verdict",
        "input",
        "output",
        "manifest",
    }
    assert wanted <= set(rows[0])
    assert rows[0]["output"] == str(loaded.path("out/scores") / "ds=2024-01-01")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("score", "nope", "--date", "2024-01-01"), 1, "no pipeline 'nope': expected one of p"),
        (("prepare", "p", "--date", "tomorrow"), 1, "got 'tomorrow', expected a partition key"),
        (("prepare", "p", "--date", "2024-02-01"), 1, "does not exist: the table has"),
        (("ready", "p", "--date", "2024-02-01"), 75, "does not exist"),
        (("ready", "p", "--date", "2024-01-01"), 0, "p 2024-01-01 is ready"),
        (("prepare", "p", "--date", "2024-01-01", "--model-version", "9"), 1, "no version 9"),
        (("judge", "/nowhere"), 1, "run.json does not exist"),
        (("approve", "p", "--date", "2024-01-01"), 1, "has no held scores"),
        (("score", "p"), 2, "Missing option '--date'"),
    ],
)
def test_what_goes_wrong_is_said_without_a_traceback(
    project: Project, arguments: tuple[str, ...], code: int, message: str
) -> None:
    project()
    done = _nocturne(*arguments)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_config_show_gives_every_value_with_its_origin(project: Project) -> None:
    project(scoring__threads=2)
    done = _nocturne("config", "show", "p", "--json")
    values = {row["key"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    assert values["scoring.threads"] == {
        "key": "scoring.threads",
        "value": 2,
        "origin": "conf/pipelines/p.yaml",
    }
    assert values["quality.on_failure"]["origin"] == "conf/base.yaml"


def test_the_doctor_finds_a_healthy_project_healthy(project: Project) -> None:
    project()
    done = _nocturne("doctor", "--json")
    checks = {row["name"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    assert done.returncode == 0, done.stdout
    assert "small" in checks["registry"]["found"]
    assert checks["p: output"]["ok"]


def test_the_doctor_says_how_to_mend_what_is_broken(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(input__path="elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    done = _nocturne("doctor", "--json")
    checks = {row["name"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    assert done.returncode == 1
    assert not checks["registry"]["ok"]
    assert "apt-get install openjdk-17-jre-headless" in checks["Java"]["fix"]
    assert "brew install openjdk@17" in checks["Java"]["fix"]
    assert "conda install" in checks["Java"]["fix"]
    assert checks["p: input"]["fix"] == "correct input.path, or have the table written"
