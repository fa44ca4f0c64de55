"""Finds rows that a model can't take: a null for a whole number, a list that is too short, a value
that its tensor can't hold. The reasons contain no values.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoders.spec import ARRAY_OF

__all__ = ["beyond", "far_reason", "null_reason", "with_any", "with_null"]

_EXACT = 2**53
"""Float64 holds integers up to this without a loss."""
_LARGEST = float(np.finfo(np.float32).max)


def null_reason(column: str, type_: str) -> str:
    """The reason where a null is no value of ``type_``."""
    names = {"bool": "true or false", "boolean": "true or false", "str": "text"}
    taken = "lists" if type_.startswith(ARRAY_OF) else names.get(type_, "whole numbers")
    return f"column {column}, and the model takes {taken} there (its signature says {type_})"


def far_reason(column: str, dtype: str) -> str:
    """The reason where a value is ``beyond`` what a tensor holds."""
    return f"column {column} has a value that {dtype} can't hold, which the model takes there"


def beyond(values: pa.Array, dtype: str) -> pa.Array | None:
    """A mask [n] of the values that a tensor of floats can't hold; None if there is none. These are
    integers that float64 can't hold exactly, and floats that would be infinite. The fewer digits
    of float32 do not count as a loss.
    """
    type_ = values.type
    if dtype == "float64" and type_ in (pa.int64(), pa.uint64()):
        most = pa.scalar(_EXACT, type_)
    elif dtype == "float32" and type_ == pa.float64():
        most = pa.scalar(_LARGEST, type_)
        values = pc.if_else(pc.is_finite(values), values, None)
    else:
        return None
    far = pc.greater(values, most)
    if type_ != pa.uint64():
        far = pc.or_(far, pc.less(values, pc.negate(most)))
    return pc.fill_null(far, False) if pc.any(far).as_py() else None


def with_null(column: pa.Array) -> pa.Array:
    """Whether a list has a null in it [rows]."""
    return with_any(column, pc.list_flatten(column).is_null())


def with_any(column: pa.Array, mask: pa.Array) -> pa.Array:
    """Whether a list has a value in ``mask`` [rows]; the mask covers the items of all lists."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    rows = np.zeros(len(column), dtype=bool)
    rows[np.repeat(np.arange(len(column)), lengths)[mask.to_numpy(zero_copy_only=False)]] = True
    return pa.array(rows)
