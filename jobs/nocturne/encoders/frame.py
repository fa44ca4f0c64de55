"""``frame``: the columns cast to ``type``, as a frame for a pyfunc model.

If the tensor has no name (""), the columns are passed by position.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.cast import cast_column
from nocturne.columns.normal import is_list, plain, plain_type
from nocturne.columns.types import fits_integer, is_number, is_text, zone_of
from nocturne.encoders.base import Encoder, Wrong
from nocturne.encoders.spec import ARRAY_OF, FRAME_TYPES, WHOLE_NUMBERS, Feature, TensorSpec
from nocturne.encoders.wrong import null_reason, with_null
from nocturne.errors import InputError
from nocturne.hiding import redacted

__all__ = ["Frame"]


class Frame(Encoder):
    optional = True

    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        return _fits(type_, FRAME_TYPES[feature.type])

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return feature.type

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return FRAME_TYPES[feature.type]

    def input_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return FRAME_TYPES[feature.type]

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        if feature.type.startswith(ARRAY_OF):
            yield from _wrong_lists(plain(column), feature)
        elif feature.required and feature.type in WHOLE_NUMBERS and column.null_count:
            yield column.is_null(), null_reason(f"{feature.column} is null", feature.type)

    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> pa.RecordBatch:
        """The columns of the batch, cast to the types in the model's signature.

        A null that the model can't take becomes zero, or the list of another row. Such a row is
        ``refused``.
        """
        arrays, names = [], []
        for feature in tensor.features:
            if batch.schema.get_field_index(feature.column) < 0:
                continue
            arrays.append(_framed(plain(batch.column(feature.column)), feature))
            names.append(feature.column)
        return pa.RecordBatch.from_arrays(arrays, names=names)


def _fits(actual: Any, target: Any) -> bool:
    if is_list(target):
        return is_list(actual) and _fits(plain_type(actual.value_type), target.value_type)
    if pa.types.is_floating(target):
        return is_number(actual)
    if pa.types.is_integer(target):
        return fits_integer(actual, target)
    if pa.types.is_string(target):
        return is_text(actual)
    if pa.types.is_binary(target):
        return bool(
            pa.types.is_large_binary(actual)
            or pa.types.is_binary(actual)
            or pa.types.is_fixed_size_binary(actual)
        )
    if pa.types.is_timestamp(target):
        return bool(pa.types.is_timestamp(actual) or pa.types.is_date(actual)) and not zone_of(
            actual
        )
    return bool(actual == target)


def _wrong_lists(column: pa.Array, feature: Feature) -> Wrong:
    """Rows without a list that the signature requires, or with a null among whole numbers."""
    kind = feature.type.removeprefix(ARRAY_OF)
    if feature.required and column.null_count:
        yield column.is_null(), null_reason(f"{feature.column} is null", feature.type)
    if kind in WHOLE_NUMBERS and pc.list_flatten(column).null_count:
        yield with_null(column), null_reason(f"{feature.column} has a null in its list", kind)


def _framed(column: pa.Array, feature: Feature) -> pa.Array:
    column = _cast(column, feature)
    if feature.required and feature.type in WHOLE_NUMBERS and column.null_count:
        return column.fill_null(pa.scalar(0).cast(column.type))
    if feature.type.startswith(ARRAY_OF) and (
        bad := [rows for rows, _ in _wrong_lists(column, feature)]
    ):
        return _with_another(column, reduce(pc.or_, bad))
    return column


def _with_another(column: pa.Array, bad: pa.Array) -> pa.Array:
    """The column; bad rows get the value of the first row that is not bad, if there is one."""
    bad = bad.to_numpy(zero_copy_only=False)
    return column.take(pa.array(np.where(bad, np.argmin(bad), np.arange(len(bad)))))


def _cast(column: pa.Array, feature: Feature) -> pa.Array:
    target = FRAME_TYPES[feature.type]
    try:
        return column if column.type == target else cast_column(column, target)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {feature.column!r} is {column.type}, the model wants {target}, and a value "
            f"would not survive: {redacted(error)}. Log the model with a signature of that type, "
            "or correct the data",
            column=feature.column,
        ) from None
