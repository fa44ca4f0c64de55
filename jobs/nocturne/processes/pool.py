"""The driver's side: starts the server, gives splits to processes, and says how one ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from weakref import WeakSet

from nocturne.errors import (
    ConfigError,
    DeviceLost,
    MachineError,
    NocturneError,
    RetryableError,
)
from nocturne.host.machine import local_environment
from nocturne.host.trouble import CRASHED, how_ended
from nocturne.records.plan import Split
from nocturne.store.run import Run
from nocturne.trial import TrialAnswer, TrialRequest
from nocturne.trial.process import ask
from nocturne.worker.progress import Progress, Watch, count, pending
from nocturne.worker.tasks import Failure, as_error
from nocturne.worker.warm import ENVIRONMENT

__all__ = ["Processes"]

_MESSAGE = 1024
_DOCTOR = "`nocturne doctor` checks what is installed"

Pending = tuple[Run, Split]


class Processes:
    """Scores splits in processes of this machine, which are forked when there is work for them.

    Args:
        tasks: how many score at once.
        threads: of torch and Arrow in each of them.
        environment: variables for them (``spark.executorEnv``).
    """

    def __init__(
        self, tasks: int, threads: int = 1, environment: Mapping[str, str] | None = None
    ) -> None:
        self._tasks = tasks
        own = {n: v for n, v in local_environment(os.environ).items() if "SPARK" not in n}
        self._environment = {
            "OMP_NUM_THREADS": str(threads),
            "PYTHONHASHSEED": "0",  # as Spark sets it: a model may hash
            **ENVIRONMENT,
            **os.environ,
            **own,
            **(environment or {}),
            "PYTHONSAFEPATH": "1",
        }
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._over = False

    @property
    def name(self) -> str:
        """What scores, in words."""
        return f"processes of this machine, {self._tasks} at once, without Spark"

    def start(self) -> None:
        """Begin to start, and return at once."""
        self._started()

    def _started(self) -> _Server:
        with self._lock:
            if self._over:
                raise RetryableError("scoring was stopped. What was scored stays")
            self._server = self._server or _Server(self._environment)
            return self._server

    def wait(self) -> None:
        """Wait until processes can be forked.

        Raises:
            MachineError, RetryableError: the server can't start.
        """
        self._started().fork(0, self._tasks).close()

    def score(
        self, runs: Sequence[Run], progress: Progress | None = None
    ) -> dict[str, NocturneError]:
        """Score every split of the runs that has no result yet.

        If a process ends while it scores, its run fails: no other split of it is begun, while the
        other runs go on.

        Returns:
            run directory -> error, for the runs that can't be scored; the others are complete.

        Raises:
            MachineError, RetryableError: the processes can't be started.
        """
        failures = {run.uri: _query(run) for run in runs if run.plan.is_whole}
        if todo := pending(runs):
            work = _Work(todo, self._started(), min(self._tasks, len(todo)), failures)
            with Watch(runs, progress):
                work.run()
        if progress:
            progress(*count(runs))
        return failures

    def try_model(self, request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
        """The name of this host, and the answer of a trial (``nocturne.trial.process``)."""
        return socket.gethostname(), ask(request, rows)

    def finish(self) -> None:
        """End the server and all that it has forked; nothing more is scored."""
        with self._lock:
            server, self._server, self._over = self._server, None, True
        if server is not None:
            server.end()

    stop = finish

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _query(run: Run) -> NocturneError:
    return ConfigError(
        f"the run of {run.plan.pipeline} {run.plan.partition.key} is a query, which Spark reads, "
        "and spark.master is none: set it to local[*], or to a cluster"
    )


class _Work:
    """The splits of a call of ``score``, the largest first, and the threads that give them out."""

    def __init__(
        self,
        todo: Sequence[Pending],
        server: _Server,
        tasks: int,
        failures: dict[str, NocturneError],
    ) -> None:
        self._queue: SimpleQueue[Pending] = SimpleQueue()
        for item in sorted(todo, key=lambda item: -item[1].rows):
            self._queue.put(item)
        self._server, self._tasks, self._failures = server, tasks, failures
        self._given_up: set[str] = set()

    def run(self) -> None:
        """Raises: NocturneError if there is not one process to score in."""
        with ThreadPoolExecutor(self._tasks) as threads:
            served = [threads.submit(self._serve, number) for number in range(self._tasks)]
        errors = [error for thread in served if (error := thread.exception()) is not None]
        others = [error for error in errors if not isinstance(error, NocturneError)]
        if errors and (others or not self._queue.empty()):
            raise (others or errors)[0]

    def _serve(self, number: int) -> None:
        """In a thread: give one split after another to a process, until none is left.

        Raises:
            NocturneError: no process can be forked. What is left is for the other threads.
        """
        process: _Process | None = None
        try:
            while True:
                run, split = item = self._queue.get_nowait()
                if run.uri in self._given_up:
                    continue
                if process is None:
                    try:
                        process = self._server.fork(number, self._tasks)
                    except NocturneError:
                        self._queue.put(item)
                        raise
                try:
                    failures = process.score(run, split)
                except EOFError:
                    self._given_up.add(run.uri)
                    self._failures[run.uri] = _ended(run, split, self._server.how(process))
                    process = None
                    continue
                for run_dir, error, message in failures:
                    self._failures.setdefault(run_dir, as_error(error, message))
                if any(error == DeviceLost.__name__ for _, error, _ in failures):
                    process.close()  # it can't use the device any more
                    process = None
        except Empty:
            pass
        finally:
            if process is not None:
                process.close()


def _ended(run: Run, split: Split, how: str) -> NocturneError:
    """The error of a run whose process ended."""
    return RetryableError(
        f"the process that scored split {split.index} of {run.plan.pipeline} "
        f"{run.plan.partition.key} ended {how}: {CRASHED.why}. {CRASHED.fix}. What was scored stays"
    )


class _Process:
    """A process that scores: one split at a time, over a socket."""

    def __init__(self, id_: int, ours: socket.socket) -> None:
        self.id, self._socket, self._lines = id_, ours, ours.makefile("rwb")
        _HELD.add(ours)

    def score(self, run: Run, split: Split) -> list[Failure]:
        """Its failures. Raises: EOFError if the process has ended."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._lines.write(json.dumps([run.uri, split.index]).encode() + b"\n")
            self._lines.flush()
            if line := self._lines.readline():
                return [(run_dir, error, message) for run_dir, error, message in json.loads(line)]
        self.close()
        raise EOFError

    def close(self) -> None:
        """Let it end, once it has scored what it was given."""
        with suppress(OSError):
            self._lines.close()
        self._socket.close()


_HELD: WeakSet[socket.socket] = WeakSet()
"""The sockets of this process's servers and of what they forked."""


def _leave() -> None:
    """In a process that a model forks from the driver: it must not keep the server alive."""
    for held in [*_HELD]:
        if (descriptor := held.detach()) >= 0:
            os.close(descriptor)


os.register_at_fork(after_in_child=_leave)


class _Server:
    """The client of the server, which is a process of its own session: an interrupt from the
    keyboard reaches the driver alone.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._answered = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _HELD.add(self._control)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-m", "nocturne.processes", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # a model's output is not this command's
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(self, number: int, tasks: int) -> _Process:
        """A new process.

        Raises:
            MachineError, RetryableError: the server can't start, has ended, or can't fork.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                id_ = self._ask({"number": number, "tasks": tasks}, theirs)
        except NocturneError:
            ours.close()
            raise
        return _Process(id_, ours)

    def how(self, process: _Process) -> str:
        """How a process ended, as text."""
        try:
            return how_ended(self._ask({"process": process.id}))
        except NocturneError:
            return "with all others"

    def _ask(self, question: dict[str, int], given: socket.socket | None = None) -> int:
        packet = json.dumps(question).encode()
        with self._lock:
            try:
                socket.send_fds(self._control, [packet], [given.fileno()] if given else [])
                received = self._control.recv(_MESSAGE)
            except OSError:
                received = b""
            self._answered = self._answered or bool(received)
        answer = json.loads(received) if received else {}
        if "done" in answer:
            return int(answer["done"])
        raise self._cannot_fork(answer["error"]) if answer else self._gone()

    def _cannot_fork(self, error: str) -> NocturneError:
        return RetryableError(
            f"no process to score in can be started: {error}. End other processes, or score on "
            "fewer cores (spark.master: none[2]); then run the same command again"
        )

    def _gone(self) -> NocturneError:
        code = self._server.wait()
        problem = f"the server of the processes that score ended {how_ended(code)}"
        if code > 0 and not self._answered:
            return MachineError(f"{problem}; what it wrote is above. {_DOCTOR}")
        return RetryableError(f"{problem}; memory may have run out. Run the same command again")

    def end(self) -> None:
        """Kill it, what it has forked, and what a model has started there."""
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._control.close()
