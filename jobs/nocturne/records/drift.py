"""Baselines, and a night held against one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from nocturne.records.profile import ColumnProfile, Kind

__all__ = ["Baseline", "ColumnBaseline", "DriftResult", "FeatureDrift", "SegmentDrift"]


@dataclass(frozen=True)
class ColumnBaseline:
    """How a column looked in training, in the bins that drift compares.

    ``edges``: for numeric columns the sorted bucket ranks at which a new bin starts;
    ``values``: for categories the values with a bin of their own. Every count vector has
    one entry a bin, then one for "other" (categories outside ``values``, zero for numbers),
    then one for nulls (and NaN). ``partitions`` holds one such vector a training partition.
    """

    kind: Kind
    center: float | int
    edges: tuple[int, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    partitions: dict[str, tuple[int, ...]]
    known: tuple[str, ...] = ()
    profile: ColumnProfile | None = None


@dataclass(frozen=True)
class Baseline:
    """The profile of the training data, logged with the model as ``baseline.json``.

    ``importance``: of the features, in any unit; those without one weigh as the mean of the rest.
    ``segments``: segment (``origin=JFK``) -> its columns.
    """

    ON_ONE_LINE: ClassVar[bool] = True

    version: int
    columns: dict[str, ColumnBaseline]
    outputs: tuple[str, ...] = ()
    importance: dict[str, float] = field(default_factory=dict)
    segments: dict[str, dict[str, ColumnBaseline]] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureDrift:
    """One column against its baseline. Rates are fractions of rows; ``js`` is a distance.

    ``wasserstein`` is in standard deviations of the baseline; 0 if that has none (a constant), and
    for a category, as is ``ks``, which needs an order.
    """

    column: str
    kind: Kind
    is_output: bool
    psi: float
    js: float
    threshold: float
    alarmed: bool
    null_rate: float
    baseline_null_rate: float
    new_rate: float
    new_values: tuple[str, ...]
    counts: tuple[int, ...]
    wasserstein: float = 0.0
    ks: float = 0.0
    linf: float = 0.0

    @property
    def excess(self) -> float:
        """PSI over threshold; a floor of 0 on equal, endless samples leaves no threshold."""
        return self.psi / self.threshold if self.threshold else float(self.psi > 0)


@dataclass(frozen=True)
class SegmentDrift:
    """The columns of a segment's rows (``origin=JFK``), worst first."""

    name: str
    rows: int
    columns: tuple[FeatureDrift, ...]


@dataclass(frozen=True)
class DriftResult:
    """All columns, worst first (by PSI over threshold); empty without a baseline.

    ``paged``: the score drifted, or so many features that a person should look. ``share``: of
    the features that drifted, weighted by importance. ``reference`` says in words what the night
    was compared with, ``baseline`` the nights (partition:manifest) if it was made of published
    ones, ``history`` which earlier nights counted as ordinary.
    ``segments`` are those with the most drifted columns first.
    """

    columns: tuple[FeatureDrift, ...] = ()
    note: str = ""
    paged: bool = False
    share: float = 0.0
    reference: str = ""
    history: tuple[str, ...] = ()
    segments: tuple[SegmentDrift, ...] = ()
    baseline: tuple[str, ...] = ()

    @property
    def alarmed(self) -> tuple[FeatureDrift, ...]:
        return tuple(c for c in self.columns if c.alarmed)

    @property
    def only_in_segments(self) -> tuple[tuple[SegmentDrift, FeatureDrift], ...]:
        """Columns that drifted in a segment and not in the whole, worst first."""
        known = {c.column for c in self.alarmed}
        found = [
            (segment, column)
            for segment in self.segments
            for column in segment.columns
            if column.alarmed and column.column not in known
        ]
        return tuple(sorted(found, key=lambda pair: -pair[1].excess))
