"""Rows that a model has no value for: a null where it takes whole numbers, a list too short.

They reach the model with a zero, since it takes all rows of a batch at once, and are not scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import plain
from nocturne.model.encoding import WHOLE, Encoding, Feature, TensorSpec

__all__ = ["ARRAY_OF", "WHOLE_NUMBERS", "lacking_lists", "refused"]

WHOLE_NUMBERS = ("long", "integer", "boolean")
"""Types of a signature that know no null, in pandas as in MLflow."""
_EXACT = 2**53
"""Integers up to it are float64 without a loss."""
_LARGEST = float(np.finfo(np.float32).max)
ARRAY_OF = "array of "
"""How a signature's type of lists begins."""


def refused(batch: pa.RecordBatch, encoding: Encoding) -> pa.Array | None:
    """Why the model can't take a row [rows], null where it can; None if it can take them all."""
    why: Any = None
    for tensor, feature in encoding.features():
        if batch.schema.get_field_index(feature.column) < 0:  # an optional one
            continue
        for bad, reason in _wrong(batch.column(feature.column), tensor, feature):
            said = pc.if_else(bad, reason, pa.scalar(None, pa.string()))
            why = said if why is None else pc.coalesce(why, said)
    return why


def lacking_lists(column: pa.Array, feature: Feature) -> pa.Array | None:
    """The rows whose list a frame's column of arrays can't have [rows]; None if there is none:
    no list where the signature asks for one, or in it a null among whole numbers.
    """
    found = [bad for bad, _ in _wrong_lists(column, feature)]
    return None if not found else found[0] if len(found) == 1 else pc.or_(*found)


def _wrong_lists(column: pa.Array, feature: Feature) -> Iterator[tuple[pa.Array, str]]:
    kind = feature.type.removeprefix(ARRAY_OF)
    if feature.required and column.null_count:
        yield column.is_null(), _null(f"{feature.column} is null", feature.type)
    if kind in WHOLE_NUMBERS and pc.list_flatten(column).null_count:
        yield _with_null(column), _null(f"{feature.column} has a null in its list", kind)


def _wrong(
    column: pa.Array, tensor: TensorSpec, feature: Feature
) -> Iterator[tuple[pa.Array, str]]:
    """What is wrong with a feature: the rows [rows], and the reason, which names no value."""
    if tensor.encoder == "list" and feature.pad is None:
        column = plain(column)
        other = pc.not_equal(pc.list_value_length(column), feature.length).fill_null(True)
        if pc.any(other).as_py():
            yield (
                other,
                f"column {feature.column} is no list of {feature.length} values, which the model "
                "takes there",
            )
        if tensor.dtype in WHOLE and pc.list_flatten(column).null_count:
            said = f"{feature.column} has a null in its list"
            yield _with_null(column), _null(said, tensor.dtype)
        if (far := _beyond(pc.list_flatten(column), tensor.dtype)) is not None:
            yield _with(column, far), _far(feature.column, tensor.dtype)
        return
    if tensor.encoder == "frame" and feature.type.startswith(ARRAY_OF):
        yield from _wrong_lists(plain(column), feature)
        return
    plainly = tensor.encoder == "numeric" and feature.fill is None
    if plainly and (far := _beyond(plain(column), tensor.dtype)) is not None:
        yield far, _far(feature.column, tensor.dtype)
    number = plainly and tensor.dtype in WHOLE
    word = tensor.encoder == "text" and tensor.dtype == "str"
    framed = tensor.encoder == "frame" and feature.required and feature.type in WHOLE_NUMBERS
    if (number or word or framed) and column.null_count:
        type_ = feature.type if framed else tensor.dtype
        yield column.is_null(), _null(f"{feature.column} is null", type_)


def _null(column: str, type_: str) -> str:
    known = {"bool": "true or false", "boolean": "true or false", "str": "text"}
    taken = "lists" if type_.startswith(ARRAY_OF) else known.get(type_, "whole numbers")
    return f"column {column}, and the model takes {taken} there (its signature says {type_})"


def _with_null(column: pa.Array) -> pa.Array:
    """Whether a list has a null in it [rows]."""
    return _with(column, pc.list_flatten(column).is_null())


def _with(column: pa.Array, which: pa.Array) -> pa.Array:
    """Whether a list has one of these in it [rows]; ``which``: of all lists' values."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    found = np.zeros(len(column), dtype=bool)
    found[np.repeat(np.arange(len(column)), lengths)[which.to_numpy(zero_copy_only=False)]] = True
    return pa.array(found)


def _beyond(values: pa.Array, dtype: str) -> pa.Array | None:
    """Which values a tensor of floats can't hold [n]; None if no one is: integers that are no
    float64, floats that would be infinite. That digits of float32 are fewer is no loss here.
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


def _far(column: str, dtype: str) -> str:
    return f"column {column} has a value that {dtype} can't hold, which the model takes there"
