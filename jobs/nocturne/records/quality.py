"""The measures that expectations need, the measured values, and the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Expectation", "Measure", "Measured", "QualityResult", "condition_columns"]

_SHOWN = 3
"""The most failed expectations that are named in words."""


@dataclass(frozen=True)
class Measure:
    """A measure that an expectation needs, counted while the rows are scored.

    ``kind``: ``rows``; ``missing`` (null or NaN); ``column_rule`` and ``row_rule``: the rows that
    violate ``rule`` with ``args``; ``moments``; ``values``, each with its number of rows. Only rows
    for which ``condition`` holds are counted, without those that ``ignore`` excludes.
    """

    kind: Literal["rows", "missing", "column_rule", "row_rule", "moments", "values"]
    columns: tuple[str, ...] = ()
    rule: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    condition: dict[str, Any] | None = None
    ignore: str = ""

    def reads(self) -> set[str]:
        """The columns that the measure reads."""
        return {*self.columns, *condition_columns(self.condition)}

    @property
    def key(self) -> str:
        """Equal for measures that count the same."""
        return json.dumps(vars(self), sort_keys=True, default=str)


def condition_columns(condition: Any) -> Iterator[str]:
    """The columns that a row condition reads."""
    if isinstance(condition, Mapping):
        if "column" in condition:
            yield condition["column"]["name"]
        for part in condition.get("conditions") or ():
            yield from condition_columns(part)


@dataclass(frozen=True)
class Measured:
    """The measured values of a measure. Infinite numbers are text, and times are ISO text.

    ``squares``: the sum of squared distances from the mean. ``type``: the first column's Arrow
    type. ``beyond``: whether there are more distinct ``values`` than are counted separately.
    """

    rows: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: tuple[Any, ...] = ()
    total: int | float | str | None = None
    squares: float | str | None = None
    minimum: Any = None
    maximum: Any = None
    values: tuple[tuple[Any, int], ...] = ()
    beyond: bool = False
    type: str = ""


@dataclass(frozen=True)
class Expectation:
    """One evaluated expectation, in words.

    ``value``: what can be followed over nights: the observed number, else the share of values that
    are unexpected; None if there is neither, or it is hidden. ``notes``: those of the suite.
    """

    suite: str
    type: str
    column: str | None
    success: bool
    observed: str
    detail: str
    value: float | None = None
    notes: str = ""


@dataclass(frozen=True)
class QualityResult:
    """The results of Great Expectations.

    ``data_docs``: the index page, relative to the run directory.
    """

    expectations: tuple[Expectation, ...] = ()
    data_docs: str | None = None

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return tuple(e for e in self.expectations if not e.success)

    @property
    def in_words(self) -> str:
        """How many failed, and the first of them with what was observed; "" if none did."""
        failed = self.failed
        if not failed:
            return ""
        shown = "; ".join(
            f"{e.type}{f' on {e.column}' if e.column else ''} ({e.suite}): {e.observed}"
            for e in failed[:_SHOWN]
        )
        more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
        return f"{len(failed)} of {len(self.expectations)} expectations failed: {shown}{more}"
