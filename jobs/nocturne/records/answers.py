"""The answers of commands with ``--json``, for the Airflow package and other programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar

from nocturne.errors import StateError, choices

__all__ = [
    "GateAnswer",
    "JudgeAnswer",
    "NightAnswer",
    "PartitionAnswer",
    "PrepareAnswer",
    "PublishAnswer",
    "ScoresAnswer",
    "TruthAnswer",
    "read_answer",
]

Action = Literal["score", "nothing", "skip", "dry_run"]


@dataclass(frozen=True)
class PrepareAnswer:
    """``nocturne prepare``. ``run_dir``: None if there is nothing to score."""

    action: Action
    run_dir: str | None = None
    message: str = ""


@dataclass(frozen=True)
class JudgeAnswer:
    """``nocturne judge``.

    ``drift_paged``: whether a person should look at the drift. ``published``: a ``ScoresAnswer`` if
    the command published the scores. ``arms``: what became of the canary, or the split, if a
    person should know of it.
    """

    verdict: str
    reasons: list[str]
    report: str
    run_dir: str
    rows_in: int
    quarantined: int
    drift_paged: bool
    seconds: dict[str, float]
    mlflow: str | None = None
    published: dict[str, Any] | None = None
    arms: str = ""


@dataclass(frozen=True)
class GateAnswer:
    """``nocturne gate``. ``worst``: the columns that lie furthest from their baseline."""

    verdict: str
    reasons: list[str]
    report: str
    partition: str
    model_version: int
    rows_in: int
    worst: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TruthAnswer:
    """``nocturne truth``.

    Attributes:
        counted: partitions that were counted just now.
        problems: partition -> why it can't be counted.
        alerts: ``PARTITION:NUMBER`` of a truth -> what is beyond ``labels.bounds``, unless that was
            told before.
        nights: ``partition`` and ``truth`` of each that is counted.
    """

    pipeline: str
    counted: list[str]
    problems: dict[str, str]
    alerts: dict[str, list[str]]
    nights: list[dict[str, Any]]


@dataclass(frozen=True)
class ScoresAnswer:
    """Scores that a command has put in force. ``manifest``: the manifest's file."""

    partition: str
    manifest: str
    mlflow: str | None
    id: str
    restores: str | None
    rows_published: int
    rows_quarantined: int
    model_version: int
    verdict: str


@dataclass(frozen=True)
class PublishAnswer(ScoresAnswer):
    """``nocturne publish``. ``output``: the folder with the scores; ``run_dir``: of what run."""

    output: str
    run_dir: str = ""


@dataclass(frozen=True)
class PartitionAnswer:
    """One partition of ``nocturne status``.

    ``models``: the versions that scored it, with those that had a share of its keys.
    """

    partition: str
    state: str
    model_version: int | None
    rows_in: int | None
    rows_published: int | None
    rows_quarantined: int | None
    rows_per_second: int | None
    verdict: str | None
    drift_verdict: str | None
    reasons: list[str]
    input: str
    output: str | None
    manifest: str | None
    report: str | None
    step: str | None
    rows_done: int | None
    message: str
    models: str = ""


@dataclass(frozen=True)
class PipelineAnswer:
    """One pipeline of ``nocturne status``.

    ``states``: how many of its last partitions are published, warned, held, ...; ``waiting``: how
    many are in the input and not scored; ``problem``: why it can't be read.
    """

    pipeline: str
    last: PartitionAnswer | None
    states: dict[str, int]
    waiting: int
    problem: str


@dataclass(frozen=True)
class NightAnswer:
    """One partition of ``nocturne score`` or ``requeue``."""

    partition: str
    outcome: str
    message: str
    manifest: str | None
    output: str | None
    rows_published: int | None
    rows_quarantined: int | None
    model_version: int | None
    verdict: str | None


T = TypeVar("T")


def read_answer(kind: type[T], answer: Mapping[str, Any]) -> T:
    """The answer in a JSON object. Unknown fields, which a newer Nocturne may add, are ignored.

    Raises:
        StateError: a field is missing: another version of Nocturne answered.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    missing = [
        name
        for name, f in known.items()
        if name not in answer and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise StateError(
            f"the answer {dict(answer)!r:.300} has no {choices(missing)}; expected a "
            f"{kind.__name__}. Is the nocturne of NOCTURNE_PYTHON the same version?"
        )
    return kind(**{name: value for name, value in answer.items() if name in known})
