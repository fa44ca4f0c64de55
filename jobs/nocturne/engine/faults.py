"""What a model's exceptions come to: a reason for a row, or the end of the scoring."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nocturne.engine.encode import Encoded
from nocturne.hiding import lacking, said_by
from nocturne.records.result import RAISED

__all__ = ["Faults"]

_KINDS = 20
"""Different reasons of a split: they are counted by their text. What comes after is told by the
exception's type alone."""
_REFUSED = 5
"""Calls, from the first, that a model whose calls cost may raise on."""


class Faults:
    """Tells a row's fault from the model's, and says what the row's is without its values.

    Args:
        once: the model is given each row once, so that a call that raises is not made again with
            less of them.

    ``answered``: a call has not raised. ``raised``: how many have.
    """

    def __init__(self, once: bool = False) -> None:
        self.once, self.answered, self.raised = once, False, 0
        self._kinds: set[str] = set()

    def final(self, error: Exception, rows: int) -> bool:
        """Whether the rows of a call that raised are bad, all of them: else they are tried apart.

        Raises:
            ImportError: the model lacks a package: no row is at fault.
        """
        if (failed := lacking(error)) is not None:
            raise failed
        self.raised += 1
        return rows == 1 or self.once

    def refuses(self) -> bool:
        """Whether a model whose calls cost has raised on the first few, and so may on each."""
        return self.once and not self.answered and self.raised >= _REFUSED

    def reason(self, error: Exception, given: Encoded) -> str:
        """Why the rows that the model was given have no prediction."""
        said = said_by(error, _values(given))
        if said not in self._kinds and len(self._kinds) >= _KINDS:
            said = said.partition(":")[0]
        self._kinds.add(said)
        whole = "; all rows of that call, as model.calls is costly" if self.once else ""
        return f"{RAISED}{said}{whole}"


def _values(given: Encoded) -> dict[str, list[Any]]:
    """Column -> its values; numbers of arrays are not needed, since no number is said."""
    found: dict[str, list[Any]] = {}
    for item in given:
        if isinstance(item, pa.RecordBatch):
            found |= {name: _listed(item.column(name)) for name in item.schema.names}
        elif item.dtype.kind in "OSU":
            found["value"] = [*found.get("value", ()), *item.ravel().tolist()]
    return found


def _listed(column: pa.Array) -> list[Any]:
    """Values as Python's; of a column that can't be such, its text."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # a time beyond Python's, bytes that are no text
        return [str(column)]
