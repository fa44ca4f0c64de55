"""docker-compose.airflow.yml, its Dockerfile and .env.example, as far as no engine is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from compose.rendering import FILE, ROOT, made_secrets, make_secrets, rendered
from nocturne.config import load, names
from nocturne_airflow.environment import environment

TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"] == "nocturne:local"}
ENDING = {"postgres-init", "airflow-init", "airflow-db-clean"}
IMAGES = {"nocturne:local", "postgres:15-bookworm", "redis:7.2-bookworm", "dxflrs/garage:v2.4.1"}
PROFILES = {"celery", "gpu", "maintenance"}
SCHEMA_FILE = "tests/compose/compose-spec.json"
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SECRETS = re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)
GIVEN = dict.fromkeys(SECRETS, "x")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH$")
BIN = Path(sys.executable).parent


def settings(service: dict[str, Any]) -> dict[str, str]:
    return dict(service.get("environment", {}))


def installed(package: str) -> Path:
    """The package's folder; it is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def airflow_variables() -> set[str]:
    return {k for s in OURS.values() for k in settings(s) if k.startswith("AIRFLOW__")}


def script(service: str) -> str:
    return str(SERVICES[service]["command"][-1]).replace("$$", "$")


def airflow_commands() -> Iterator[list[str]]:
    """Every call of ``airflow``: commands, health checks, and the lines of the scripts."""
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            if words and words[0] == "airflow":
                yield words[1:]
    text = script("airflow-init") + script("airflow-db-clean").replace('"$before"', "2026-01-01")
    calls = re.findall(r"\bairflow (.*)", text.replace("\\\n", " "))
    yield from (call.split() for call in calls)


# -- secrets ------------------------------------------------------------------------------------


def test_the_secrets_are_the_required_variables_and_all_others_have_a_default() -> None:
    used = re.findall(r"(?<!\$)\$\{([^}]*)\}", TEXT)
    required = {u.split(":?")[0] for u in used if ":?" in u}
    optional = [u.split(":-") for u in used if ":?" not in u]
    assert required == set(SECRETS)
    assert all(len(parts) == 2 and parts[1] for parts in optional)
    assert not [name for name, _ in optional if SECRET_NAME.search(name)]


def test_each_refusal_names_the_variable_and_where_to_set_it() -> None:
    for name, message in re.findall(r"\$\{(\w+):\?([^}]*)\}", TEXT):
        assert message == f"set {name} in .env as .env.example says"


def test_no_value_that_should_be_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in settings(service).items():
            if SECRET_NAME.search(name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", value), name
            assert not re.search(r"://\w*:(?!\$\{\w+:\?)[^/]*@", str(value)), name


def test_no_secret_is_in_an_argument_list() -> None:
    for service in SERVICES.values():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        found = re.findall(r"(?<!\$)\$\{(\w+)", " ".join(words))
        assert set(found) <= {"SPARK_WORKER_CORES"}
    assert "--password" not in script("airflow-init")


def test_make_secrets_fills_in_every_secret_with_a_fitting_value(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    values = made_secrets(tmp_path)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert len({values[s] for s in SECRETS}) == len(SECRETS)
    Fernet(values["AIRFLOW__CORE__FERNET_KEY"])
    assert len(values["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert all(values[s].isalnum() and len(values[s]) >= 24 for s in SECRETS if "PASSWORD" in s)
    assert re.fullmatch("GK[0-9a-f]{24}", values["MLFLOW_S3_ACCESS_KEY"])
    for name in ("MLFLOW_S3_SECRET_KEY", "GARAGE_RPC_SECRET"):
        assert re.fullmatch("[0-9a-f]{64}", values[name])
    rendered(values)


def test_make_secrets_leaves_an_env_that_is_there_as_it_is(tmp_path: Path) -> None:
    made_secrets(tmp_path)
    before = (tmp_path / ".env").read_text()
    done = make_secrets(tmp_path)
    assert done.returncode != 0
    assert ".env is there already and stays as it is" in done.stderr
    assert (tmp_path / ".env").read_text() == before


@pytest.mark.parametrize("call", ["-hex 12", "-base64 32"])  # the second one feeds a pipe
def test_make_secrets_writes_nothing_if_a_value_can_not_be_made(tmp_path: Path, call: str) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    (tmp_path / "openssl").write_text(f'#!/bin/sh\ntest "$2 $3" != "{call}" && echo 5eed\n')
    (tmp_path / "openssl").chmod(0o755)
    done = make_secrets(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert not (tmp_path / ".env").exists()


def test_the_example_names_every_optional_variable_with_its_default() -> None:
    named = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert named == dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))


# -- what runs ----------------------------------------------------------------------------------


def test_there_is_one_image_of_ours_and_others_of_fixed_versions() -> None:
    assert {s["image"] for s in SERVICES.values()} == IMAGES
    for service in OURS.values():
        assert service["pull_policy"] == "never"
        assert service["build"]["context"] == "."


def test_every_container_is_limited_and_every_server_is_watched_and_restarted() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name in ENDING else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ENDING), name


def test_what_is_waited_for_can_come_true() -> None:
    for service in SERVICES.values():
        profiles = set(service.get("profiles", []))
        assert profiles <= PROFILES
        for other, how in service.get("depends_on", {}).items():
            assert set(SERVICES[other].get("profiles", profiles)) == profiles, other
            needed = "service_completed_successfully" if other in ENDING else "service_healthy"
            assert how == {"condition": needed}


def test_ports_are_open_to_this_host_only() -> None:
    ports = [port for s in SERVICES.values() for port in s.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_is_declared_and_conf_is_mounted_read_only() -> None:
    mounts = [mount for s in SERVICES.values() for mount in s.get("volumes", [])]
    files = {"./conf", "./conf/garage.toml"}
    assert {m.split(":")[0] for m in mounts} - files == set(COMPOSE["volumes"])
    assert all((ROOT / file).exists() for file in files)
    assert all(m.endswith(":ro") for m in mounts if m.startswith("./"))


def test_programs_are_in_the_environment_or_in_the_base_image() -> None:
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            program = words[0].split()[0] if words else "bash"
            assert program == "bash" or (BIN / program).exists(), words


def test_spark_starts_classes_that_its_jars_hold() -> None:
    (jar,) = (installed("pyspark") / "jars").glob("spark-core_*.jar")
    held = set(zipfile.ZipFile(jar).namelist())
    for name in ("spark-master", "spark-worker"):
        assert SERVICES[name]["command"][1].replace(".", "/") + ".class" in held


def test_airflow_knows_every_command_and_option(tmp_path: Path) -> None:
    calls = list(airflow_commands())
    assert len(calls) == 11
    code = """
import json, sys
from airflow.cli.cli_parser import get_parser
for words in json.load(sys.stdin):
    get_parser().parse_args(words)
print("known")
"""
    manager = settings(SERVICES["airflow-scheduler"])["AIRFLOW__CORE__AUTH_MANAGER"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(calls),
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__AUTH_MANAGER": manager},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("known\n"), done.stderr


def test_mlflow_knows_every_option_and_the_variable_of_its_store() -> None:
    # In its source: importing mlflow.cli takes longer than all other tests here together.
    folder = installed("mlflow")
    source = (folder / "cli" / "__init__.py").read_text()
    source += (folder / "utils" / "cli_args.py").read_text()
    program, command, *options = SERVICES["mlflow"]["command"]
    assert (program, command) == ("mlflow", "server")
    assert 'envvar="MLFLOW_BACKEND_STORE_URI"' in source
    for option in options:
        name = option.split("=")[0]
        assert re.search(rf"[\"/]{re.escape(name)}[\"/]", source), name


# -- settings -----------------------------------------------------------------------------------


def test_every_airflow_variable_is_an_option_of_the_installed_airflow() -> None:
    folder = installed("airflow")
    options = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
    for file in (folder / "providers").rglob("get_provider_info.py"):
        options |= runpy.run_path(str(file))["get_provider_info"]().get("config", {})
    known = {f"AIRFLOW__{s}__{o}".upper() for s, what in options.items() for o in what["options"]}
    assert airflow_variables() - known == set()


def test_what_the_local_airflow_switches_on_or_off_is_so_here_too(tmp_path: Path) -> None:
    local = environment(tmp_path)
    here = {k: v for n in OURS for k, v in settings(rendered(GIVEN)[n]).items()}
    switches = [k for k in here if k in local and local[k].lower() in ("true", "false")]
    assert "GX_ANALYTICS_ENABLED" in switches
    assert {k: here[k] for k in switches} == {k: local[k] for k in switches}
    assert here["AIRFLOW__CORE__EXECUTOR"] == local["AIRFLOW__CORE__EXECUTOR"]


def test_every_pipeline_loads_in_this_environment_and_lies_in_the_shared_volume() -> None:
    for env, name in product(("compose", "compose-gpu"), names(ROOT)):
        loaded = load(name, env=env, root=ROOT)
        assert loaded.path(loaded.pipeline.output.path).is_relative_to(ROOT / "var")
    holders = {n for n, s in OURS.items() if "data:/opt/nocturne/var" in s.get("volumes", [])}
    workers = {"airflow-worker", "spark-worker", "spark-worker-gpu"}
    assert holders == {"airflow-scheduler"} | workers


def test_the_configuration_and_airflow_name_the_same_master_and_registry() -> None:
    airflow = settings(rendered(GIVEN)["airflow-scheduler"])
    assert airflow["NOCTURNE_ENV"] == "compose"
    spark = json.loads(airflow["AIRFLOW_CONN_SPARK_DEFAULT"])
    for env in ("compose", "compose-gpu"):
        layer = yaml.safe_load((ROOT / "conf" / "env" / f"{env}.yaml").read_text(encoding="utf-8"))
        assert layer["spark"]["master"] == spark["host"]
        assert layer["spark"]["master"] in SERVICES["spark-worker"]["command"]
        assert layer["registry"]["tracking_uri"] == airflow["MLFLOW_TRACKING_URI"]


# -- the object store ---------------------------------------------------------------------------


def test_mlflow_and_the_store_mean_the_same_bucket_key_and_address() -> None:
    values = GIVEN | {"MLFLOW_S3_ACCESS_KEY": "the key", "MLFLOW_S3_SECRET_KEY": "its secret"}
    services = rendered(values)
    store, mlflow = settings(services["garage"]), settings(services["mlflow"])
    file = tomllib.loads((ROOT / "conf" / "garage.toml").read_text(encoding="utf-8"))
    bucket = store["GARAGE_DEFAULT_BUCKET"]
    assert f"--artifacts-destination=s3://{bucket}" in services["mlflow"]["command"]
    assert mlflow["AWS_ACCESS_KEY_ID"] == store["GARAGE_DEFAULT_ACCESS_KEY"] == "the key"
    assert mlflow["AWS_SECRET_ACCESS_KEY"] == store["GARAGE_DEFAULT_SECRET_KEY"] == "its secret"
    assert mlflow["AWS_DEFAULT_REGION"] == file["s3_api"]["s3_region"]
    port = file["s3_api"]["api_bind_addr"].rpartition(":")[2]
    assert mlflow["MLFLOW_S3_ENDPOINT_URL"] == f"http://garage:{port}"
    for folder in (file["metadata_dir"], file["data_dir"]):
        assert Path(folder).is_relative_to("/var/lib/garage")


def test_only_mlflow_and_the_store_know_the_store_s_key() -> None:
    used = {n for n, s in SERVICES.items() if "MLFLOW_S3_" in str(s)}
    assert used == {"garage", "mlflow"}


# -- GPUs ---------------------------------------------------------------------------------------


def discovered(folder: Path, nvidia_smi: str) -> subprocess.CompletedProcess[str]:
    """The discovery script with this program as nvidia-smi."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{nvidia_smi}\n")
    (folder / "nvidia-smi").chmod(0o755)
    return subprocess.run(
        [ROOT / "conf" / "spark" / "gpus.sh"],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("count", [1, 2, 11])
def test_spark_is_told_of_every_gpu_that_nvidia_smi_names(tmp_path: Path, count: int) -> None:
    done = discovered(tmp_path, f"test $1 = --query-gpu=index && seq 0 {count - 1}")
    addresses = [str(n) for n in range(count)]
    assert json.loads(done.stdout) == {"name": "gpu", "addresses": addresses}


def test_a_worker_whose_gpus_can_not_be_asked_for_does_not_start(tmp_path: Path) -> None:
    done = discovered(tmp_path, "echo 'no driver' >&2; exit 9")
    assert done.returncode == 9
    assert done.stdout == ""


def test_the_gpu_layer_asks_for_what_the_gpu_worker_offers() -> None:
    worker = settings(rendered(GIVEN)["spark-worker-gpu"])["SPARK_WORKER_OPTS"]
    options = dict(re.findall(r"-D(\S+)=(\S+)", worker))
    script = options["spark.worker.resource.gpu.discoveryScript"]
    assert (ROOT / script.removeprefix("/opt/nocturne/")).stat().st_mode & 0o111 == 0o111
    conf = load(names(ROOT)[0], env="compose-gpu", root=ROOT).pipeline.spark.conf
    assert float(conf["spark.executor.resource.gpu.amount"]) <= 1
    assert float(options["spark.worker.resource.gpu.amount"]) >= 1


# -- the image ----------------------------------------------------------------------------------


def dockerfile() -> list[list[str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_image_copies_only_files_that_exist_and_are_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [
        s
        for words in dockerfile()
        if words[0] == "COPY" and "--from" not in words[1]
        for s in words[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in let_in, source
    assert "\n*\n" in (ROOT / ".dockerignore").read_text()


def test_the_image_has_the_project_s_python_and_uv_and_runs_as_no_root() -> None:
    lines = dockerfile()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11.2,<3.14"
    assert {words[1] for words in lines if words[0] == "FROM"} == {"python:3.11-slim-bookworm"}
    makefile = (ROOT / "Makefile").read_text()
    uv = re.search(r"^UV_VERSION := (.*)$", makefile, re.MULTILINE)
    assert uv is not None
    assert ["ARG", f"UV_VERSION={uv[1]}"] in lines
    assert [words[1] for words in lines if words[0] == "USER"] == ["nocturne"]


# -- Compose itself -----------------------------------------------------------------------------

SCHEMA = Draft202012Validator(json.loads((FILE.parent / SCHEMA_FILE).read_text(encoding="utf-8")))


def test_the_file_follows_the_compose_specification() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
    assert [f"{e.json_path}: {e.message}" for e in SCHEMA.iter_errors(COMPOSE)] == []


@pytest.mark.parametrize(
    "wrong", [{"helthcheck": {}}, {"restart": 3}, {"mem_limit": []}, {"depends_on": {"x": {}}}]
)
def test_the_specification_s_schema_refuses_what_is_wrong(wrong: dict[str, Any]) -> None:
    redis = SERVICES["redis"] | wrong
    assert not SCHEMA.is_valid(COMPOSE | {"services": SERVICES | {"redis": redis}})


def compose() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["docker", "compose"]
    pytest.skip("neither docker-compose nor docker compose is installed")


def config(folder: Path, missing: str | None = None) -> subprocess.CompletedProcess[str]:
    file = folder / "env"
    file.write_text("".join(f"{s}={'' if s == missing else 'x'}\n" for s in SECRETS))
    env = {k: v for k, v in os.environ.items() if k not in SECRETS}
    env["COMPOSE_PROFILES"] = ",".join(PROFILES)
    return subprocess.run(
        [*compose(), "--env-file", str(file), "-f", str(FILE), "config"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_fills_in_the_file_as_these_tests_do(tmp_path: Path) -> None:
    done = config(tmp_path)
    assert done.returncode == 0, done.stderr
    theirs = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
    ours = rendered(GIVEN)
    assert set(theirs) == set(ours)
    for name, service in ours.items():
        assert theirs[name].get("environment", {}) == settings(service)
        assert theirs[name].get("command", []) == service.get("command", [])
        healthcheck = theirs[name].get("healthcheck", {})
        assert healthcheck.get("test") == service.get("healthcheck", {}).get("test")


@pytest.mark.parametrize("secret", SECRETS)
def test_compose_refuses_to_start_anything_without(secret: str, tmp_path: Path) -> None:
    done = config(tmp_path, missing=secret)
    assert done.returncode != 0
    assert f"set {secret} in .env" in done.stderr
