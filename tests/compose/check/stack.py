"""The stack of docker-compose.airflow.yml, under a project name and ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from compose.check.engine import Refused, compose_program, docker, inspected, run
from compose.rendering import FILE, ROOT
from nocturne_airflow.client import Airflow
from nocturne_airflow.processes import free_port

__all__ = ["PROJECT", "Stack", "left", "remains"]

PROJECT = "nocturne-check"
_LAST = 4
"""Containers whose health checks may run at the same time as the engine's: each takes seconds."""


class Stack:
    """Args: folder: an empty one for .env and the secrets; images: name -> stand-in."""

    def __init__(self, folder: Path, images: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        shutil.copy(ROOT / ".env.example", folder)
        run([str(ROOT / "conf/compose/secrets.sh")], cwd=folder)
        airflow, mlflow = str(free_port()), str(free_port())
        self.airflow_url, self.mlflow_url = (f"http://127.0.0.1:{p}" for p in (airflow, mlflow))
        self.values = {
            "NOCTURNE_SECRETS": str(folder / "secrets"),
            "NOCTURNE_IMAGE": images["runtime"],
            "STORE_IMAGE": images["object-store"],
            "AIRFLOW_PORT": airflow,
            "AIRFLOW_URL": f"http://localhost:{airflow}",
            "MLFLOW_PORT": mlflow,
            "SPARK_UI_PORT": str(free_port()),
            "TLS_PORT": str(free_port()),
        }
        names = {"postgres": "postgres", "postgres-init": "postgres", "redis": "redis"}
        names["airflow-tls"] = "haproxy"
        services = {service: {"image": images[name]} for service, name in names.items()}
        (folder / "images.json").write_text(json.dumps({"version": "3", "services": services}))

    def compose(self, *words: str, stdin: Any = None) -> str:
        """What ``docker compose WORDS`` prints."""
        return run([*self.command(), *words], env=self.environment(), stdin=stdin, cwd=ROOT)

    def command(self) -> list[str]:
        program = compose_program()
        assert program is not None
        return program

    def environment(self) -> dict[str, str]:
        files = [str(FILE), str(self.folder / "images.json")]
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if name in ("PATH", "HOME") or name.startswith("DOCKER_")
            },
            **self.values,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_FILE": os.pathsep.join(files),
            "PYTHONWARNINGS": "ignore",  # Compose 1.29 is written in Python
        }

    def up(self, *options: str) -> float:
        """Start, and wait until all that have a health check are healthy; the seconds it took."""
        began = time.monotonic()
        self.compose("up", "--detach", *options)
        self.wait_until_healthy()
        return time.monotonic() - began

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """Docker's descriptions of the containers of the project, or of one service."""
        filters = [f"label=com.docker.compose.project={PROJECT}"]
        if service is not None:
            filters.append(f"label=com.docker.compose.service={service}")
        options = [word for f in filters for word in ("--filter", f)]
        return inspected("container", *docker("ps", "--all", "--quiet", *options).split())

    def wait_until_healthy(self, seconds: float = 420, *, by_engine: bool = False) -> None:
        """Wait until the health check of each container passes.

        Args:
            by_engine: it is the engine that has run the last ones too. It looks at a container
                every 15 to 60 seconds, for the first time after as many.

        Raises:
            Refused: a container is not healthy in time, or one ended with an error.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = {c["Name"]: c for c in self.containers()}
            states = {name: container["State"] for name, container in found.items()}
            health = {n: s["Health"]["Status"] for n, s in states.items() if "Health" in s}
            waiting = [name for name, status in health.items() if status != "healthy"]
            failed = [n for n, s in states.items() if s["Status"] == "exited" and s["ExitCode"]]
            if failed or time.monotonic() > deadline:
                logs = "\n".join(self.log(name) for name in [*failed, *waiting])
                raise Refused(f"ended: {failed}, not healthy: {waiting}\n{logs}")
            if len(waiting) <= _LAST and not by_engine:
                waiting = [name for name in waiting if not _passes(found[name])]
            if not waiting:
                return
            time.sleep(1)

    def log(self, container: str) -> str:
        done = subprocess.run(
            ["docker", "logs", "--tail", "60", container.lstrip("/")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return f"--- {container}\n{done.stdout}"

    def run(self, service: str, *words: str) -> str:
        """What a command prints in a running container of a service."""
        return docker("exec", self.containers(service)[0]["Id"], *words)

    def kill(self, container: dict[str, Any]) -> None:
        """End all processes of a container at once; the engine starts it again."""
        with_all = ["docker", "exec", container["Id"], "bash", "-c", "kill -KILL -1"]
        subprocess.run(with_all, capture_output=True, check=False)
        deadline = time.monotonic() + 60
        while True:
            (now,) = inspected("container", container["Id"])
            if now["RestartCount"] > container["RestartCount"]:
                return
            if time.monotonic() > deadline:
                name = container["Name"]
                raise Refused(f"{name} was killed and did not start again: {now['State']}")
            time.sleep(0.2)

    def airflow(self) -> Airflow:
        password = (self.folder / "secrets/airflow_admin_password").read_text()
        return Airflow(self.airflow_url, "admin", password)

    def mlflow_opens(self, login: tuple[str, str] | None) -> bool:
        """Whether MLflow answers; a user and a password, or none."""
        path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
        answer = httpx.get(self.mlflow_url + path, auth=login, timeout=30)
        if answer.status_code not in (200, 401):
            raise Refused(f"MLflow answered {answer.status_code}: {answer.text}")
        return answer.is_success

    def memory(self) -> dict[str, str]:
        """Container -> the memory that it uses now."""
        lines = docker("stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}").splitlines()
        used = dict(line.split("\t") for line in lines if line.startswith(PROJECT))
        return {_service(name): used[name].split(" / ")[0] for name in sorted(used)}

    def down(self) -> None:
        """Remove its containers, networks and volumes, those of all profiles."""
        self.values["COMPOSE_PROFILES"] = "celery,tls,maintenance"
        self.compose("down", "--volumes", "--remove-orphans")


def _passes(container: dict[str, Any]) -> bool:
    """Whether a container's health check passes now."""
    kind, *command = container["Config"]["Healthcheck"]["Test"]
    words = command if kind == "CMD" else ["sh", "-c", *command]
    try:
        docker("exec", container["Id"], *words)
    except Refused:
        return False
    return True


def left() -> dict[str, set[str]]:
    """What is on the engine: volumes, networks, and the project's containers."""
    label = f"label=com.docker.compose.project={PROJECT}"
    return {
        "volumes": set(docker("volume", "ls", "--quiet").split()),
        "networks": set(docker("network", "ls", "--format", "{{.Name}}").split()),
        "containers": set(docker("ps", "--all", "--quiet", "--filter", label).split()),
    }


def remains() -> list[str]:
    """The project's containers, volumes and networks."""
    label = f"label=com.docker.compose.project={PROJECT}"
    asked = (
        ("ps", "--all", "--format", "{{.Names}}"),
        ("volume", "ls", "--quiet"),
        ("network", "ls", "--format", "{{.Name}}"),
    )
    return [name for words in asked for name in docker(*words, "--filter", label).split()]


def _service(container: str) -> str:
    return container.removeprefix(PROJECT).strip("-_").replace("_", "-").removesuffix("-1")
