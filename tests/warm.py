"""Trials as forks of one process that has imported torch, MLflow and scikit-learn already.

Each is a trial in a process of its own as ever; only the start of Python (5 to 10 CPU seconds) is
not paid each time. What starts a new one is tested with models of every library (``strangers``).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Forked:
    """A process of the server's: as much of ``subprocess.Popen`` as a trial needs."""

    def __init__(self, server: subprocess.Popen[bytes], pid: int) -> None:
        self.server, self.pid = server, pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            assert self.server.stdout is not None
            if not select.select([self.server.stdout], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a trial", timeout or 0)
            self.returncode = int(self.server.stdout.readline())
        return self.returncode


class Trials:
    """Starts them, one at a time; the server is there from the first one on."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, environ: Mapping[str, str]) -> Forked:
        if self.server is None:
            command, pipe = [sys.executable, "-P", "-u", __file__], subprocess.PIPE
            self.server = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe)
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        asked = json.dumps([str(folder), os.getcwd(), dict(environ)])
        self.server.stdin.write(asked.encode() + b"\n")
        return Forked(self.server, int(self.server.stdout.readline()))

    def end(self) -> None:
        if self.server is not None:
            self.server.communicate()


def _serve() -> None:
    import mlflow.pyfunc
    import mlflow.sklearn  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import nocturne.pyfunc.load
    import nocturne.trial.__main__  # noqa: F401

    for line in sys.stdin.buffer:
        folder, where, environ = json.loads(line)
        pid = os.fork()
        if not pid:
            _try(Path(folder), where, environ)
        print(pid)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _try(folder: Path, where: str, environ: dict[str, str]) -> None:
    """What ``nocturne.trial.process.start`` makes of a new process, of this one."""
    from nocturne.trial import OUTPUT
    from nocturne.trial.__main__ import main

    os.setsid()
    os.chdir(where)
    os.environ.clear()
    os.environ.update(environ)
    paths = environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*(path for path in paths if path), *sys.path]
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, folder / OUTPUT, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(name, flags), number)
    os.dup2(1, 2)
    try:
        main(folder)
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else bool(error.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


if __name__ == "__main__":
    _serve()
