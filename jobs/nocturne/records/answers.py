"""What commands answer with ``--json``: Airflow's side of Nocturne, and other programs, read it."""

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
    "read_answer",
]

Action = Literal["score", "nothing", "skip", "dry_run"]


@dataclass(frozen=True)
class PrepareAnswer:
    """``nocturne prepare``. ``run_dir``: where there is something to score."""

    action: Action
    run_dir: str | None = None
    message: str = ""


@dataclass(frozen=True)
class JudgeAnswer:
    """``nocturne judge``. ``drift_paged``: whether a person should look at the drift."""

    verdict: str
    reasons: list[str]
    report: str
    run_dir: str
    rows_in: int
    quarantined: int
    drift_paged: bool
    seconds: dict[str, float]
    mlflow: str | None = None


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
class ScoresAnswer:
    """Scores that have come into force, by whatever command. ``manifest``: the file."""

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
    """``nocturne publish``. ``output``: where the scores lie."""

    output: str


@dataclass(frozen=True)
class PartitionAnswer:
    """One partition of ``nocturne status``."""

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


def read_answer(kind: type[T], found: Mapping[str, Any]) -> T:
    """The answer in a JSON object; fields that a newer Nocturne adds are left out.

    Raises:
        StateError: a field is missing: another version of Nocturne answered.
    """
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    missing = [
        name
        for name, one in known.items()
        if name not in found and one.default is MISSING and one.default_factory is MISSING
    ]
    if missing:
        raise StateError(
            f"the answer {dict(found)!r:.300} has no {choices(missing)}; expected a "
            f"{kind.__name__}. Is the nocturne of NOCTURNE_PYTHON the same version?"
        )
    return kind(**{name: value for name, value in found.items() if name in known})
