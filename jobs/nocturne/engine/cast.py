"""Values become what the model takes; one that would not survive is told apart from the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoding import is_text, plain, plain_type

__all__ = ["cast_column", "cast_rows"]


def cast_column(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The column as another type. Text becomes numbers: space around it goes, empty is null.

    Only floats may lose something: their precision.

    Raises:
        pyarrow.ArrowInvalid: a value would not survive.
    """
    column = plain(column)
    if is_text(column.type) and not is_text(wanted):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    return column.cast(wanted, safe=not pa.types.is_floating(column.type))


def cast_rows(
    batch: pa.RecordBatch, wanted: Mapping[str, pa.DataType]
) -> tuple[pa.RecordBatch, pa.Array]:
    """The batch with the columns of ``wanted`` as other types, and what was lost [rows].

    That is null, or the reason why a value of the row could not be cast (it is null then). A
    column with such a value is halved until it is alone: O(bad x log rows) casts.
    """
    why = pa.nulls(batch.num_rows, pa.string())
    for name, type_ in wanted.items():
        column = batch.column(name)
        bad: list[int] = []
        done = pa.concat_arrays(_pieces(column, type_, 0, bad))
        if bad:
            lost = np.zeros(len(column), dtype=bool)
            lost[bad] = True
            said = f"column {name}: {plain_type(column.type)} that can't become {type_}"
            why = pc.coalesce(why, pc.if_else(pa.array(lost), said, None))
        batch = batch.set_column(batch.schema.get_field_index(name), name, done)
    return batch, why


def _pieces(column: pa.Array, wanted: pa.DataType, first: int, bad: list[int]) -> list[pa.Array]:
    """The column cast, in pieces; rows that can't be are null, and added to ``bad``."""
    try:
        return [cast_column(column, wanted)]
    except pa.ArrowInvalid:
        if len(column) == 1:
            bad.append(first)
            return [pa.nulls(1, wanted)]
    middle = len(column) // 2
    left = _pieces(column.slice(0, middle), wanted, first, bad)
    return left + _pieces(column.slice(middle), wanted, first + middle, bad)
