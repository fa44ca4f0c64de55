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
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from compose.check import report, standins
from compose.check.engine import compose_program, missing
from compose.rendering import FILE, ROOT, dockerfile, made_secrets, make_secrets, rendered
from nocturne.config import load, names
from nocturne_airflow.environment import environment

TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {
    name: s for name, s in SERVICES.items() if s["image"] == "${NOCTURNE_IMAGE:-nocturne:local}"
}
ENDING = {"postgres-init", "airflow-init", "airflow-clean", "files"}
BUILT = {"${NOCTURNE_IMAGE:-nocturne:local}", "${STORE_IMAGE:-nocturne-garage:local}"}
IMAGES = BUILT | {"postgres:15-bookworm", "redis:7.2-bookworm", "haproxy:3.0-bookworm"}
PROFILES = {"celery", "gpu", "tls", "maintenance"}
SCHEMA_FILE = "tests/compose/compose-spec.json"
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
FROM_THE_USER = {"tls_pem"}
SECRETS = sorted(set(COMPOSE["secrets"]) - FROM_THE_USER)
GIVEN = {"NOCTURNE_SECRETS": "/secrets"}
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
    return {
        k.removesuffix("_CMD")
        for s in OURS.values()
        for k in settings(s)
        if k.startswith("AIRFLOW__")
    }


def script(service: str) -> str:
    return str(SERVICES[service]["command"][-1]).replace("$$", "$")


def airflow_commands() -> Iterator[list[str]]:
    """Every call of ``airflow``: commands, health checks, and the lines of the scripts."""
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            if words and words[0] == "airflow":
                yield words[1:]
    text = script("airflow-init") + script("airflow-clean").replace('"$before"', "2026-01-01")
    calls = re.findall(r"\bairflow (.*)", text.replace("\\\n", " "))
    yield from (call.split() for call in calls)


# -- secrets ------------------------------------------------------------------------------------


def used_secrets(service: dict[str, Any]) -> dict[str, str]:
    """Name -> the file in the container."""
    return {
        (used if isinstance(used, str) else used["source"]): (
            f"/run/secrets/{used}" if isinstance(used, str) else used["target"]
        )
        for used in service.get("secrets", [])
    }


def test_the_one_required_variable_is_where_the_secrets_are() -> None:
    used = re.findall(r"(?<!\$)\$\{([^}]*)\}", TEXT)
    required = {u for u in used if ":?" in u}
    optional = [u.split(":-") for u in used if ":?" not in u]
    assert required == {"NOCTURNE_SECRETS:?run make secrets first"}
    assert all(len(parts) == 2 and parts[1] for parts in optional)
    assert not [name for name, _ in optional if SECRET_NAME.search(name)]
    with pytest.raises(LookupError, match="run make secrets first"):
        rendered({})


def test_every_secret_is_a_file_of_its_name_and_some_service_has_it() -> None:
    files = {name: where["file"] for name, where in COMPOSE["secrets"].items()}
    assert files == {name: "${NOCTURNE_SECRETS:?run make secrets first}/" + name for name in files}
    assert {name for s in SERVICES.values() for name in used_secrets(s)} == set(files)


def test_a_service_has_the_secrets_that_its_settings_and_commands_name_and_airflow_s() -> None:
    for name, service in SERVICES.items():
        words = json.dumps(
            [service.get(part) for part in ("command", "healthcheck", "environment")]
        )
        named = set(re.findall(r"/run/secrets/(\w+)", words))
        plain = {
            n for n, where in used_secrets(service).items() if where.startswith("/run/secrets/")
        }
        if name == "airflow-tls":
            named |= set(
                re.findall(r"/run/secrets/(\w+)", (ROOT / "conf/compose/haproxy.cfg").read_text())
            )
        assert named == plain, name


def test_no_value_that_should_be_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in settings(service).items():
            if SECRET_NAME.search(name):
                assert "/run/secrets/" in value, name
            assert not re.search(r"://\w*:(?!%s@)[^/]*@", str(value)), name


def test_no_variable_but_settings_is_in_an_argument_list() -> None:
    for service in SERVICES.values():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        found = re.findall(r"(?<!\$)\$\{(\w+)", " ".join(words))
        assert set(found) <= {"SPARK_WORKER_CORES"}
    assert "--password" not in script("airflow-init")


def values(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_make_secrets_makes_every_secret_with_a_fitting_value(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    folder = made_secrets(tmp_path)
    made = values(folder)
    assert sorted(made) == SECRETS
    assert folder.stat().st_mode & 0o777 == 0o700  # nobody else may enter
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    assert len(set(made.values())) == len(made)
    Fernet(made["airflow_fernet_key"])
    assert len(made["airflow_jwt_secret"]) >= 64
    assert all(v.isalnum() and len(v) >= 24 for name, v in made.items() if "password" in name)
    key = (
        "\\[default\\]\naws_access_key_id = GK[0-9a-f]{24}\naws_secret_access_key = [0-9a-f]{64}\n"
    )
    assert re.fullmatch(key, made["s3_key"])
    assert re.fullmatch("[0-9a-f]{64}", made["garage_rpc_secret"])
    assert (tmp_path / ".env").read_text() == EXAMPLE
    assert "NOCTURNE_SECRETS=./secrets\n" in EXAMPLE
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env.example", "secrets"]


def test_mlflow_s_clients_read_their_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import configparser

    login = configparser.ConfigParser()
    login.read(made_secrets(tmp_path) / "mlflow_login")
    assert set(login["mlflow"]) == {"mlflow_tracking_username", "mlflow_tracking_password"}
    source = (installed("mlflow") / "utils" / "credentials.py").read_text()
    assert '"~/.mlflow/credentials"' in source
    for name in ("airflow-scheduler", "airflow-worker", "airflow-triggerer"):
        assert used_secrets(SERVICES[name])["mlflow_login"] == "/home/nocturne/.mlflow/credentials"


def test_spark_s_programs_read_the_secret_beside_their_logging() -> None:
    for name in (
        "airflow-scheduler",
        "airflow-worker",
        "spark-master",
        "spark-worker",
        "spark-worker-gpu",
    ):
        folder = settings(SERVICES[name])["SPARK_CONF_DIR"]
        assert used_secrets(SERVICES[name])["spark_defaults"] == f"{folder}/spark-defaults.conf"
    assert ["COPY", "conf/spark/log4j2.properties", f"{folder}/"] in dockerfile("runtime")


def test_make_secrets_leaves_what_is_there_as_it_is_and_adds_what_is_missing(
    tmp_path: Path,
) -> None:
    folder = made_secrets(tmp_path)
    (tmp_path / ".env").write_text("mine")
    (folder / "redis_password").unlink()
    before = values(folder)
    done = make_secrets(tmp_path)
    assert "Made 1 new secrets" in done.stdout
    after = values(folder)
    assert len(after.pop("redis_password")) == 48
    assert after == before
    assert (tmp_path / ".env").read_text() == "mine"


@pytest.mark.parametrize("call", ["-hex 12", "-base64 32"])  # the second one feeds a pipe
def test_make_secrets_writes_nothing_if_a_value_can_not_be_made(tmp_path: Path, call: str) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "openssl").write_text(f'#!/bin/sh\ntest "$2 $3" != "{call}" && echo 5eed\n')
    (programs / "openssl").chmod(0o755)
    done = make_secrets(tmp_path, PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.example", "programs"]


def test_make_secrets_closes_a_folder_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    assert made_secrets(tmp_path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("wrong", ["empty", "a folder"])  # which Docker makes for a missing file
def test_make_secrets_takes_nothing_but_a_file_with_a_value_for_a_secret(
    tmp_path: Path, wrong: str
) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    place = tmp_path / "secrets" / "redis_password"
    place.parent.mkdir()
    place.touch() if wrong == "empty" else place.mkdir()
    done = make_secrets(tmp_path)
    assert done.returncode != 0
    assert "secrets/redis_password is empty or no file" in done.stderr
    assert list(place.parent.iterdir()) == [place]


def test_make_secrets_makes_them_where_the_stack_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"NOCTURNE_SECRETS={tmp_path}/else where\n")
    make_secrets(tmp_path).check_returncode()
    assert sorted(values(tmp_path / "else where")) == SECRETS
    assert not (tmp_path / "secrets").exists()


def test_make_secrets_works_in_a_folder_with_spaces(tmp_path: Path) -> None:
    place = tmp_path / "a folder"
    shutil.copytree(ROOT / "conf/compose", place / "conf/compose")
    for name in ("Makefile", ".env.example"):
        shutil.copy(ROOT / name, place)
    subprocess.run(["make", "secrets"], cwd=place, check=True)
    assert sorted(values(place / "secrets")) == SECRETS


def test_the_example_names_every_optional_variable_with_its_default() -> None:
    named = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert named == dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))


# -- what runs ----------------------------------------------------------------------------------


def test_two_images_are_built_here_and_others_are_of_fixed_versions() -> None:
    assert {s["image"] for s in SERVICES.values()} == IMAGES
    for service in SERVICES.values():
        assert (service["image"] in BUILT) == ("build" in service)
        if "build" in service:
            assert service["pull_policy"] == "never"
            assert service["build"]["context"] == "."
            assert dockerfile(service["build"]["target"])


def test_every_container_is_limited_and_every_server_is_watched_and_restarted() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"] == service["memswap_limit"], name
        assert service["pids_limit"], name
        if name == "files":  # what it writes is the backup itself
            assert service["logging"] == {"driver": "none"}
        else:
            assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name in ENDING else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ENDING), name


def test_no_container_has_a_capability_or_a_root_to_write_to() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert not {"privileged", "cap_add", "pid", "ipc", "network_mode"} & set(service), name
        image = dockerfile(service["build"]["target"]) if "build" in service else []
        users = [words[1] for words in image if words[0] == "USER"]
        assert service.get("user") in ("postgres", "redis", "haproxy") or users == ["nocturne"], (
            name
        )


def test_what_an_image_declares_as_a_volume_is_covered_by_one_with_a_name_or_by_memory() -> None:
    for name, service in SERVICES.items():
        covered = [m.split(":")[1] for m in service.get("volumes", [])]
        covered += [m.split(":")[0] for m in service.get("tmpfs", [])]
        declared = {"postgres": "/var/lib/postgresql/data", "redis": "/data"}
        if (image := service["image"].split(":")[0]) in declared:
            assert declared[image] in covered, name


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
    assert len(ports) == 4
    assert all(port.startswith(("127.0.0.1:", "${TLS_ADDRESS:-127.0.0.1}:")) for port in ports)


def test_every_volume_is_declared_and_conf_is_mounted_read_only() -> None:
    mounts = [mount for s in SERVICES.values() for mount in s.get("volumes", [])]
    files = {"./conf", "./conf/garage.toml", "./conf/compose/haproxy.cfg"}
    assert {m.split(":")[0] for m in mounts} - files == set(COMPOSE["volumes"])
    assert all((ROOT / file).exists() for file in files)
    assert all(m.endswith(":ro") for m in mounts if m.startswith("./"))


def test_programs_are_in_the_environment_or_in_the_base_image() -> None:
    for service in OURS.values():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])[1:]):
            program = words[0].split()[0] if words else "bash"
            assert program in ("bash", "tar") or (BIN / program).exists(), words


def test_spark_starts_classes_that_its_jars_hold() -> None:
    (jar,) = (installed("pyspark") / "jars").glob("spark-core_*.jar")
    held = set(zipfile.ZipFile(jar).namelist())
    for name in ("spark-master", "spark-worker"):
        assert SERVICES[name]["command"][1].replace(".", "/") + ".class" in held


@pytest.fixture(scope="module")
def airflow_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow makes of our calls and of the settings that are commands; it starts once."""
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "value").write_text("the secret\n")
    commands = {
        name: re.sub(r"/run/secrets/\w+", str(folder / "value"), value)
        for name, value in settings(rendered(GIVEN)["airflow-worker"]).items()
        if name.endswith("_CMD")
    }
    code = """
import json, os, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
for words in json.load(sys.stdin):
    get_parser().parse_args(words)
ProvidersManager().initialize_providers_configuration()
names = [k.removesuffix("_CMD").split("__")[1:] for k in os.environ if k.endswith("_CMD")]
print(json.dumps({n: conf.get(s.lower(), n.lower()) for s, n in names}))
"""
    manager = settings(SERVICES["airflow-scheduler"])["AIRFLOW__CORE__AUTH_MANAGER"]
    own = {"AIRFLOW_HOME": str(folder), "AIRFLOW__CORE__AUTH_MANAGER": manager}
    calls = list(airflow_commands())
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(calls),
        env=os.environ | commands | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {"calls": len(calls), "values": json.loads(done.stdout.splitlines()[-1])}


def test_airflow_knows_every_command_and_option(airflow_says: dict[str, Any]) -> None:
    assert airflow_says["calls"] == 9


def test_airflow_takes_the_output_of_a_command_for_these_options(
    airflow_says: dict[str, Any],
) -> None:
    """It does so for options that it counts as sensitive, and ends the value where awk does."""
    assert airflow_says["values"] == {
        "FERNET_KEY": "the secret",
        "SECRET_KEY": "the secret",
        "JWT_SECRET": "the secret",
        "SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:the secret@postgres/airflow",
        "BROKER_URL": "redis://:the secret@redis:6379/0",
    }


def test_mlflow_knows_every_option_and_the_variable_of_its_store() -> None:
    # In its source: importing mlflow.cli takes longer than all other tests here together.
    folder = installed("mlflow")
    source = (folder / "cli" / "__init__.py").read_text()
    source += (folder / "utils" / "cli_args.py").read_text()
    options = re.findall(r"--[\w-]+(?==|\s|$)", script("mlflow").partition("exec mlflow server")[2])
    assert len(options) == 7
    assert 'envvar="MLFLOW_BACKEND_STORE_URI"' in source
    for name in options:
        assert re.search(rf"[\"/]{re.escape(name)}[\"/]", source), name
    app = (folder / "server" / "auth" / "config.py").read_text()
    keys = re.findall(r"^(\w+) =", script("mlflow"), re.MULTILINE)
    assert keys
    assert all(f'"{key}"' in app for key in [*keys, "admin_username", "admin_password"])


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
    services = rendered(GIVEN)
    store, mlflow = settings(services["garage"]), settings(services["mlflow"])
    file = tomllib.loads((ROOT / "conf" / "garage.toml").read_text(encoding="utf-8"))
    bucket = store["GARAGE_DEFAULT_BUCKET"]
    assert f"--artifacts-destination=s3://{bucket} " in script("mlflow")
    assert mlflow["AWS_SHARED_CREDENTIALS_FILE"] == used_secrets(services["garage"])["s3_key"]
    assert mlflow["AWS_DEFAULT_REGION"] == file["s3_api"]["s3_region"]
    port = file["s3_api"]["api_bind_addr"].rpartition(":")[2]
    assert mlflow["MLFLOW_S3_ENDPOINT_URL"] == f"http://garage:{port}"
    for folder in (file["metadata_dir"], file["data_dir"]):
        assert Path(folder).is_relative_to("/var/lib/garage")


def test_only_mlflow_and_the_store_know_the_store_s_key() -> None:
    used = {n for n, s in SERVICES.items() if "s3_key" in used_secrets(s)}
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


STAGES = [
    dockerfile(t)
    for t in ("object-store", "packages", "torch", "code", "runtime", "tools", "development")
]


def test_the_image_copies_only_files_that_exist_and_are_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [
        s
        for stage in STAGES
        for words in stage
        if words[0] == "COPY" and "--from" not in words[1]
        for s in words[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists() or source == "wheel[s]", source
        assert {source.split("/")[0], source, "wheels"} & let_in, source
    assert not let_in & {"tests", "secrets", ".env", "var"}
    assert "\n*\n" in (ROOT / ".dockerignore").read_text()


def test_the_images_have_the_project_s_python_and_uv_and_run_as_no_root() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11.2,<3.14"
    text = (ROOT / "Dockerfile").read_text()
    bases = set(re.findall(r"^FROM (\S+) AS", text, re.MULTILINE))
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.MULTILINE))
    outside = {b for b in bases if "$" in b}
    assert outside == {"${PYTHON_IMAGE}", "${BUILD_IMAGE}", "${GARAGE_IMAGE}"}
    assert arguments["BUILD_IMAGE"] == "${PYTHON_IMAGE}"
    assert arguments["PYTHON_IMAGE"] == "python:3.11-slim-bookworm"
    assert arguments["GARAGE_IMAGE"] == "dxflrs/garage:v2.4.1"
    makefile = (ROOT / "Makefile").read_text()
    uv = re.search(r"^UV_VERSION := (.*)$", makefile, re.MULTILINE)
    assert uv is not None
    assert arguments["UV_VERSION"] == uv[1]
    for target in ("object-store", "runtime"):
        assert [w[1] for w in dockerfile(target) if w[0] == "USER"] == ["nocturne"]
    assert [w for w in dockerfile("development") if w[0] in ("FROM", "USER")] == [
        ["FROM", "runtime", "AS", "development"]
    ]


def test_the_image_that_runs_has_no_development_tools_and_the_other_one_has_them() -> None:
    runs = (ROOT / "requirements.lock").read_text()
    adds = (ROOT / "tests" / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["optional-dependencies"]["dev"]:
        name = re.split(r"[\[<>=]", wanted)[0].lower()
        assert re.search(rf"^{name}(\[|==)", adds, re.MULTILINE), name
        assert not re.search(rf"^{name}(\[|==)", runs, re.MULTILINE), name
    copied = [words[1] for words in dockerfile("runtime") if words[0] == "COPY"]
    assert "tests/requirements.lock" not in copied
    assert ["COPY", "tests/requirements.lock", "./"] in dockerfile("tools")
    assert ["COPY", "--from=tools", "/new/opt/venv", "/opt/venv"] in dockerfile("development")


def test_what_changes_often_is_in_the_later_layers() -> None:
    copied = [words[1] for words in dockerfile("runtime") if words[0] == "COPY"]
    stages = [f"--from={name}" for name in ("java", "packages", "torch", "code")]
    assert copied[:4] == stages
    assert ["COPY", "jobs", "jobs"] in dockerfile("code")
    assert not [
        w for w in dockerfile("packages") + dockerfile("torch") if w[:2] == ["COPY", "jobs"]
    ]


# -- backups ------------------------------------------------------------------------------------


def restore(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "conf" / "compose" / "restore.sh", *words],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_restore_refuses_what_is_no_backup_or_not_whole_before_it_touches_anything(
    tmp_path: Path,
) -> None:
    assert "no backup in ''" in restore().stderr
    assert f"no backup in '{tmp_path}'" in restore(tmp_path).stderr
    for name in ("airflow.dump", "mlflow.dump", "files.tar"):
        (tmp_path / name).write_text(name)
    sums = subprocess.run(
        ["sha256sum", "airflow.dump", "mlflow.dump", "files.tar"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    )
    (tmp_path / "SHA256SUMS").write_bytes(sums.stdout)
    (tmp_path / "files.tar").write_text("cut off")
    done = restore(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} is not whole" in done.stderr
    # Cut off itself, it still is right about what it names.
    (tmp_path / "SHA256SUMS").write_bytes(sums.stdout.splitlines(keepends=True)[0])
    assert f"{tmp_path} is not whole" in restore(tmp_path).stderr


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_one_backup_or_restore_is_at_work_at_a_time(tmp_path: Path, name: str) -> None:
    for file in ("airflow.dump", "mlflow.dump", "files.tar"):
        (tmp_path / file).touch()
    words = "sha256sum airflow.dump mlflow.dump files.tar > SHA256SUMS"
    subprocess.run(words, shell=True, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["flock", ".", ROOT / "conf" / "compose" / f"{name}.sh", "."],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{name}: a backup or a restore is at work in this folder" in done.stderr


def test_a_backup_has_both_databases_and_every_volume_that_holds_what_was_made() -> None:
    script = (ROOT / "conf" / "compose" / "backup.sh").read_text()
    assert "for database in airflow mlflow;" in script
    kept = {m.split(":")[0] for m in SERVICES["files"]["volumes"]} | {"postgres-data"}
    assert set(COMPOSE["volumes"]) - kept == {"airflow-logs", "redis-data", "scratch"}


# -- the check on an engine ---------------------------------------------------------------------


def test_the_document_has_the_figures_of_the_last_check() -> None:
    results = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    text = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.filled(text, results) == text
    assert f"{results['images']['runtime']['mb']} MB" in text


def test_without_an_engine_the_check_is_skipped_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing() == "no docker is installed"
    for name, script in (("docker", "echo no engine >&2; exit 1"), ("docker-compose", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "compose-check: skipped, no Docker engine answers: no engine\n"


def test_the_check_does_not_begin_beside_another_one_or_its_remains(tmp_path: Path) -> None:
    says = "case $1 in ps) echo nocturne-check_garage_1;; info | compose) ;; *) exit 1;; esac"
    says = f'[ "$1 $2" = "volume ls" ] || [ "$1 $2" = "network ls" ] || {says}'
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "docker").chmod(0o755)
    done = check(tmp_path)
    assert done.returncode == 1
    assert "nocturne-check_garage_1 are there. Either another check is at work" in done.stderr
    assert done.stdout == ""


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """The check, with the programs of this folder and no others."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("tests", "plugins", "jobs"))
    return subprocess.run(
        [sys.executable, "-m", "compose.check"],
        env=os.environ | {"PYTHONPATH": paths, "PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_check_s_stand_ins_are_for_the_images_that_the_stack_names() -> None:
    arguments = re.findall(
        r"^ARG \w+_IMAGE=([^$].*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    assert set(standins.IMAGES.values()) == IMAGES - BUILT | set(arguments)


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
    return compose_program() or pytest.skip(
        "neither docker-compose nor docker compose is installed"
    )


def config(folder: Path, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    env = {k: v for k, v in os.environ.items() if k not in GIVEN}
    env["COMPOSE_PROFILES"] = ",".join(PROFILES)
    return subprocess.run(
        [*compose(), "--env-file", str(file), "-f", str(FILE), "config"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_fills_in_the_file_as_these_tests_do(tmp_path: Path) -> None:
    done = config(tmp_path, GIVEN)
    assert done.returncode == 0, done.stderr
    theirs = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
    ours = rendered(GIVEN)
    assert set(theirs) == set(ours)
    for name, service in ours.items():
        assert theirs[name].get("environment", {}) == settings(service)
        assert theirs[name].get("command", []) == service.get("command", [])
        healthcheck = theirs[name].get("healthcheck", {})
        assert healthcheck.get("test") == service.get("healthcheck", {}).get("test")


def test_compose_refuses_to_start_anything_without_secrets(tmp_path: Path) -> None:
    done = config(tmp_path, {})
    assert done.returncode != 0
    assert "run make secrets first" in done.stderr
