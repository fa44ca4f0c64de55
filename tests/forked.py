"""Calls a function in a forked process, for libraries after whose use a process must not fork."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_child"]

T = TypeVar("T")


def in_child(function: Callable[[], T]) -> T:
    """What the function returns or raises in a forked process; both must be picklable."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with os.fdopen(writing, "wb") as answer:
            answer.write(_answer(function))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert told, f"the process ended with {code} and said nothing"
    value, error = pickle.loads(told)
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


def _answer(function: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((function(), None))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        try:
            error.__traceback__ = None
            error.add_note(text)
            told = pickle.dumps((None, error))
            pickle.loads(told)
            return told
        except Exception:
            return pickle.dumps((None, AssertionError(text)))
