"""Starts server processes and ends every one of them, with all that they started.

A process group is not enough: Airflow's supervisors and our own steps open sessions of their
own, and a parent that dies first leaves them to init. So every process of a stack inherits an
environment variable with the stack's id, and ending the stack ends whoever carries it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]

from nocturne.errors import TerminalError

__all__ = ["MARK", "StackError", "end", "free_port", "members", "start", "tail", "taken"]

MARK = "NOCTURNE_STACK"
_GRACE_S = 6.0


class StackError(TerminalError):
    """The local Airflow could not be started, or a part of it ended."""


def start(
    command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    """A server in a session of its own; both its outputs are appended to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        return subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def members(stack: str) -> list[psutil.Process]:
    """Every living process of ours that carries the stack's id, this one excepted."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == stack:
                found.append(process)
    return found


def end(stack: str, first: Iterable[subprocess.Popen[bytes]] = ()) -> None:
    """End a stack: its servers politely, then whoever is left, then for good.

    The servers go first, since they end their own children in good order; idle workers of
    the LocalExecutor ignore SIGTERM.
    """
    servers = [p for p in first if p.poll() is None]
    for server in servers:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
    psutil.wait_procs([psutil.Process(p.pid) for p in servers if _alive(p.pid)], _GRACE_S)
    for what in ("terminate", "kill"):
        left = members(stack)
        for process in left:
            with suppress(psutil.Error):
                getattr(process, what)()
        psutil.wait_procs(left, _GRACE_S / 2)
    for server in servers:
        with suppress(subprocess.TimeoutExpired):
            server.wait(1)


def _alive(pid: int) -> bool:
    return bool(psutil.pid_exists(pid))


def taken(port: int) -> bool:
    """Whether something already listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(path: Path, lines: int = 25) -> str:
    """The end of a log file."""
    if not path.is_file():
        return "(it wrote no log)"
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
