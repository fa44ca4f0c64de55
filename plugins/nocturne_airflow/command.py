"""Runs a step of the ``nocturne`` command line for an Airflow task.

The jobs may have another Python environment than Airflow: NOCTURNE_PYTHON names its interpreter.
The step gets its own process group, so that ending the task ends all processes of the step. Its
messages appear in the task's log, line by line, while it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from nocturne_airflow.credentials import lend

__all__ = ["Command", "Commanding", "Log", "Outcome", "interpreter", "job_environment"]

_GRACE_S = 10.0


class Log(Protocol):
    """Any logger: Airflow's task logger is not one of the standard library's."""

    def info(self, message: str, /, *values: Any) -> Any: ...


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step: its exit code, the end of its stderr, and its answer."""

    code: int
    message: str
    output: dict[str, Any] = field(default_factory=dict)


def interpreter() -> str:
    """The Python that runs Nocturne's jobs: NOCTURNE_PYTHON, or else the one that runs Airflow."""
    return os.environ.get("NOCTURNE_PYTHON") or sys.executable


def job_environment(home: Path) -> dict[str, str]:
    """The environment variables of a step: all but Airflow's settings and secrets."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "_AIRFLOW"))}
    return {**kept, "NOCTURNE_HOME": str(home), "PYTHONUNBUFFERED": "1"}


class Command:
    """One running step. A signal handler may call ``end`` while it runs.

    Args:
        connection: the Airflow connection whose credentials the step has, if any.
    """

    def __init__(
        self, arguments: Sequence[str], home: Path, log: Log, connection: str | None = None
    ) -> None:
        self.arguments = [interpreter(), "-P", "-m", "nocturne.cli", *arguments]
        self.home = home
        self.log = log
        self.connection = connection
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> Outcome:
        """Run to the end; the last line of stdout is the step's answer if it is JSON."""
        environment = job_environment(self.home)
        lend(environment, self.connection)
        self.log.info("$ nocturne %s", " ".join(self.arguments[4:]))
        self._process = process = subprocess.Popen(
            self.arguments,
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None  # they are pipes
        assert process.stderr is not None
        messages: deque[str] = deque(maxlen=20)
        reader = threading.Thread(target=self._follow, args=(process.stderr, messages), daemon=True)
        reader.start()
        last_line = ""
        for line in process.stdout:
            if last_line:
                self.log.info("%s", last_line)
            last_line = line.rstrip()
        code = process.wait()
        reader.join()
        output = _object(last_line)
        if last_line and output is None:
            self.log.info("%s", last_line)
        return Outcome(code, "\n".join(messages), output or {})

    def end(self) -> None:
        """End the step's whole process group: with SIGTERM, then with SIGKILL."""
        process = self._process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)

    def _follow(self, stream: IO[str], messages: deque[str]) -> None:
        for line in stream:
            text = line.rstrip()
            if text:
                messages.append(text)
                self.log.info("%s", text)


class Commanding:
    """An operator that runs steps; a running step ends with its task."""

    home: str
    connection: str | None = None
    log: Any
    _command: Command | None = None

    def command(self, *arguments: str) -> Outcome:
        """Run ``nocturne ARGUMENTS`` to the end."""
        self._command = Command(arguments, Path(self.home), self.log, self.connection)
        return self._command.run()

    def on_kill(self) -> None:
        if self._command is not None:
            self._command.end()


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
