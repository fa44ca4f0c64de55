"""``python -m nocturne.quality``: evaluates suites for another process, see ``helper``.

It reads questions from standard input and writes answers to standard output in the same order,
one line of JSON each. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import suppress
from typing import IO, Any

from nocturne.codec import dump, load
from nocturne.errors import NocturneError
from nocturne.host.garbage import collect_rarely
from nocturne.quality import gx
from nocturne.quality.evaluate import evaluate
from nocturne.quality.helper import Question
from nocturne.stopwatch import Stopwatch

_NICE = 10
"""Scoring and starting Spark have priority over this; on an idle machine it costs nothing."""


def main(questions: IO[str], answers: IO[str]) -> None:
    """Answer until there are no more questions."""
    with gx.quiet():
        gx.context()  # imports the library before somebody waits for it
    for line in questions:
        print(json.dumps(_evaluate(load(Question, line, "a question"))), file=answers, flush=True)


def _evaluate(question: Question) -> dict[str, Any]:
    watch = Stopwatch()
    try:
        result = evaluate(question.suites, watch=watch)
    except NocturneError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"error": "TerminalError", "message": f"{type(error).__name__}: {error}"}
    return {"result": json.loads(dump(result)), "seconds": watch.seconds}


if __name__ == "__main__":
    with suppress(OSError):
        os.nice(_NICE)
    collect_rarely()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as private, suppress(KeyboardInterrupt):
        os.dup2(2, 1)  # a library that prints must not write between the answers
        main(sys.stdin, private)
