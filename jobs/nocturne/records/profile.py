"""Mergeable statistics of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nocturne.codec import Stored
from nocturne.columns.types import Kind
from nocturne.records.texts import Sketch

__all__ = ["ColumnProfile", "Profile", "mean_away", "mean_of_both", "segment_name"]


@dataclass(frozen=True)
class ColumnProfile:
    """Mergeable statistics of one column.

    ``counts`` maps a bucket id (numeric, see ``nocturne.records.buckets``) or a value (category) to
    its exact number of rows; ``other`` is the number of category rows beyond the cap on distinct
    values. ``distinct`` is about the number of distinct values, from the mergeable ``sketch``.
    ``null`` includes neither ``nan`` nor the counted rows. A ``center`` that is an integer is
    subtracted exactly, also where float64 would round. ``away``: the mean of the finite values
    less ``center``; None for a category. Earlier records have the sums of the values and of their
    squares instead (``total``, ``total_squares``), which lose the differences between large values.
    """

    kind: Kind
    rows: int
    null: int
    counts: dict[str, int]
    nan: int = 0
    other: int = 0
    center: float | int = 0.0
    total: float = 0.0
    total_squares: float = 0.0
    minimum: float | int | None = None
    maximum: float | int | None = None
    distinct: int | None = None
    sketch: Sketch = ""
    away: float | None = None

    @property
    def finite(self) -> int:
        """Rows of a numeric column with a finite value."""
        return sum(self.counts.values()) if self.kind == "numeric" else 0

    @property
    def mean(self) -> float | None:
        """The mean of the finite values, kept within their range; None if there are none."""
        if not self.finite:
            return None
        mean = self.center + (mean_away([self]) or 0.0)
        mean = mean if self.maximum is None else min(mean, self.maximum)
        return float(mean if self.minimum is None else max(mean, self.minimum))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Pydantic calls this for its adapter, so that a record is checked when it is read."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_counted, handler(source))


def _counted(column: ColumnProfile) -> ColumnProfile:
    """Raises: ValueError if a count is negative, or a bucket is not valid."""
    numeric = column.kind == "numeric"
    for bucket, rows in column.counts.items():
        if rows < 0 or (numeric and not (bucket.isdecimal() and len(bucket) <= 5)):
            raise ValueError(f"counts: got {bucket[:20]!r}: {rows}, expected buckets and rows")
    return column


def mean_away(parts: Sequence[ColumnProfile]) -> float | None:
    """``ColumnProfile.away`` of all rows of some parts, which have the same centre.

    The means are merged in the order of the parts with shares as weights, so that no large numbers
    are added.
    """
    rows, mean = 0, 0.0
    for part in parts:
        if part.finite:
            away = part.total / part.finite - part.center if part.away is None else part.away
            mean = mean_of_both(rows, mean, part.finite, away)
            rows += part.finite
    return mean if any(part.kind == "numeric" for part in parts) else None


def mean_of_both(rows: int, mean: float, more: int, other: float) -> float:
    """The mean of ``rows`` values and ``more`` others from their means; ``more`` is not 0."""
    share = more / (rows + more)
    return mean * (1 - share) + other * share


@dataclass(frozen=True)
class Profile(Stored):
    """Statistics of a partition (or split): input features and predictions by column.

    ``segments``: the profiles of the rows with one value of a category, such as ``origin=JFK``.
    """

    ON_ONE_LINE: ClassVar[bool] = True

    rows: int
    columns: dict[str, ColumnProfile]
    segments: dict[str, Profile] = field(default_factory=dict)


def segment_name(column: str, value: str) -> str:
    """The name of the segment of rows with ``value`` in ``column``."""
    return f"{column}={value}"
