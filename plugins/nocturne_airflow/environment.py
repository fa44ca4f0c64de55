"""The environment variables of a local Airflow, MLflow and their tasks.

All files are below ``var/`` of the project; the user's own ``~/airflow`` is neither read nor
written. Airflow settings that are exported in the shell, such as a production database, are not
used.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ports", "airflow_home", "code_root", "environment", "passwords_file", "secret_values"]

USER = "admin"


@dataclass(frozen=True)
class Ports:
    """The ports of the two web servers on 127.0.0.1."""

    airflow: int = 8080
    mlflow: int = 5000

    @property
    def airflow_url(self) -> str:
        return f"http://localhost:{self.airflow}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow}"


def code_root() -> Path:
    """The folder that holds dags/, jobs/ and plugins/."""
    return Path(__file__).resolve().parents[2]


def airflow_home(root: Path) -> Path:
    return root / "var" / "airflow"


def environment(
    root: Path,
    ports: Ports | None = None,
    *,
    code: Path | None = None,
    users: Mapping[str, str] = {USER: "admin"},
) -> dict[str, str]:
    """The environment variables of every process of the local stack.

    They include the shell's variables, but of Airflow's settings only the connections
    (``AIRFLOW_CONN_*``).

    Args:
        root: the project with conf/ and var/ (NOCTURNE_HOME).
        code: the folder with dags/ and plugins/. Default: that of this installation.
        users: name -> role (admin, op, user, viewer).
    """
    ports = ports or Ports()
    code = code or code_root()
    home = airflow_home(root)
    secret = secret_values(home)
    env = {
        k: v
        for k, v in os.environ.items()
        if k.startswith("AIRFLOW_CONN_") or not k.startswith(("AIRFLOW_", "_AIRFLOW"))
    }
    bin_folder = str(Path(sys.executable).parent)
    local = "localhost,127.0.0.1"
    proxied = env.get("NO_PROXY") or env.get("no_proxy")
    no_proxy = f"{proxied},{local}" if proxied else local
    return {
        "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[*]"}',
        **env,
        "PATH": os.pathsep.join([bin_folder, env.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "NOCTURNE_HOME": str(root),
        "NOCTURNE_PYTHON": env.get("NOCTURNE_PYTHON") or sys.executable,
        "MLFLOW_TRACKING_URI": ports.mlflow_url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Workers for LLM evaluation: six processes and 1.5 GB that nothing here needs.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "False",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(code / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(code / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__FERNET_KEY": secret["fernet_key"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports.airflow}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple."
        "simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in users.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(home)),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.airflow),
        "AIRFLOW__API__BASE_URL": ports.airflow_url,
        "AIRFLOW__API__SECRET_KEY": secret["api_secret"],
        "AIRFLOW__API_AUTH__JWT_SECRET": secret["jwt_secret"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
    }


def passwords_file(home: Path) -> Path:
    """Airflow's user names and passwords, as JSON."""
    return home / "passwords.json"


def secret_values(home: Path) -> dict[str, str]:
    """The secrets of this project, created once and readable only by the owner."""
    home.mkdir(parents=True, exist_ok=True)
    _once(passwords_file(home), {USER: secrets.token_urlsafe(12)})
    return _once(
        home / "secrets.json",
        {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "jwt_secret": secrets.token_urlsafe(64),
            "api_secret": secrets.token_urlsafe(32),
        },
    )


def _once(path: Path, fresh: dict[str, str]) -> dict[str, str]:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return {str(k): str(v) for k, v in json.loads(path.read_text()).items()}
    with os.fdopen(descriptor, "w") as file:
        json.dump(fresh, file)
    return fresh
