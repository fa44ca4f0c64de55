"""A process that evaluates suites for the driver (``__main__`` is its other side).

Importing Great Expectations takes seconds and holds the interpreter, which the driver needs
to start Spark; and with a second process nights are checked while others are judged.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nocturne import errors
from nocturne.quality.evaluate import Asked
from nocturne.records import QualityResult, dump, load

__all__ = ["Helper", "Question"]


@dataclass(frozen=True)
class Question:
    """What the process is asked: the arguments of ``evaluate``."""

    suites: dict[str, Asked]
    docs_dir: str
    title: str


class Helper:
    """The process, from the side of the one that asks; ``OSError`` from a call: it died."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nocturne.quality"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, suites: Mapping[str, Asked], docs_dir: Path, title: str) -> None:
        """Begin; the answers come in the order of the questions."""
        question = Question(dict(suites), str(docs_dir), title)
        assert self._process.stdin is not None
        self._process.stdin.write(dump(question).replace("\n", " ").encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> tuple[QualityResult, dict[str, float]]:
        """The next answer, and the seconds that it took there by name.

        Raises:
            NocturneError: what evaluating raised.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError(f"the process that checks quality ended ({self._process.wait()})")
        said = json.loads(line)
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        return load(QualityResult, json.dumps(said["result"]), "a check"), said["seconds"]

    def close(self) -> None:
        """End it, at once: between answers it holds nothing, and tidying up takes it a second."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
