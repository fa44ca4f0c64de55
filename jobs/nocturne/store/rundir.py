"""The files of a run directory, by name. Driver and workers agree on them here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nocturne.records import Run, Split

__all__ = [
    "Scored",
    "approval_path",
    "judgement_path",
    "keys_path",
    "progress_path",
    "rejection_path",
    "result_path",
    "scored_path",
]


@dataclass(frozen=True)
class Scored:
    """How many results a run with a query came to."""

    mend: ClassVar[str] = "Move it away and score the run again"

    results: int


def result_path(run: Run, split: Split) -> Path:
    """The split's result, once an attempt has decided it."""
    return Path(run.run_dir) / "results" / f"{split.index:05d}-{split.key[:16]}.json"


def keys_path(attempt: Path) -> Path:
    """The hashes of an attempt's keys, where they have to be unique."""
    return attempt.with_name(f"keys-{attempt.stem}.npy")


def scored_path(run: Run) -> Path:
    """The ``Scored`` of a run with a query, once all of its results are there."""
    return Path(run.run_dir) / "scored.json"


def progress_path(run: Run, split: Split) -> Path:
    """Rows done so far, as text, while an attempt is under way."""
    return Path(run.run_dir) / "progress" / f"{split.index:05d}"


def judgement_path(run: Run) -> Path:
    """The run's judgement."""
    return Path(run.run_dir) / "judgement.json"


def approval_path(run: Run) -> Path:
    """Who let a held run pass, and when."""
    return Path(run.run_dir) / "approval.json"


def rejection_path(run: Run) -> Path:
    """Who decided that a held run is not to be published, when and why."""
    return Path(run.run_dir) / "rejection.json"
