"""What expectations want to know of a table, what was counted, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Expectation", "Measure", "Measured", "QualityResult", "condition_columns"]


@dataclass(frozen=True)
class Measure:
    """What an expectation wants to know of a table's rows, counted while they are scored.

    ``kind``: ``rows``; ``missing`` (null or NaN); ``column_rule`` and ``row_rule``: how many rows
    are not as ``rule`` says, with ``args``; ``moments``; ``values``, each with its number. Only
    rows for which ``condition`` holds count, and for several columns those that ``ignore`` leaves.
    """

    kind: Literal["rows", "missing", "column_rule", "row_rule", "moments", "values"]
    columns: tuple[str, ...] = ()
    rule: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    condition: dict[str, Any] | None = None
    ignore: str = ""

    def reads(self) -> set[str]:
        """The columns that it reads."""
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
    """What came out of a measure. Infinite numbers are words, times ISO text.

    ``squares`` are around the mean; ``type`` is the first column's Arrow type; ``beyond`` says
    that there are more distinct ``values`` than are told apart.
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
    """One evaluated expectation, in words."""

    suite: str
    type: str
    column: str | None
    success: bool
    observed: str
    detail: str


@dataclass(frozen=True)
class QualityResult:
    """Great Expectations' answers; ``data_docs``: the HTML index below the run directory."""

    expectations: tuple[Expectation, ...] = ()
    data_docs: str | None = None

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return tuple(e for e in self.expectations if not e.success)
