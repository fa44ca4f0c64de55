"""Casts rows to the types that the model takes; a value that can't be cast gets a reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.cast import cast_column
from nocturne.columns.normal import plain_type
from nocturne.errors import InputError
from nocturne.fitting.roles import Cast

__all__ = ["cast_rows"]

_HOPELESS = 1000
"""If none of this many first values can be cast, the cast is wrong and not the values."""


def cast_rows(
    batch: pa.RecordBatch, casts: Mapping[str, Cast], failed: dict[str, int] | None = None
) -> tuple[pa.RecordBatch, pa.Array]:
    """The batch with the columns of ``casts`` as other types, and the reasons [rows].

    A reason is null if all values of the row could be cast. Otherwise it says why one could not;
    it names types and no value, and the value becomes null. A column with such a value is halved
    until the value is alone: O(bad x log rows) casts.

    Args:
        failed: column -> number of values so far if none could be cast; kept between batches.

    Raises:
        InputError: none of the first thousand values of a column in ``failed`` can be cast.
    """
    reasons = pa.nulls(batch.num_rows, pa.string())
    for name, cast in casts.items():
        column = batch.column(name)
        reason = f"column {name}: {plain_type(column.type)} that can't become {cast}"
        bad: list[int] = []
        head = column.slice(0, _HOPELESS if failed and name in failed else 0)
        pieces = _pieces(head, cast, 0, bad)
        if failed and len(head):
            _count(failed, name, len(head), len(bad), reason)
        pieces += _pieces(column.slice(len(head)), cast, len(head), bad)
        converted = pa.concat_arrays(pieces)
        if bad:
            lost = np.zeros(len(column), dtype=bool)
            lost[bad] = True
            reasons = pc.coalesce(reasons, pc.if_else(pa.array(lost), reason, None))
        batch = batch.set_column(batch.schema.get_field_index(name), name, converted)
    return batch, reasons


def _count(failed: dict[str, int], name: str, tried: int, bad: int, reason: str) -> None:
    failed[name] += bad
    if bad < tried:
        del failed[name]
    elif failed[name] >= _HOPELESS:
        raise InputError(
            f"{reason}: not one of the first {failed[name]} values. Nothing was published. Look at "
            f"a few rows, then correct the data, or what input.cast (or cast_text) says of {name}",
            column=name,
        )


def _pieces(column: pa.Array, cast: Cast, first: int, bad: list[int]) -> list[pa.Array]:
    """The column cast, in pieces; rows that can't be cast are null and are added to ``bad``."""
    try:
        step = column if cast.by is None else cast_column(column, cast.by)
        return [cast_column(step, cast.type, cast.zone)]
    except pa.ArrowInvalid:
        if len(column) == 1:
            bad.append(first)
            return [pa.nulls(1, cast.type)]
    middle = len(column) // 2
    first_half = _pieces(column.slice(0, middle), cast, first, bad)
    return first_half + _pieces(column.slice(middle), cast, first + middle, bad)
