"""The request to the process that tries a model (``__main__``), and its answer."""

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

REQUEST, ROWS, READY, ANSWER = "request.json", "rows.arrow", "ready", "answer.json"
"""The files that both sides read and write; ``READY`` says that the model is loaded next."""
UNWRITTEN = "unwritten"
"""``READY`` is renamed to this if the answer can't be written; the exit code is the ``errno``."""
OUTPUT = "output"
"""The file with everything that the process prints."""


@dataclass(frozen=True)
class TrialRequest:
    """A model to try.

    ``encoding`` has the declared outputs: from the model's ``spec``, from the YAML (``firm``, the
    user declared them), or from the signature as far as it has them. ``input_cast`` is the
    pipeline's ``input.cast``. The trial must take less than ``seconds``.
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
    """The result of trying a model: the ``outputs`` that it is scored with.

    The model raised on ``raised`` of the ``rows``; ``cause`` is the first exception. ``scores`` are
    the predictions of three other rows, as text.
    """

    outputs: tuple[OutputSpec, ...]
    rows: int
    raised: int = 0
    cause: str = ""
    scores: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class TrialAnswer:
    """A trial, or the reason why there is none: a ``fault``, or a package that is ``missing``.

    ``error`` is the type of the fault; if it is not ModelError, the model is not at fault.
    ``elsewhere`` says that the model was tried on the CPU, since its device is not available.
    """

    trial: Trial | None = None
    fault: str = ""
    error: str = "ModelError"
    missing: str = ""
    elsewhere: bool = False
