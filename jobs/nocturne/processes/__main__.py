"""The server: forks processes that score, on request. Its argument is a socket's descriptor.

It uses no store and has no threads, so that what it forks can use both. When the driver is gone,
or closes the socket, the server ends, and the system ends what it has forked.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from functools import partial

from nocturne.worker.slots import slot_in_turn
from nocturne.worker.tasks import score_items
from nocturne.worker.warm import warm

_PR_SET_PDEATHSIG = 1
_MESSAGE = 1024
"""The most bytes of a message: a packet of its own, in JSON."""


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    warm()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 1)
        if not message:
            os._exit(0)
        asked = json.loads(message)
        answer = _forked(control, *descriptors, **asked) if descriptors else _ended(**asked)
        control.sendall(json.dumps(answer).encode())


def _forked(control: socket.socket, descriptor: int, number: int, tasks: int) -> int:
    """Fork the process with this number, which takes splits from a socket; returns its id."""
    server = os.getpid()
    if forked := os.fork():
        os.close(descriptor)
        return forked
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:  # else it ended before the line above
            control.close()
            _work(descriptor, number, tasks)
            os._exit(0)
    finally:
        sys.stderr.flush()
        os._exit(1)


def _work(descriptor: int, number: int, tasks: int) -> None:
    """Score one split after another; answer each with its failures, as a line of JSON."""
    slot = partial(slot_in_turn, number=number, tasks=tasks)
    # The driver notices an end by the socket's, so a process that a model forks must not hold it.
    os.register_at_fork(after_in_child=partial(os.close, descriptor))
    with socket.socket(fileno=descriptor) as driver, driver.makefile("rwb") as lines:
        for line in lines:
            lines.write(json.dumps([*score_items([json.loads(line)], slot)]).encode() + b"\n")
            lines.flush()


def _ended(process: int) -> int:
    """How a forked process ended: its exit code, or a signal's number below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    main()
