"""A column, and every expectation, over nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Every expectation, those that failed last or most often first."""
    by_key: dict[tuple[str, str, str | None], dict[int, list[Expectation]]] = {}
    for place, night in enumerate(nights):
        for e in night.judgement.quality.expectations:
            by_key.setdefault((e.suite, e.type, e.column), {}).setdefault(place, []).append(e)
    lines = [
        ExpectationLine(*key, tuple(results.get(place) for place in range(len(nights))))
        for key, found in by_key.items()
        for results in _told_apart(found)
    ]
    return sorted(lines, key=lambda line: (line.last.success, -line.failures))


def _told_apart(found: Mapping[int, Sequence[Expectation]]) -> list[dict[int, Expectation]]:
    """The results of each expectation by night, of those of one type on one column of a suite.

    They are told apart by ``detail``: the arguments in words. Those with new arguments continue, in
    order, those that are gone since the night before, if there are as many.
    """
    lines, before = list[dict[int, Expectation]](), list[dict[int, Expectation]]()
    for place, expectations in found.items():
        new = []
        for expectation in expectations:
            for line in lines:
                if place not in line and next(reversed(line.values())).detail == expectation.detail:
                    line[place] = expectation
                    break
            else:
                new.append(expectation)
        gone = [line for line in before if place not in line]
        if len(gone) != len(new):
            gone = [{} for _ in new]
            lines += gone
        for line, expectation in zip(gone, new, strict=True):
            line[place] = expectation
        before = [line for line in lines if place in line]
    return lines
