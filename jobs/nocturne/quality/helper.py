"""A process that evaluates suites for the driver (``__main__`` is its other side).

Importing Great Expectations takes seconds and holds the interpreter, which the driver needs
to start Spark; and with a second process nights are checked while others are judged.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from nocturne import errors
from nocturne.codec import dump, load
from nocturne.quality.evaluate import Asked
from nocturne.records.quality import QualityResult

__all__ = ["Helper", "Question"]


_END = b""


@dataclass(frozen=True)
class Question:
    """What the process is asked: the arguments of ``evaluate``."""

    suites: dict[str, Asked]
    docs_dir: str
    title: str


class Helper:
    """The process, from the side of the one that asks; ``OSError`` from a call: it died.

    A thread hands over one question after the other and waits for the answer to each: were both
    sides to write at once, full pipes would stop both.
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

    def ask(self, suites: Mapping[str, Asked], docs_dir: Path, title: str) -> None:
        """Begin; the answers come in the order of the questions."""
        question = Question(dict(suites), str(docs_dir), title)
        self._questions.put(dump(question).replace("\n", " ").encode() + b"\n")

    def answer(self) -> tuple[QualityResult, dict[str, float]]:
        """The next answer, and the seconds that it took there by name.

        Raises:
            NocturneError: what evaluating raised.
        """
        line = _END if self._over else self._answers.get()
        if line == _END:
            self._over = True
            raise OSError(f"the process that checks quality ended ({self._process.wait()})")
        said = json.loads(line)
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        return load(QualityResult, json.dumps(said["result"]), "a check"), said["seconds"]

    def close(self) -> None:
        """End it, at once: between answers it holds nothing, and tidying up takes it a second."""
        self._process.kill()
        self._questions.put(_END)
        self._carrier.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
