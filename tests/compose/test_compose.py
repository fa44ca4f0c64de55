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
from pathlib import Path
from typing import Any

import pytest
import yaml

from nocturne.config import load, names
from nocturne_airflow.environment import environment

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.airflow.yml"
TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"] == "nocturne:local"}
ENDING = {"postgres-init", "airflow-init"}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SECRETS = re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")
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
    """Every call of ``airflow``: commands, health checks, and the lines of airflow-init."""
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            if words and words[0] == "airflow":
                yield words[1:]
    text = script("airflow-init").replace("\\\n", " ")
    yield from (call.split() for call in re.findall(r"\bairflow (.*)", text))


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
            assert not re.search(r"://\w+:(?!\$\{\w+:\?)[^/]*@", str(value)), name


def test_no_secret_is_in_an_argument_list() -> None:
    for service in SERVICES.values():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        found = re.findall(r"(?<!\$)\$\{(\w+)", " ".join(words))
        assert set(found) <= {"SPARK_WORKER_CORES"}
    assert "--password" not in script("airflow-init")


def test_the_command_in_the_docs_fills_in_every_secret_with_a_fitting_value(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    docs = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
    found = re.search(r"```bash\n(.*?)```", docs, re.DOTALL)
    assert found is not None
    shutil.copy(ROOT / ".env.example", tmp_path)
    subprocess.run(["bash", "-euc", found[1]], cwd=tmp_path, check=True)
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o077 == 0
    values = dict(re.findall(r"^(\w+)=(.*)$", made.read_text(), re.MULTILINE))
    assert len({values[s] for s in SECRETS}) == len(SECRETS)
    Fernet(values["AIRFLOW__CORE__FERNET_KEY"])
    assert len(values["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert all(values[s].isalnum() and len(values[s]) >= 24 for s in SECRETS if "PASSWORD" in s)


def test_the_example_names_every_optional_variable_with_its_default() -> None:
    named = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert named == dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))


# -- what runs ----------------------------------------------------------------------------------


def test_there_is_one_image_of_ours_and_postgres() -> None:
    assert {s["image"] for s in SERVICES.values()} == {"nocturne:local", "postgres:15-bookworm"}
    for service in OURS.values():
        assert service["pull_policy"] == "never"
        assert service["build"]["context"] == "."


def test_every_container_is_limited_and_every_server_is_watched_and_restarted() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert service["restart"] == ("no" if name in ENDING else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ENDING), name


def test_what_is_waited_for_can_come_true() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            needed = "service_completed_successfully" if other in ENDING else "service_healthy"
            assert how == {"condition": needed}


def test_ports_are_open_to_this_host_only() -> None:
    ports = [port for s in SERVICES.values() for port in s.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_is_declared_and_conf_is_mounted_read_only() -> None:
    mounts = [mount for s in SERVICES.values() for mount in s.get("volumes", [])]
    assert {m.split(":")[0] for m in mounts} - {"./conf"} == set(COMPOSE["volumes"])
    assert all(m.endswith(":ro") for m in mounts if m.startswith("./"))


def test_programs_are_in_the_environment_or_in_the_base_image() -> None:
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            assert not words or words[0] == "bash" or (BIN / words[0]).exists(), words


def test_spark_starts_classes_that_its_jars_hold() -> None:
    (jar,) = (installed("pyspark") / "jars").glob("spark-core_*.jar")
    held = set(zipfile.ZipFile(jar).namelist())
    for name in ("spark-master", "spark-worker"):
        assert SERVICES[name]["command"][1].replace(".", "/") + ".class" in held


def test_airflow_knows_every_command_and_option(tmp_path: Path) -> None:
    calls = list(airflow_commands())
    assert len(calls) == 8
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
        assert re.search(rf"[\"/]{re.escape(name)}\"", source), name


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
    here = {k: v for s in OURS.values() for k, v in settings(s).items()}
    switches = [k for k in here if k in local and local[k].lower() in ("true", "false")]
    assert "GX_ANALYTICS_ENABLED" in switches
    assert {k: here[k] for k in switches} == {k: local[k] for k in switches}
    assert here["AIRFLOW__CORE__EXECUTOR"] == local["AIRFLOW__CORE__EXECUTOR"]


def test_every_pipeline_loads_in_this_environment_and_lies_in_the_shared_volume() -> None:
    for name in names(ROOT):
        loaded = load(name, env="compose", root=ROOT)
        assert loaded.path(loaded.pipeline.output.path).is_relative_to(ROOT / "var")
    holders = {n for n, s in OURS.items() if "data:/opt/nocturne/var" in s.get("volumes", [])}
    assert holders == {"airflow-scheduler", "spark-worker"}


def test_the_configuration_and_airflow_name_the_same_master_and_registry() -> None:
    layer = yaml.safe_load((ROOT / "conf" / "env" / "compose.yaml").read_text(encoding="utf-8"))
    airflow = settings(SERVICES["airflow-scheduler"])
    spark = json.loads(airflow["AIRFLOW_CONN_SPARK_DEFAULT"])
    assert layer["spark"]["master"] == f"{spark['host']}:{spark['port']}"
    assert layer["spark"]["master"] in SERVICES["spark-worker"]["command"]
    assert layer["registry"]["tracking_uri"] == airflow["MLFLOW_TRACKING_URI"]
    assert airflow["NOCTURNE_ENV"] == "compose"


# -- the image ----------------------------------------------------------------------------------


def dockerfile() -> list[list[str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_image_copies_only_files_that_exist_and_are_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [s for words in dockerfile() if words[0] == "COPY" and "--from" not in words[1]
              for s in words[1:-1]]  # fmt: skip
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in let_in, source
    assert "\n*\n" in (ROOT / ".dockerignore").read_text()


def test_the_image_has_the_project_s_python_and_uv_and_runs_as_no_root() -> None:
    lines = dockerfile()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.12"
    assert {words[1] for words in lines if words[0] == "FROM"} == {"python:3.11-slim-bookworm"}
    makefile = (ROOT / "Makefile").read_text()
    uv = re.search(r"^UV_VERSION := (.*)$", makefile, re.MULTILINE)
    assert uv is not None
    assert ["ARG", f"UV_VERSION={uv[1]}"] in lines
    assert [words[1] for words in lines if words[0] == "USER"] == ["nocturne"]


# -- Compose itself -----------------------------------------------------------------------------


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
    return subprocess.run(
        [*compose(), "--env-file", str(file), "-f", str(FILE), "config"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_compose_accepts_the_file_when_every_secret_is_given(tmp_path: Path) -> None:
    done = config(tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize("secret", SECRETS)
def test_compose_refuses_to_start_anything_without(secret: str, tmp_path: Path) -> None:
    done = config(tmp_path, missing=secret)
    assert done.returncode != 0
    assert f"set {secret} in .env" in done.stderr
