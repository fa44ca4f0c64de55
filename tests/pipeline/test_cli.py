"""The command line: exit codes, messages on standard error, JSON on the last line."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nocturne import config
from nocturne.cli import app

Project = Callable[..., config.Loaded]
ROOT = Path(__file__).parents[2]


def _nocturne(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nocturne.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _called(*arguments: str) -> Result:
    """The same in this process."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def _answer(*arguments: str) -> Any:
    done = _called(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.usefixtures("_spark")
def test_a_day_is_scored_in_steps_as_airflow_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``e2e`` takes the same steps under spark-submit, each in a process of its own."""
    loaded = project()
    prepared = _answer("prepare", "p", "--date", "2024-01-01")
    assert prepared["action"] == "score"
    monkeypatch.setattr(sys, "argv", ["score.py", prepared["run_dir"]])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / "score.py"), run_name="__main__")
    assert ended.value.code == 0
    assert _answer("judge", prepared["run_dir"])["verdict"] in ("ok", "warn")
    assert _called("gate", prepared["run_dir"]).exit_code == 0
    assert _answer("publish", prepared["run_dir"])["rows_published"] == 600
    assert _answer("prepare", "p", "--date", "2024-01-01")["action"] == "nothing"
    rows = _answer("status", "p", "--to", "2024-01-02")
    assert [(r["partition"], r["state"]) for r in rows] == [
        ("2024-01-01", "published"),
        ("2024-01-02", "missing"),
    ]
    [known] = _answer("status")
    assert (known["pipeline"], known["last"]["partition"]) == ("p", "2024-01-01")
    assert (known["states"], known["waiting"], known["problem"]) == ({"published": 1}, 4, "")
    assert _called("status", "--from", "2024-01-01").exit_code == 1
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
    done = _called(*arguments)
    assert done.exit_code == code, done.stderr
    assert message in " ".join(done.stderr.split())


def test_a_process_says_it_without_a_traceback_too(project: Project) -> None:
    project()
    done = _nocturne("prepare", "p", "--date", "2024-02-01")
    assert done.returncode == 1
    assert done.stderr.startswith("nocturne: ")
    assert "Traceback" not in done.stderr


def test_config_show_gives_every_value_with_its_origin(project: Project) -> None:
    project(scoring__threads=2)
    values = {row["key"]: row for row in _answer("config", "show", "p")}
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
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    done = _nocturne("doctor", "--json")
    checks = {row["name"]: row for row in json.loads(done.stdout.splitlines()[-1])}
    assert done.returncode == 1
    assert not checks["registry"]["ok"]
    assert "apt-get install openjdk-17-jre-headless" in checks["Java"]["fix"]
    assert "brew install openjdk@17" in checks["Java"]["fix"]
    assert "conda install" in checks["Java"]["fix"]
    assert checks["p: input"]["fix"] == "correct input.path, or have the table written"
