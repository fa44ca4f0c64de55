"""What is asked of the process that tries a model (``__main__``), and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.codec import Stored
from nocturne.encoding import Encoding, OutputSpec
from nocturne.records.plan import ModelRef

__all__ = [
    "ANSWER",
    "OUTPUT",
    "READY",
    "REQUEST",
    "ROWS",
    "UNWRITTEN",
    "Trial",
    "TrialAnswer",
    "TrialRequest",
]

REQUEST, ROWS, READY, ANSWER = "asked.json", "rows.arrow", "ready", "answer.json"
"""The files by which they meet; ``READY`` says that the model comes next."""
UNWRITTEN = "unwritten"
"""What ``READY`` is called where the answer can't be written; the exit code is the ``errno``."""
OUTPUT = "said"
"""What the process prints."""


@dataclass(frozen=True)
class TrialRequest:
    """A model to try.

    ``encoding`` has the outputs as they are declared: in its ``spec``; in the YAML, the user's
    word (``firm``); or as far as its signature says. All of it has to take less than ``seconds``.
    """

    model: ModelRef
    encoding: Encoding
    spec: bool
    firm: bool
    input_cast: dict[str, str]
    device: str
    seconds: float


@dataclass(frozen=True)
class Trial(Stored):
    """What came of trying a model: the ``outputs`` that it is scored with.

    On ``raised`` of the ``rows`` it raised, first of all ``cause``. ``scores``: of three others, in
    words.
    """

    outputs: tuple[OutputSpec, ...]
    rows: int
    raised: int = 0
    cause: str = ""
    scores: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class TrialAnswer:
    """A trial, or why there is none: a ``fault`` (``error`` is its type: not the
    model's if it is no ModelError), or a package that is
    ``missing``. ``elsewhere``: it was tried on the CPU, for want of the device that it is for.
    """

    trial: Trial | None = None
    fault: str = ""
    error: str = "ModelError"
    missing: str = ""
    elsewhere: bool = False
