"""The local Airflow: its environment, and how its processes are watched and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nocturne_airflow import local
from nocturne_airflow.environment import Ports, airflow_home, environment, passwords_file
from nocturne_airflow.processes import MARK, StackError, end, free_port, members, start, tail
from nocturne_airflow.stack import Stack, _mlflow, running
from waiting import until


def quiet(_: str) -> None:
    """Receives the progress lines."""


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    first, second = environment(tmp_path), environment(tmp_path)
    for name in ("CORE__FERNET_KEY", "API__SECRET_KEY", "API_AUTH__JWT_SECRET"):
        assert first[f"AIRFLOW__{name}"] == second[f"AIRFLOW__{name}"]
        assert len(first[f"AIRFLOW__{name}"]) >= 40
    for path in (passwords_file(airflow_home(tmp_path)), airflow_home(tmp_path) / "secrets.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_projects_have_different_secrets(tmp_path: Path) -> None:
    one, two = environment(tmp_path / "a"), environment(tmp_path / "b")
    assert one["AIRFLOW__CORE__FERNET_KEY"] != two["AIRFLOW__CORE__FERNET_KEY"]


def test_airflow_settings_of_the_shell_do_not_leak_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW__CORE__HOSTNAME_CALLABLE", "x")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "spark://ours")
    env = environment(tmp_path, Ports(81, 82))
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith(f"sqlite:///{tmp_path}")
    assert "AIRFLOW__CORE__HOSTNAME_CALLABLE" not in env
    assert env["AIRFLOW_CONN_SPARK_DEFAULT"] == "spark://ours", "a cluster may be named"
    assert env["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:82"


def test_both_servers_listen_on_this_machine_only_and_want_a_password(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert "127.0.0.1" in _mlflow(tmp_path, Ports())


def test_the_tasks_find_the_environments_own_programs(tmp_path: Path) -> None:
    assert environment(tmp_path)["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port}.*make airflow PORT=N"):
            Stack(tmp_path, Ports(port, 0), say=quiet).__enter__()
        with pytest.raises(StackError, match=rf"port {port}.*make airflow MLFLOW_PORT=N"):
            Stack(tmp_path, Ports(0, port), say=quiet).__enter__()
    assert running(tmp_path) is None


def test_a_second_stack_of_one_project_is_refused(tmp_path: Path) -> None:
    home = airflow_home(tmp_path)
    home.mkdir(parents=True)
    other = os.getppid()
    claim = {
        "id": "x",
        "pid": other,
        "started": psutil.Process(other).create_time(),
        "airflow": 1234,
        "mlflow": 5678,
    }
    (home / "stack.json").write_text(json.dumps(claim))
    assert running(tmp_path) == Ports(1234, 5678)
    with pytest.raises(StackError, match=rf"already runs \(process {other}, http://localhost:1234"):
        Stack(tmp_path, Ports(0, 0), say=quiet).__enter__()
    assert json.loads((home / "stack.json").read_text()) == claim


def test_a_server_that_ends_shows_the_end_of_its_log(tmp_path: Path) -> None:
    stack = Stack(tmp_path, Ports(0, 0), say=quiet)
    stack._start("scheduler", [sys.executable, "-c", "print('boom'); raise SystemExit(3)"])
    stack._servers["scheduler"].wait(20)
    with pytest.raises(StackError, match=r"scheduler ended with code 3(.|\n)*boom"):
        stack.check()
    stack.stop()


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \
    "open(sys.argv[1], 'w'); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", inner, "own"], start_new_session=True)
subprocess.Popen([sys.executable, "-c", inner, "bare"], env={})
time.sleep(60)
"""


def _stubborn(tmp_path: Path, stack: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A server that ignores SIGTERM, with a child of its own session and one without the mark."""
    env = {**os.environ, MARK: stack}
    server = start([sys.executable, "-c", STUBBORN], env, tmp_path / "log", tmp_path)
    begun = [tmp_path / name for name in ("own", "bare")]
    until(lambda: all(path.exists() for path in begun), lambda: tail(tmp_path / "log"), 20)
    return server, members(stack, [server.pid])


def test_every_process_ends_whatever_it_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nocturne_airflow.processes._GRACE_S", 0.5)
    server, everyone = _stubborn(tmp_path, "test-end")
    end("test-end", [server.pid])
    server.wait(5)
    assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_leftovers_of_a_killed_stack_end_before_a_new_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nocturne_airflow.processes._GRACE_S", 0.5)
    server, everyone = _stubborn(tmp_path, "test-killed")
    began = psutil.Process(server.pid).create_time()
    server.send_signal(signal.SIGKILL)
    server.wait(5)
    home = airflow_home(tmp_path)
    home.mkdir(parents=True)
    claim = {
        "id": "test-killed",
        "pid": server.pid,
        "started": began,
        "airflow": 1,
        "mlflow": 2,
        "servers": {str(server.pid): began},
    }
    (home / "stack.json").write_text(json.dumps(claim))
    stack = Stack(tmp_path, Ports(0, 0), say=quiet)
    stack._claim()
    stack.stop()
    assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_free_port_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_run_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local.main(["run"])
    assert "run: got no command" in capsys.readouterr().err


def test_errors_end_the_launcher_with_their_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path))
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert local.main([]) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert "error: NOCTURNE_HOME is" in capsys.readouterr().err
