"""What a night's scores are expected to be worth, before its labels come (CBPE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nocturne.config.labels import Labels
from nocturne.errors import NocturneError
from nocturne.records.truth import Truth
from nocturne.report.summary import intervals
from nocturne.store.run import Run
from nocturne.truth import estimate

__all__ = ["Trust", "estimate_of", "trust"]

_NIGHTS, _MOST = 14, 0.05
"""Estimates are believed up to this calibration error over the last so many nights with labels."""


def estimate_of(labels: Labels, run: Run, output: str) -> dict[str, float]:
    """The expected figures of a night, if its scores are the probabilities that they claim to be.

    They are counted from the buckets of the night's profile, of which each score counts as the
    middle. Empty for numbers, for scores that are not probabilities, and without a profile.
    """
    if labels.kind in ("numbers", "multiclass"):
        return {}
    try:
        column = run.profile.columns.get(output)
    except (NocturneError, OSError):
        return {}
    if column is None or column.kind != "numeric" or not column.finite:
        return {}
    if column.minimum is None or column.maximum is None:
        return {}
    if float(column.minimum) < 0 or float(column.maximum) > 1:
        return {}
    low, high, rows = intervals(column)
    return estimate((low + high) / 2, rows, threshold=labels.threshold)


@dataclass(frozen=True)
class Trust:
    """Whether estimates of a model version are to be believed: None if no labels came yet."""

    believed: bool | None
    why: str


def trust(truths: Sequence[Truth], version: int) -> Trust:
    """What the last labels say of the calibration of a version's scores.

    Args:
        truths: the oldest first.
    """
    errors = [
        (figures["rows"], figures["calibration_error"])
        for truth in truths
        if (part := truth.parts.get(f"version {version}")) is not None
        and "calibration_error" in (figures := part.figures)
    ][-_NIGHTS:]
    if not errors:
        return Trust(None, f"no labels of version {version} came yet, so it is not checked")
    rows = sum(count for count, _ in errors)
    error = sum(count * value for count, value in errors) / rows
    nights = f"{len(errors)} night" + ("s" if len(errors) > 1 else "")
    if error > _MOST:
        why = f"its calibration error was {error:.3f} over the last {nights}, more than {_MOST:g}"
        return Trust(False, why)
    return Trust(True, f"its calibration error was {error:.3f} over the last {nights}")
