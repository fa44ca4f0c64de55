"""A process that evaluates suites for the driver (``__main__`` is its other side).

Importing Great Expectations takes seconds and holds the interpreter, which the driver needs
to start Spark; and with a second process nights are checked while others are judged.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nocturne import errors
from nocturne.records import QualityResult, load

__all__ = ["Helper"]

Suites = Mapping[str, tuple[Path, Sequence[Path]]]


class Helper:
    """The process, from the side of the one that asks; ``OSError`` from a call: it died."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nocturne.quality"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, suites: Suites, docs_dir: Path, title: str) -> None:
        """Begin; the answers come in the order of the questions."""
        listed = {side: [str(path), [str(f) for f in files]]
                  for side, (path, files) in suites.items()}  # fmt: skip
        question = {"suites": listed, "docs_dir": str(docs_dir), "title": title}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
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
