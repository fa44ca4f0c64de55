"""Text that is not UTF-8, though its column says so."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.types import is_text

__all__ = ["legible"]


def legible(batch: pa.RecordBatch, names: Iterable[str]) -> tuple[pa.RecordBatch, pa.Array | None]:
    """The batch with nulls for text that is not UTF-8, and the reasons [rows]; None if all is.

    Parquet says that text is UTF-8, and few writers and readers check it. To check takes .003 to
    .007 us a value.

    Args:
        names: the columns to look at.
    """
    reasons = None
    for name in names:
        at = batch.schema.get_field_index(name)
        if at < 0 or not _has_text(batch.schema.field(at).type):
            continue
        column = batch.column(at)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            rows = [i if _can_be_read(column, i) else None for i in range(len(column))]
            places = pa.array(rows, pa.int64())
            why = pc.if_else(places.is_null(), f"column {name} is no UTF-8 text", None)
            reasons = why if reasons is None else pc.coalesce(reasons, why)
            batch = batch.set_column(at, name, column.take(places))
    return batch, reasons


def _has_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    return is_text(type_) or any(_has_text(type_.field(i).type) for i in range(type_.num_fields))


def _can_be_read(column: pa.Array, row: int) -> bool:
    try:
        column[row].as_py()
    except UnicodeDecodeError:
        return False
    return True
