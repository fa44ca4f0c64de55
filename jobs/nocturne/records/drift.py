"""Baselines, and a night held against one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nocturne.columns.types import Kind
from nocturne.errors import choices
from nocturne.records.profile import ColumnProfile

__all__ = [
    "Baseline",
    "ColumnBaseline",
    "DriftResult",
    "FeatureDrift",
    "MetricText",
    "SegmentDrift",
    "from_flat",
]


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
class MetricText:
    """What a number of ``FeatureDrift.metrics`` is: for those who show it.

    Args:
        label: what reports call it, without its unit.
        meaning: what it says, in a line.
        unit: of its values; "" where they are plain numbers.
        kinds: of columns; it is 0 for the others.
        shown: whether it has a column in the tables of the report and of the page.
        monitored: whether the monitoring run of MLflow has it, beside each night's own run.
    """

    label: str
    meaning: str
    unit: str = ""
    kinds: tuple[Kind, ...] = ("numeric", "category")
    shown: bool = False
    monitored: bool = False

    @property
    def heading(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class FeatureDrift:
    """One column against its baseline. Rates are fractions of rows.

    ``metrics``: by name (``nocturne.drift.METRICS``), 0 for a kind of column that a metric is not
    for. A night that was judged before a metric was there lacks it. ``psi`` is what alarms.
    """

    column: str
    kind: Kind
    is_output: bool
    metrics: dict[str, float]
    threshold: float
    alarmed: bool
    null_rate: float
    baseline_null_rate: float
    new_rate: float
    new_values: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def psi(self) -> float:
        return self.metrics["psi"]

    @property
    def excess(self) -> float:
        """PSI over threshold; a floor of 0 on equal, endless samples leaves no threshold."""
        return self.psi / self.threshold if self.threshold else float(self.psi > 0)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Called by pydantic when its adapter is made: reading one checks it whole."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_with_psi, handler(source))


def _with_psi(feature: FeatureDrift) -> FeatureDrift:
    """Raises: ValueError where there is no PSI, by which columns are ordered."""
    if "psi" not in feature.metrics:
        raise ValueError(f"metrics: got {choices(feature.metrics)}, expected psi too")
    return feature


_FLAT = ("psi", "js", "wasserstein", "ks", "linf")
"""The metrics that had a field each."""


def from_flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ``FeatureDrift`` whose metrics had a field each, with ``metrics`` by name."""
    kept = {name: value for name, value in fields.items() if name not in _FLAT}
    return kept | {"metrics": {name: fields[name] for name in _FLAT if name in fields}}


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
