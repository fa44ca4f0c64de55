"""Turns the exceptions of a model into the reason of a row, or into the end of the scoring."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nocturne.engine.encode import Encoded
from nocturne.hiding import failed_import, redacted
from nocturne.records.result import RAISED

__all__ = ["Faults"]

_KINDS = 20
"""The most different reasons in a split, since reasons are counted by their text. Later ones
contain only the type of the exception."""
_REFUSED = 5
"""A model whose calls cost is given up if it raises on this many first calls."""


class Faults:
    """Decides whether a row or the model is at fault, and gives reasons that contain no values.

    Args:
        once: the model is given each row only once: a call that raises is not repeated with
            fewer rows.

    ``answered`` says whether a call has succeeded; ``raised`` is how many have raised.
    """

    def __init__(self, once: bool = False) -> None:
        self.once, self.answered, self.raised = once, False, 0
        self._kinds: set[str] = set()

    def final(self, error: Exception, rows: int) -> bool:
        """Whether all rows of a call that raised are bad. If not, they are tried separately.

        Raises:
            ImportError: the model lacks a package, so no row is at fault.
        """
        if (failed := failed_import(error)) is not None:
            raise failed
        self.raised += 1
        return rows == 1 or self.once

    def refuses(self) -> bool:
        """Whether a model whose calls cost has raised on each of its first calls."""
        return self.once and not self.answered and self.raised >= _REFUSED

    def reason(self, error: Exception, encoded: Encoded) -> str:
        """Why the rows of a call have no prediction."""
        message = redacted(error, _values(encoded))
        if message not in self._kinds and len(self._kinds) >= _KINDS:
            message = message.partition(":")[0]
        self._kinds.add(message)
        scope = "; all rows of that call, as model.calls is costly" if self.once else ""
        return f"{RAISED}{message}{scope}"


def _values(encoded: Encoded) -> dict[str, list[Any]]:
    """Column -> its values. Arrays of numbers are left out, since reasons contain no numbers."""
    values: dict[str, list[Any]] = {}
    for item in encoded:
        if isinstance(item, pa.RecordBatch):
            values |= {name: _listed(item.column(name)) for name in item.schema.names}
        elif item.dtype.kind in "OSU":
            values["value"] = [*values.get("value", ()), *item.ravel().tolist()]
    return values


def _listed(column: pa.Array) -> list[Any]:
    """The values as Python objects; if a column can't be converted, its text."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # a time beyond Python's, bytes that are no text
        return [str(column)]
