"""Rows become what the model takes; a value that would not survive is told apart from the rest."""

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
"""Values, from the first, of which none can be cast: then the cast is at fault, not they."""


def cast_rows(
    batch: pa.RecordBatch, wanted: Mapping[str, Cast], failed: dict[str, int] | None = None
) -> tuple[pa.RecordBatch, pa.Array]:
    """The batch with the columns of ``wanted`` as other types, and what was lost [rows].

    That is null, or the reason why a value of the row could not be cast (it is null then); it
    names types and no value. A column with such a value is halved until it is alone: O(bad x log
    rows) casts.

    Args:
        failed: column -> values so far, none of which could be cast; kept from batch to batch.

    Raises:
        InputError: not one of the first thousand values of a column in ``failed`` can be cast.
    """
    why = pa.nulls(batch.num_rows, pa.string())
    for name, cast in wanted.items():
        column = batch.column(name)
        said = f"column {name}: {plain_type(column.type)} that can't become {cast}"
        bad: list[int] = []
        head = column.slice(0, _HOPELESS if failed and name in failed else 0)
        pieces = _pieces(head, cast, 0, bad)
        if failed and len(head):
            _count(failed, name, len(head), len(bad), said)
        pieces += _pieces(column.slice(len(head)), cast, len(head), bad)
        done = pa.concat_arrays(pieces)
        if bad:
            lost = np.zeros(len(column), dtype=bool)
            lost[bad] = True
            why = pc.coalesce(why, pc.if_else(pa.array(lost), said, None))
        batch = batch.set_column(batch.schema.get_field_index(name), name, done)
    return batch, why


def _count(failed: dict[str, int], name: str, tried: int, bad: int, said: str) -> None:
    failed[name] += bad
    if bad < tried:
        del failed[name]
    elif failed[name] >= _HOPELESS:
        raise InputError(
            f"{said}: not one of the first {failed[name]} values. Nothing was published. Look at a "
            f"few rows, then correct the data, or what input.cast (or cast_text) says of {name}",
            column=name,
        )


def _pieces(column: pa.Array, cast: Cast, first: int, bad: list[int]) -> list[pa.Array]:
    """The column cast, in pieces; rows that can't be are null, and added to ``bad``."""
    try:
        step = column if cast.by is None else cast_column(column, cast.by)
        return [cast_column(step, cast.type, cast.zone)]
    except pa.ArrowInvalid:
        if len(column) == 1:
            bad.append(first)
            return [pa.nulls(1, cast.type)]
    middle = len(column) // 2
    left = _pieces(column.slice(0, middle), cast, first, bad)
    return left + _pieces(column.slice(middle), cast, first + middle, bad)
