"""pytest as a child of a small init process, which ends with it all that the tests started.

Airflow's and MLflow's servers have sessions of their own, workers overwrite their environment,
and a JVM lives until somebody closes its standard input: none of them ends because pytest does.
So the process that was started as pytest becomes what ``tini`` is in a container. Whoever loses
its parent becomes its child, and once pytest has ended, in whatever way, it kills what is left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import psutil

__all__ = ["go_on_below"]

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a shell's background job ignores SIGINT
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def go_on_below() -> None:
    """Returns in a child of this process. The process itself waits, and never returns."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    heard = [number for number in _STOP if signal.getsignal(number) != signal.SIG_IGN]
    child = os.fork()
    if child:
        _watch(child, heard)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in heard:
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does, whichever signal it was; the fixtures' ends are not interrupted again."""
    for other in _STOP:
        signal.signal(other, lambda *_: None)
    raise KeyboardInterrupt


def _watch(child: int, heard: list[signal.Signals]) -> NoReturn:
    asked = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1  # who asks twice does not want to wait
        with suppress(ProcessLookupError):
            os.kill(child, number if asked == 1 else signal.SIGKILL)

    for number in heard:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
    ended = 0
    while ended != child:
        ended, status = os.waitpid(-1, 0)
    _end_all()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _end_all() -> None:
    """Children of a killed process become ours, so this ends when there are no more."""
    while True:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.02)
            continue
        return


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")
