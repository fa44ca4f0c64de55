"""A column, and every expectation, over nights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nocturne.objects.together import together
from nocturne.operate.judged import JudgedNight, night_profile
from nocturne.records.drift import FeatureDrift
from nocturne.records.profile import ColumnProfile
from nocturne.records.quality import Expectation
from nocturne.report.summary import column_summary

__all__ = [
    "ColumnNight",
    "ExpectationLine",
    "column_over_nights",
    "expectations_over_nights",
    "null_rate",
]


@dataclass(frozen=True)
class ColumnNight:
    """A column in one night.

    ``summary``: p05, p25, p50, p75, p95 and mean of a numeric column; empty if its values must not
    be shown, or it has none. ``drift``: None if it was not compared.
    """

    night: JudgedNight
    drift: FeatureDrift | None
    null_rate: float | None
    summary: dict[str, float] = field(default_factory=dict)


def column_over_nights(
    nights: Sequence[JudgedNight], column: str, *, hidden: bool = False
) -> list[ColumnNight]:
    """A column in each of the nights that have it.

    Args:
        hidden: its values must not be shown, only its drift and its nulls.
    """
    found = []
    for night, profile in zip(nights, together(night_profile, nights), strict=True):
        drift = next((f for f in night.judgement.drift.columns if f.column == column), None)
        there = profile.columns.get(column) if profile is not None else None
        if drift is None and there is None:
            continue
        summary = {}
        if there is not None and not hidden:
            summary = column_summary(there)
        rate = null_rate(there) if there is not None else drift.null_rate if drift else None
        found.append(ColumnNight(night, drift, rate, summary))
    return found


def null_rate(column: ColumnProfile) -> float | None:
    """The share of rows that are null or NaN; None without rows."""
    return (column.null + column.nan) / column.rows if column.rows else None


@dataclass(frozen=True)
class ExpectationLine:
    """One expectation of the suites over nights: ``results`` has None where it was not checked."""

    suite: str
    type: str
    column: str | None
    results: tuple[Expectation | None, ...]

    @property
    def failures(self) -> int:
        return sum(1 for result in self.results if result is not None and not result.success)

    @property
    def last(self) -> Expectation:
        """Its last result."""
        return next(result for result in reversed(self.results) if result is not None)


def expectations_over_nights(nights: Sequence[JudgedNight]) -> list[ExpectationLine]:
    """Every expectation, those that failed last or most often first.

    Expectations of one type on one column of a suite are told apart by their order.
    """
    by_key: dict[tuple[str, str, str | None, int], list[Expectation | None]] = {}
    for place, night in enumerate(nights):
        seen = Counter[tuple[str, str, str | None]]()
        for expectation in night.judgement.quality.expectations:
            of = (expectation.suite, expectation.type, expectation.column)
            line = by_key.setdefault((*of, seen[of]), [None] * len(nights))
            line[place] = expectation
            seen[of] += 1
    lines = [ExpectationLine(*key[:3], tuple(results)) for key, results in by_key.items()]
    return sorted(lines, key=lambda line: (line.last.success, -line.failures))
