"""The server: forks processes that score, on request. Its argument is a socket's descriptor.

It uses no store and starts no thread, so that what it forks can do both. When the driver is gone,
or closes the socket, the server ends, and with it all processes of its group: those that score,
and what a model has started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from typing import Any

from nocturne.worker.slots import slot_in_turn
from nocturne.worker.tasks import score_items
from nocturne.worker.warm import warm

_PR_SET_PDEATHSIG = 1
_MESSAGE = 1024
"""The most bytes of a message: a packet of its own, in JSON."""
_ENDING_S = 1.0
"""Seconds for a process to end that has closed its socket; then it is killed."""


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, how a process ended would be unknown
    control = socket.socket(fileno=int(sys.argv[1]))
    warm()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 1)
        if not message:
            os.killpg(0, signal.SIGKILL)
        asked = json.loads(message)
        answer: dict[str, Any]
        try:
            done = _forked(control, *descriptors, **asked) if descriptors else _ended(**asked)
            answer = {"done": done}
        except OSError as error:  # no memory, or no more processes
            answer = {"error": str(error)}
        control.sendall(json.dumps(answer).encode())


def _forked(control: socket.socket, descriptor: int, number: int, tasks: int) -> int:
    """Fork the process with this number, which takes splits from a socket; returns its id."""
    server = os.getpid()
    try:
        if forked := os.fork():
            return forked
    finally:
        if os.getpid() == server:
            os.close(descriptor)
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:  # else it ended before the line above
            control.close()
            _work(descriptor, number, tasks)
            _flush()
            os._exit(0)
    except BaseException:  # of a model, which may end its process as it likes
        traceback.print_exc()
    finally:
        _flush()
        os._exit(1)


def _work(descriptor: int, number: int, tasks: int) -> None:
    """Score one split after another; answer each with its failures, as a line of JSON."""
    slot = partial(slot_in_turn, number=number, tasks=tasks)
    driver = socket.socket(fileno=descriptor)
    # The driver notices an end by the socket's, so a process that a model forks must not hold it.
    os.register_at_fork(after_in_child=partial(_leave, driver))
    with driver.makefile("rwb") as lines:
        for line in lines:
            failures = [*score_items([json.loads(line)], slot)]
            _flush()  # what the model printed: this process may be killed any time from here on
            lines.write(json.dumps(failures).encode() + b"\n")
            lines.flush()


def _leave(driver: socket.socket) -> None:
    """In a forked process: close the socket, once; its number may be another file's later."""
    if (descriptor := driver.detach()) >= 0:
        os.close(descriptor)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _ended(process: int) -> int:
    """How a forked process ended: its exit code, or a signal's number below 0.

    One that has closed its socket but does not end is killed.
    """
    until = time.monotonic() + _ENDING_S
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
