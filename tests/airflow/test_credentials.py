"""An Airflow connection becomes the variables of its cloud, in the step's environment only."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import redact

from nocturne.config import load
from nocturne_airflow.alerts import Alerts
from nocturne_airflow.command import Command
from nocturne_airflow.credentials import TYPES, lend, lent
from nocturne_airflow.dag import scoring_dag
from nocturne_airflow.lineage import Traced
from nocturne_airflow.operators import ScoreOperator
from nocturne_airflow.watcher import RescoreOperator

SECRET = "the-secret-of-the-lake"
KEYS = {"conn_type": "aws", "login": "AKIA", "password": SECRET}
GIVEN = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": SECRET}
LOG = logging.getLogger("test")


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines the connection ``lake`` of these fields."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)

    def define(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(fields))

    return define


def variables(environ: dict[str, str] | None = None) -> dict[str, str]:
    environ = dict(environ or {})
    lend(environ, "lake")
    return environ


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (KEYS, GIVEN),
        (
            KEYS
            | {
                "extra": {
                    "aws_session_token": "t",
                    "region_name": "eu-central-1",
                    "endpoint_url": "http://store:1",
                    "role_arn": "",
                    "config_kwargs": {"retries": 3},
                }
            },
            GIVEN
            | {
                "AWS_SESSION_TOKEN": "t",
                "AWS_REGION": "eu-central-1",
                "AWS_ENDPOINT_URL": "http://store:1",
            },
        ),
        (
            KEYS
            | {
                "extra": {
                    "endpoint_url": "http://for-all",
                    "service_config": {"s3": {"endpoint_url": "http://s3"}},
                }
            },
            GIVEN | {"AWS_ENDPOINT_URL": "http://s3"},
        ),
        (
            {
                "conn_type": "aws",
                "extra": {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET},
            },
            GIVEN,
        ),
        ({"conn_type": "aws", "extra": {"profile_name": "night"}}, {"AWS_PROFILE": "night"}),
        (
            {"conn_type": "wasb", "login": "lake", "password": "a2V5"},
            {"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"},
        ),
        (
            {
                "conn_type": "wasb",
                "host": "https://lake.blob.core.windows.net/",
                "extra": {"extra__wasb__sas_token": "https://lake.blob.core.windows.net/?sv=1&s=2"},
            },
            {"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_SAS_TOKEN": "sv=1&s=2"},
        ),
        (
            {"conn_type": "adls", "host": "lake", "login": "nobody", "password": "a2V5"},
            {"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"},
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"key_path": "/keys/lake.json"}},
            {"GOOGLE_APPLICATION_CREDENTIALS": "/keys/lake.json"},
        ),
        (
            {
                "conn_type": "google_cloud_platform",
                "extra": {"keyfile_dict": {"client_email": "x"}},
            },
            {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"client_email": "x"}'},
        ),
        (
            {
                "conn_type": "google_cloud_platform",
                "extra": {"keyfile_dict": '{"client_email":"x"}'},
            },
            {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"client_email":"x"}'},
        ),
    ],
)
def test_each_type_has_its_variables(
    lake: Any, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    lake(**fields)
    assert variables({"PATH": "/bin"}) == {"PATH": "/bin", **expected}


KEY = {"type": "service_account", "private_key": "-----BEGIN\nabcdef\n-----END"}


@pytest.mark.parametrize(
    ("extra", "is_refused"),
    [
        ({"keyfile_dict": KEY}, False),
        ({"keyfile_dict": json.dumps(KEY)}, False),
        ({"keyfile_dict": json.dumps(json.dumps(KEY))}, True),
        ({"key_path": json.dumps(KEY)}, True),
    ],
)
def test_a_google_key_is_hidden_in_every_form(
    lake: Any, extra: dict[str, Any], is_refused: bool
) -> None:
    lake(conn_type="google_cloud_platform", extra=extra)
    with pytest.raises(AirflowFailException) if is_refused else nullcontext() as caught:
        variables()
    assert caught is None or "abcdef" not in str(caught.value)
    for text in (KEY["private_key"], json.dumps(KEY), json.dumps(json.dumps(KEY))):
        assert "abcdef" not in redact(f"so {text} it is")


def test_no_connection_leaves_the_environment_as_it_is() -> None:
    environ = {"AWS_PROFILE": "mine"}
    lend(environ, None)
    assert environ == {"AWS_PROFILE": "mine"}


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        (
            KEYS,
            [
                "AWS_SESSION_TOKEN",
                "AWS_PROFILE",
                "AWS_DEFAULT_PROFILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_ROLE_ARN",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_SKIP_SIGNATURE",
            ],
        ),
        (
            {"conn_type": "wasb", "login": "lake", "password": "a2V5"},
            [
                "AZURE_STORAGE_SAS_TOKEN",
                "AZURE_CLIENT_ID",
                "AZURE_TENANT_ID",
                "AZURE_USE_AZURE_CLI",
            ],
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": "{}"}},
            ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "SERVICE_ACCOUNT"],
        ),
    ],
)
def test_no_other_identity_of_the_same_cloud_is_mixed_in(
    lake: Any, fields: dict[str, Any], others: list[str]
) -> None:
    lake(**fields)
    assert variables(dict.fromkeys(others, "other")) == variables()


def test_what_a_connection_does_not_say_stays(lake: Any) -> None:
    kept = {
        "AWS_CA_BUNDLE": "/ca",
        "AWS_SERVER_SIDE_ENCRYPTION": "AES256",
        "AZURE_STORAGE_ACCOUNT_KEY": "of another cloud",
    }
    place = {"AWS_DEFAULT_REGION": "us-east-2", "AWS_ENDPOINT_URL_S3": "http://of-the-environment"}
    lake(**KEYS)
    assert variables(kept | place) == kept | place | GIVEN
    lake(**KEYS, extra={"region_name": "eu-west-1", "endpoint_url": "http://mine"})
    said = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://mine"}
    assert variables(kept | place) == kept | GIVEN | said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"conn_type": "ssh"}, "of type 'ssh', expected adls, aws, google_cloud_platform, wasb"),
        ({"conn_type": "aws"}, "no credentials, expected login or .* and password or .*profile"),
        ({"conn_type": "aws", "login": "AKIA"}, "has login or aws_access_key_id, expected"),
        (KEYS | {"extra": {"profile_name": "p"}}, "password .* and profile_name, expected"),
        (KEYS | {"extra": {"role_arn": "arn:1"}}, "has role_arn, which is not supported"),
        (
            KEYS | {"extra": {"assume_role_method": "assume_role", "external_id": "x"}},
            "has assume_role_method, external_id, which",
        ),
        (KEYS | {"extra": {"session_kwargs": {"profile_name": "p"}}}, "has session_kwargs, which"),
        (
            {"conn_type": "wasb", "login": "id", "password": SECRET, "extra": {"tenant_id": "t"}},
            "has tenant_id, which",
        ),
        (
            {"conn_type": "wasb", "extra": {"connection_string": SECRET}},
            "has connection_string, which",
        ),
        ({"conn_type": "wasb", "host": "http://127.0.0.1/x", "password": SECRET}, "host must be"),
        (
            {"conn_type": "google_cloud_platform", "extra": {"impersonation_chain": "x"}},
            "has impersonation_chain, which",
        ),
        (
            {
                "conn_type": "google_cloud_platform",
                "extra": {"key_path": "/k", "keyfile_dict": "{}"},
            },
            "key_path and keyfile_dict, expected key_path; or else keyfile_dict",
        ),
        (KEYS | {"extra": "{"}, "extra is no JSON object"),
        (KEYS | {"extra": "[1]"}, "extra is no JSON object"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(
    lake: Any, fields: dict[str, Any], said: str
) -> None:
    lake(**fields)
    with pytest.raises(AirflowFailException, match=said) as caught:
        variables()
    assert str(caught.value).startswith("schedule.connection: ")
    assert SECRET not in str(caught.value)


def test_an_unknown_connection_is_named(lake: Any) -> None:
    with pytest.raises(AirflowFailException, match="has no connection 'lake'. Make it, correct"):
        variables()


def test_a_process_has_them_for_a_while(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lake(**KEYS)
    monkeypatch.setenv("AWS_PROFILE", "mine")
    before = dict(os.environ)
    with lent("lake"):
        assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
        assert "AWS_PROFILE" not in os.environ
    assert dict(os.environ) == before
    lake(conn_type="ssh")
    with pytest.raises(AirflowFailException), lent("lake"):
        pass
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ


def test_a_step_has_them_in_its_environment_and_nowhere_else(
    lake: Any, steps: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake(**KEYS)
    steps(
        "secret = os.environ['AWS_SECRET_ACCESS_KEY']\n"
        "shown = open('/proc/self/cmdline').read() + ' '.join(sys.argv)\n"
        "print(json.dumps({'length': len(secret), 'shown': secret in shown}))"
    )
    with caplog.at_level(logging.DEBUG):
        outcome = Command(["prepare", "daily"], tmp_path, LOG, "lake").run()
    assert outcome.output == {"length": len(SECRET), "shown": False}
    assert SECRET not in caplog.text
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ


@pytest.mark.parametrize("host", ["local[1]", "yarn", "spark://master"])
def test_spark_submit_has_them_in_its_environment_and_nowhere_else(
    lake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
) -> None:
    lake(**KEYS)
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text(
        f'#!/bin/sh\nprintf "%s" "$AWS_SECRET_ACCESS_KEY$AWS_PROFILE" > {tmp_path}/secret\n'
        f'echo "$0" "$@" > {tmp_path}/arguments\nexit 1\n'
    )
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", f"{submit.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("AWS_PROFILE", "of-the-worker")
    spark = json.dumps({"conn_type": "spark", "host": host})
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", spark)
    task = ScoreOperator(
        task_id="score",
        application="score.py",
        home=str(tmp_path),
        run_dir=str(tmp_path),
        connection="lake",
    )
    run = SimpleNamespace(partition_key="2013-04-01", conf={}, dag_id="daily")
    context: Any = {"dag_run": run, "params": {}}
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="spark-submit"):
        task.execute(context)
    assert (tmp_path / "secret").read_text() == SECRET
    said = (tmp_path / "arguments").read_text()
    assert "score.py" in said
    shown = [said, caplog.text, *(repr(getattr(task, name)) for name in task.template_fields)]
    assert not [text for text in shown if SECRET in text]


def test_every_task_of_the_dag_has_the_connection(project: Path) -> None:
    (project / "conf/base.yaml").write_text("schedule: {connection: lake}\n")
    dag = scoring_dag(load("daily"), project)
    assert {task.connection for task in dag.tasks} == {"lake"}
    assert len(dag.tasks) == 6


def test_what_reads_the_table_in_airflows_processes_has_them(
    lake: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake(**KEYS)
    (project / "conf/base.yaml").write_text("schedule: {connection: lake}\n")
    (project / "var/_nocturne/out").mkdir(parents=True)
    seen: list[str] = []

    def look(*_: object, **__: object) -> Any:
        seen.append(os.environ["AWS_SECRET_ACCESS_KEY"])
        raise LookupError

    monkeypatch.setattr("nocturne_airflow.lineage.lineage", look)
    monkeypatch.setattr("nocturne_airflow.watcher.last_night", look)
    monkeypatch.setattr("nocturne.operate.status.statuses_of", look)
    traced = Traced()
    traced.manifest, traced.connection = "manifest", "lake"
    with pytest.raises(LookupError):
        traced.get_openlineage_facets_on_complete(None)
    rescore = RescoreOperator(task_id="rescore", pipeline="daily", home=str(project), hold=False)
    with pytest.raises(LookupError):
        rescore.execute({})  # type: ignore[typeddict-item]
    run = SimpleNamespace(
        run_type="scheduled", partition_key="2013-04-01", conf={}, dag_id="daily", run_id="r"
    )
    task = SimpleNamespace(task_id="score", log_url="")
    failed: Any = {"dag_run": run, "task_instance": task}
    Alerts("daily", connection="lake").failed(str(project), failed)
    assert seen == [SECRET] * 3


def test_every_type_and_variable_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs/stores.md").read_text()
    for name, cloud in TYPES.items():
        assert f"`{name}`" in page
        assert not [
            field for names in cloud.who.values() for field in names[:1] if field not in page
        ]
