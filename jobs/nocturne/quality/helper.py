"""A process that evaluates suites for the driver (``__main__`` is its other side).

Importing Great Expectations takes seconds and blocks the interpreter, which the driver needs to
start Spark. A second process also checks some nights while the driver judges others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

from nocturne import errors
from nocturne.codec import dump, load
from nocturne.quality.evaluate import SuiteRequest
from nocturne.records.quality import QualityResult

__all__ = ["Helper", "Question"]


_END = b""


@dataclass(frozen=True)
class Question:
    """A question to the process: the arguments of ``evaluate``."""

    suites: dict[str, SuiteRequest]


class Helper:
    """The client of the process. A call raises ``OSError`` if the process has died.

    A thread sends one question after the other and waits for the answer to each: if both sides
    wrote at once, full pipes would block both.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nocturne.quality"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._questions: SimpleQueue[bytes] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._carrier = threading.Thread(target=self._carry, daemon=True)
        self._carrier.start()
        self._over = False

    def _carry(self) -> None:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        with suppress(OSError):
            while question := self._questions.get():
                to.write(question)
                to.flush()
                if not (answer := back.readline()):
                    break
                self._answers.put(answer)
        self._answers.put(_END)

    def ask(self, suites: Mapping[str, SuiteRequest]) -> None:
        """Send a question; the answers come in the order of the questions."""
        self._questions.put(dump(Question(dict(suites))).replace("\n", " ").encode() + b"\n")

    def answer(self) -> tuple[QualityResult, dict[str, float]]:
        """The next answer, and the seconds of its steps by name.

        Raises:
            NocturneError: the error that the evaluation raised.
        """
        line = _END if self._over else self._answers.get()
        if line == _END:
            self._over = True
            raise OSError(f"the process that checks quality ended ({self._process.wait()})")
        reply = json.loads(line)
        if "error" in reply:
            raise getattr(errors, reply["error"])(reply["message"])
        return load(QualityResult, json.dumps(reply["result"]), "a check"), reply["seconds"]

    def close(self) -> None:
        """Kill the process: it holds nothing between answers, and a clean end takes a second."""
        self._process.kill()
        self._questions.put(_END)
        self._carrier.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
