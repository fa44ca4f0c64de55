"""The files in dags/: what they load, and what a wrong YAML does."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from nocturne.config import load
from nocturne.errors import ConfigError
from nocturne_airflow.slo import Due

DAGS = Path(__file__).resolve().parents[2] / "dags"
HEAVY = (
    "pyarrow",
    "torch",
    "pyspark",
    "mlflow",
    "pandas",
    "great_expectations",
    "altair",
    "sklearn",
)


@pytest.mark.parametrize("name", ["scoring.py", "config_errors.py", "on_new_model.py", "truth.py"])
def test_parsing_loads_nothing_heavy(name: str) -> None:
    code = (
        "import json, runpy, sys; runpy.run_path(sys.argv[1]);"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(DAGS / name)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_each_pipeline_is_a_dag_of_the_same_name(project: Path) -> None:
    found = runpy.run_path(str(DAGS / "scoring.py"))
    assert found["daily"].dag_id == "daily"
    assert found["hourly"].dag_id == "hourly"


def test_the_tasks_follow_one_another(project: Path) -> None:
    dag = runpy.run_path(str(DAGS / "scoring.py"))["daily"]
    order = ["wait", "prepare", "score", "judge", "gate", "publish"]
    assert [t.task_id for t in dag.topological_sort()] == order
    for before, after in pairwise(order):
        assert dag.get_task(before).downstream_task_ids == {after}


def test_the_owner_of_the_yaml_is_the_dags(project: Path) -> None:
    path = project / "conf" / "pipelines" / "daily.yaml"
    text = path.read_text()
    path.write_text(f"{text}owner: the flight team\ndocs: https://runbooks/daily\n")
    found = runpy.run_path(str(DAGS / "scoring.py"))
    assert found["daily"].owner == "the flight team"
    assert "| Owner | the flight team |\n\n[What to do when it fails]" in found["daily"].doc_md
    assert found["hourly"].owner == "airflow"
    assert "Owner" not in found["hourly"].doc_md
    for wrong in ("docs: runbooks", "docs: 'javascript:alert(1)'", "owner: 'a, b'"):
        path.write_text(f"{text}{wrong}\n")
        with pytest.raises(ConfigError, match=wrong.partition(":")[0]):
            load("daily", root=project)


def test_the_dag_follows_the_schedule_of_the_yaml(project: Path) -> None:
    dag = runpy.run_path(str(DAGS / "scoring.py"))["daily"]
    assert not dag.catchup
    assert dag.max_active_runs == 1
    assert dag.start_date.isoformat() == "2013-01-02T00:00:00+00:00"
    assert dag.timetable.key_format == "%Y-%m-%d"
    assert dag.get_task("wait").timeout == 720 * 60
    assert dag.get_task("score").application == str(DAGS.parent / "jobs" / "score.py")
    assert dag.get_task("score").conf == {"spark.ui.enabled": "false"}


def test_only_the_run_directory_passes_between_tasks(project: Path) -> None:
    dag = runpy.run_path(str(DAGS / "scoring.py"))["daily"]
    told = {
        "score": dag.get_task("score").application_args,
        **{name: [dag.get_task(name).run_dir] for name in ("judge", "gate", "publish")},
    }
    assert set(map(tuple, told.values())) == {("{{ ti.xcom_pull(task_ids='prepare') or '' }}",)}


def test_pool_priority_and_promise_come_from_the_yaml(project: Path) -> None:
    (project / "conf" / "pools.json").write_text('{"gpu": {"slots": 1, "description": ""}}')
    with open(project / "conf" / "pipelines" / "daily.yaml", "a", encoding="utf-8") as yaml:
        yaml.write("slo: {by: '06:30'}\n")
    base = project / "conf" / "base.yaml"
    base.write_text("schedule: {pool: gpu, priority: 7, timezone: Europe/Vienna}\n")
    found = runpy.run_path(str(DAGS / "scoring.py"))
    dag, without = found["daily"], found["hourly"]
    assert dag.get_task("score").pool == "gpu"
    assert dag.get_task("judge").pool == "default_pool"
    assert {t.priority_weight for t in dag.tasks} == {7}
    [deadline] = dag.deadline
    assert deadline.reference == Due("06:30", None, "Europe/Vienna")
    assert deadline.callback.kwargs["due"] == "by 06:30 (Europe/Vienna)"
    assert not without.deadline


def test_the_deadline_survives_airflows_serialization(project: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with open(project / "conf" / "pipelines" / "daily.yaml", "a", encoding="utf-8") as yaml:
        yaml.write("slo: {within_minutes: 45}\n")
    once, again = (
        json.dumps(
            DagSerialization.to_dict(runpy.run_path(str(DAGS / "scoring.py"))["daily"]),
            sort_keys=True,
        )
        for _ in range(2)
    )
    assert once == again  # or each parsing would be a new version of the DAG
    assert '"nocturne_airflow.slo.Due"' in once


def test_a_pipeline_that_wants_to_hear_of_models_has_a_second_dag(project: Path) -> None:
    found = runpy.run_path(str(DAGS / "on_new_model.py"))
    assert not any(name.endswith("_on_new_model") for name in found)
    with open(project / "conf" / "base.yaml", "a", encoding="utf-8") as base:
        base.write("model: {on_new_model: latest, poll_seconds: 5}\n")
    dag = runpy.run_path(str(DAGS / "on_new_model.py"))["daily_on_new_model"]
    [task] = dag.tasks
    assert (task.trigger_dag_id, task.hold) == ("daily", False)
    [watcher] = dag.timetable.asset_condition.objects[0].watchers
    _, kwargs = watcher.trigger.serialize()
    assert kwargs == {"pipeline": "daily", "home": str(project), "every": 5}


def test_a_wrong_yaml_makes_no_dag_and_leaves_the_others_alone(project: Path) -> None:
    broken = project / "conf" / "pipelines" / "broken.yaml"
    broken.write_text("name: broken\nmodel: {name: m, alias: a}\ninputs: {path: x}\n")
    found = runpy.run_path(str(DAGS / "scoring.py"))
    assert "daily" in found
    assert "broken" not in found


def test_a_wrong_yaml_is_an_import_error_of_another_file(project: Path) -> None:
    runpy.run_path(str(DAGS / "config_errors.py"))
    for name in ("broken", "bad"):
        (project / "conf" / "pipelines" / f"{name}.yaml").write_text(
            f"name: {name}\nmodel: {{name: m, alias: a}}\n"
            "input: {path: x, on_missing: never}\noutput: {path: y, keys: [k]}\n"
        )
    message = r"bad\.yaml: input\.on_missing: got 'never'.*'fail' or 'skip'(.|\n)*broken\.yaml"
    with pytest.raises(ConfigError, match=message):
        runpy.run_path(str(DAGS / "config_errors.py"))


def test_a_project_without_conf_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no conf/base.yaml, so there are no pipelines"):
        runpy.run_path(str(DAGS / "config_errors.py"))


def test_only_the_plugin_file_is_imported_from_the_plugins_folder() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    plugins = DAGS.parent / "plugins"
    seen = find_path_from_directory(plugins, ".airflowignore", "glob")
    assert [Path(p).name for p in seen if p.endswith(".py")] == ["nocturne_plugin.py"]
