"""Starts server processes, and ends them with all their child processes.

A process group is not enough: our own steps open sessions of their own, and if a parent dies
first, init adopts them. So every process of a stack inherits an environment variable with the
stack's id. That is not enough either: Airflow's workers overwrite their environment when they set
their title. Ending a stack ends every process that has the id or is in the session of a server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
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


def members(stack: str, sessions: Collection[int] = ()) -> list[psutil.Process]:
    """Every running process of the stack, except this one.

    Args:
        sessions: process ids of the stack's servers, each the leader of a session.
    """
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) in sessions or process.environ().get(MARK) == stack:
                processes.append(process)
    return processes


def end(stack: str, servers: Collection[int] = ()) -> None:
    """End a stack: SIGTERM to its servers, then to all remaining processes, then SIGKILL.

    The servers are first, since they end their own children in order; idle workers of the
    LocalExecutor ignore SIGTERM.
    """
    everyone = members(stack, servers)
    first = [process for process in everyone if process.pid in servers]
    _signal(first, signal.SIGTERM)
    psutil.wait_procs(first, _GRACE_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        remaining = {*members(stack, servers), *(p for p in everyone if p.is_running())}
        _signal(remaining, number)
        psutil.wait_procs(remaining, _GRACE_S / 2)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)  # psutil makes sure that it is still the same process


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
    """A port of 127.0.0.1 on which nothing listened just now."""
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
