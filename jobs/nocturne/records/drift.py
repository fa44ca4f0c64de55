"""Baselines, and the drift of a night against a baseline."""

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
    "ComparedBins",
    "DriftResult",
    "FeatureDrift",
    "MetricText",
    "SegmentDrift",
    "from_flat",
]


@dataclass(frozen=True)
class ColumnBaseline:
    """A column of the training data, counted in the bins that drift compares.

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

    ``importance``: feature -> weight, in any unit; features without one get the mean of the others.
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
    """The texts that explain a number of ``FeatureDrift.metrics`` where it is shown.

    Args:
        label: its name in reports, without the unit.
        meaning: its meaning in one line.
        unit: the unit of its values; "" for plain numbers.
        kinds: the kinds of columns that it is computed for; it is 0 for the others.
        shown: whether it has a column in the tables of the report and of the page.
        monitored: whether it is logged to MLflow's monitoring run, besides each night's own run.
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
    """The drift of one column against its baseline. Rates are fractions of rows.

    ``metrics``: by name (``nocturne.drift.METRICS``); 0 if a metric is not computed for the
    column's kind. A night that was judged before a metric was added lacks it. The alarm depends on
    ``psi``.
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
        """PSI over threshold, which can be 0: for a floor of 0 and infinite samples."""
        return self.psi / self.threshold if self.threshold else float(self.psi > 0)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Pydantic calls this for its adapter, so that a record is checked when it is read."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_with_psi, handler(source))


def _with_psi(feature: FeatureDrift) -> FeatureDrift:
    """Raises: ValueError if there is no PSI, by which columns are ordered."""
    if "psi" not in feature.metrics:
        raise ValueError(f"metrics: got {choices(feature.metrics)}, expected psi too")
    return feature


@dataclass(frozen=True)
class ComparedBins:
    """A column in the bins that drift compares: shares of rows of a night and of its reference.

    ``reference``: the reference in words; ``by_weekday``: whether it is made of the partitions of
    the night's weekday only.
    """

    labels: tuple[str, ...]
    current: tuple[float, ...]
    baseline: tuple[float, ...]
    reference: str
    by_weekday: bool


_FLAT = ("psi", "js", "wasserstein", "ks", "linf")
"""The metrics that had a field of their own in version 1."""


def from_flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ``FeatureDrift`` of version 1, with their ``metrics`` by name."""
    others = {name: value for name, value in fields.items() if name not in _FLAT}
    return others | {"metrics": {name: fields[name] for name in _FLAT if name in fields}}


@dataclass(frozen=True)
class SegmentDrift:
    """The columns of a segment's rows (``origin=JFK``), worst first."""

    name: str
    rows: int
    columns: tuple[FeatureDrift, ...]


@dataclass(frozen=True)
class DriftResult:
    """All columns, worst first (by PSI over threshold); empty without a baseline.

    ``paged``: whether a person should look, since the score drifted or many features did.
    ``share``: the share of features that drifted, weighted by importance. ``reference``: describes
    the data that the night was compared with. ``baseline``: the published nights
    (partition:manifest) that the baseline was made of, if it was. ``history``: the earlier nights
    whose drift counted as ordinary. ``segments``: those with the most drifted columns come first.
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
        """Columns that drifted in a segment but not in the whole night, worst first."""
        in_whole = {c.column for c in self.alarmed}
        drifted = [
            (segment, column)
            for segment in self.segments
            for column in segment.columns
            if column.alarmed and column.column not in in_whole
        ]
        return tuple(sorted(drifted, key=lambda pair: -pair[1].excess))
