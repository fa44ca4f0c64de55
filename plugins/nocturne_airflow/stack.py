"""The servers of a local Airflow and MLflow, started and watched one by one.

``airflow standalone`` is not used, since its children go on running when it ends.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from nocturne.config import POOLS
from nocturne_airflow.client import Airflow
from nocturne_airflow.environment import (
    USER,
    Ports,
    airflow_home,
    code_root,
    environment,
    passwords_file,
)
from nocturne_airflow.processes import MARK, StackError, end, free_port, start, tail, taken

__all__ = ["STOP_SIGNALS", "Stack", "running"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HEALTHY_WITHIN_S = 240.0


class Stack:
    """The running servers of one project; a context manager that ends them all.

    Args:
        root: the project with conf/ and var/.
        ports: 0 means any free port.
        code: the folder with dags/ and plugins/. Default: that of this installation.
        users: name -> role.
        say: is called with each line of progress.
    """

    def __init__(
        self,
        root: Path,
        ports: Ports | None = None,
        *,
        code: Path | None = None,
        users: Mapping[str, str] = {USER: "admin"},
        say: Callable[[str], None] = print,
    ) -> None:
        requested = ports or Ports()
        self.root = root.resolve()
        self.ports = Ports(requested.airflow or free_port(), requested.mlflow or free_port())
        self.code = code or code_root()
        self.say = say
        self.id = secrets.token_hex(8)
        self.env = environment(self.root, self.ports, code=self.code, users=users) | {MARK: self.id}
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Stack:
        try:
            self._claim()
            self._start("mlflow", _mlflow(self.root, self.ports))
            self._migrate()
            for name, arguments in _AIRFLOW.items():
                self._start(name, [sys.executable, "-m", "airflow", *arguments(self.ports)])
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def home(self) -> Path:
        return airflow_home(self.root)

    def password(self, user: str = USER) -> str:
        return str(json.loads(passwords_file(self.home).read_text())[user])

    def client(self, user: str = USER) -> Airflow:
        """A REST client that is logged in."""
        return Airflow(f"http://127.0.0.1:{self.ports.airflow}", user, self.password(user))

    def log(self, name: str) -> Path:
        """The log file of one server."""
        return self.home / "logs" / "local" / f"{name}.log"

    def check(self) -> None:
        """Check that every server still runs.

        Raises:
            StackError: one has ended; shows the end of its log.
        """
        for name, server in self._servers.items():
            code = server.poll()
            if code is not None:
                raise StackError(
                    f"{name} ended with code {code}. The end of {self.log(name)}:\n\n"
                    f"{tail(self.log(name))}",
                    name=name,
                )

    def stop(self) -> None:
        """End every process of the stack; a second Ctrl-C does not interrupt it."""
        ignored = {s: signal.signal(s, signal.SIG_IGN) for s in STOP_SIGNALS}
        try:
            end(self.id, [server.pid for server in self._servers.values()])
            for server in self._servers.values():
                server.wait()
            self._servers.clear()
            if _claim_of(self.home).get("id") == self.id:
                (self.home / "stack.json").unlink(missing_ok=True)
        finally:
            for number, handler in ignored.items():
                signal.signal(number, handler)

    def _claim(self) -> None:
        other = _claim_of(self.home)
        if other and _runs(other):
            raise StackError(
                f"this project's Airflow already runs (process {other['pid']}, "
                f"http://localhost:{other['airflow']}). Use that one, or end it first.",
            )
        if other:  # it was killed with SIGKILL, so its servers may still run
            end(str(other["id"]), _sessions(other))
        for what, port, option in (
            ("Airflow", self.ports.airflow, "PORT"),
            ("MLflow", self.ports.mlflow, "MLFLOW_PORT"),
        ):
            if taken(port):
                raise StackError(
                    f"port {port}, which {what} needs, is taken by another program. End it, or "
                    f"choose another port: make airflow {option}=N (0: any free one).",
                    port=port,
                )
        self._record()

    def _record(self) -> None:
        servers = {server.pid: _started(server.pid) for server in self._servers.values()}
        claim = {
            "id": self.id,
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "airflow": self.ports.airflow,
            "mlflow": self.ports.mlflow,
            "servers": servers,
        }
        (self.home / "stack.json").write_text(json.dumps(claim))

    def pid(self, name: str) -> int:
        """The process id of a server that runs, such as ``api-server``."""
        return self._servers[name].pid

    def _start(self, name: str, command: Sequence[str]) -> None:
        self.log(name).unlink(missing_ok=True)
        self._servers[name] = start(command, self.env, self.log(name), self.root)
        self._record()

    def _migrate(self) -> None:
        # Importing airflow here would create its files in the user's home.
        installed = version("apache-airflow")
        stamp = self.home / "airflow.db.version"
        if not stamp.is_file() or stamp.read_text() != installed:
            self.say("Creating Airflow's database ...")
            self._airflow("migrate", "db", "migrate")
            stamp.write_text(installed)
        pools = self.root / POOLS
        if pools.is_file():
            self._airflow("pools", "pools", "import", str(pools))

    def _airflow(self, name: str, *arguments: str) -> None:
        """Run an Airflow command to its end."""
        self._start(name, [sys.executable, "-m", "airflow", *arguments])
        if self._servers[name].wait():
            self.check()
        del self._servers[name]

    def _wait_until_healthy(self) -> None:
        self.say("Starting Airflow and MLflow ...")
        start = time.monotonic()
        unhealthy = ["not answering yet"]
        while unhealthy:
            self.check()
            unhealthy = _unhealthy(self.ports)
            if unhealthy and time.monotonic() - start > _HEALTHY_WITHIN_S:
                raise StackError(
                    f"after {_HEALTHY_WITHIN_S:.0f} s these are not healthy: "
                    f"{', '.join(unhealthy)}. Their logs: {self.log('*')}"
                )
            time.sleep(0.5)


def running(root: Path) -> Ports | None:
    """The ports of this project's Airflow if another process runs it now."""
    claim = _claim_of(airflow_home(root))
    return Ports(claim["airflow"], claim["mlflow"]) if claim and _runs(claim) else None


def _mlflow(root: Path, ports: Ports) -> list[str]:
    store = root / "var" / "mlflow"
    (store / "artifacts").mkdir(parents=True, exist_ok=True)
    # Clients read and write the artifacts themselves: the same models can be used through the
    # server and through the SQLite file.
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(ports.mlflow),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{store / 'mlflow.db'}",
        "--default-artifact-root",
        (store / "artifacts").as_uri(),
        "--no-serve-artifacts",
    ]


_AIRFLOW: dict[str, Callable[[Ports], list[str]]] = {
    "api-server": lambda ports: [
        "api-server",
        "--host",
        "127.0.0.1",
        "--port",
        str(ports.airflow),
        "--workers",
        "1",
    ],
    "scheduler": lambda _: ["scheduler", "--skip-serve-logs"],
    "dag-processor": lambda _: ["dag-processor"],
    "triggerer": lambda _: ["triggerer", "--skip-serve-logs"],
}


def _unhealthy(ports: Ports) -> list[str]:
    unhealthy = []
    try:
        httpx.get(f"{ports.mlflow_url}/health", timeout=2, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        unhealthy.append("MLflow")
    try:
        url = f"http://127.0.0.1:{ports.airflow}/api/v2/monitor/health"
        parts = httpx.get(url, timeout=5, trust_env=False).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return [*unhealthy, "Airflow's API server"]
    return unhealthy + [n for n, part in parts.items() if (part or {}).get("status") != "healthy"]


def _claim_of(home: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((home / "stack.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _runs(claim: dict[str, Any]) -> bool:
    return bool(claim["pid"] != os.getpid() and _started(claim["pid"]) == claim["started"])


def _sessions(claim: dict[str, Any]) -> list[int]:
    # A session outlives its leader, and its number is not used again until it ends. If the leader
    # still runs, it must be the process that was started then.
    servers = {int(pid): started for pid, started in claim.get("servers", {}).items()}
    return [pid for pid, started in servers.items() if _started(pid) in (started, None)]


def _started(pid: int) -> float | None:
    import psutil  # type: ignore[import-untyped,unused-ignore]

    with suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return None
