"""``numeric``: null and NaN become ``fill``, then (x - center) / scale.

Without a fill (None) they stay NaN. Integers have no NaN, so such a row is not scored.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa

from nocturne.columns.loops import Floats
from nocturne.columns.normal import plain
from nocturne.columns.types import Kind, fits_integer, is_number
from nocturne.encoders.base import Array, Encoder, Wrong
from nocturne.encoders.blocks import side_by_side
from nocturne.encoders.spec import WHOLE, Feature, TensorSpec
from nocturne.encoders.wrong import beyond, far_reason, null_reason

__all__ = ["Numeric", "fits_whole"]


class Numeric(Encoder):
    kind: ClassVar[Kind | None] = "numeric"

    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        return fits_whole(tensor, type_) if tensor.dtype in WHOLE else is_number(type_)

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return f"{'an integer' if tensor.dtype in WHOLE else 'a number'} ({tensor.dtype})"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.type_for_alias(tensor.dtype if tensor.dtype in WHOLE else "float64")

    def problem(self, tensor: TensorSpec) -> str:
        for f in tensor.features:
            if f.scale == 0:
                return f"column {f.column!r}: scale 0; expected another one (1 if it is constant)"
            whole = (f.center, f.scale) == (0, 1) and (f.fill is None or float(f.fill).is_integer())
            if tensor.dtype in WHOLE and not whole:
                return (
                    f"column {f.column!r}: {tensor.dtype} has whole numbers, which are not scaled: "
                    f"center {f.center} and scale {f.scale} must be 0 and 1, fill {f.fill} a whole "
                    "number; or the tensor a float32"
                )
        return ""

    def numbers(self, column: pa.Array, feature: Feature) -> pa.Array:
        """The numbers [rows] that a feature has of its column."""
        return plain(column)

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        if feature.fill is not None:
            return
        if (far := beyond(self.numbers(column, feature), tensor.dtype)) is not None:
            yield far, far_reason(feature.column, tensor.dtype)
        if tensor.dtype in WHOLE and column.null_count:
            yield column.is_null(), null_reason(f"{feature.column} is null", tensor.dtype)

    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
        """[rows, features]"""
        value = _integer if tensor.dtype in WHOLE else _floating
        dtype = np.dtype(tensor.dtype)
        columns = [
            value(self.numbers(batch.column(f.column), f), f, dtype) for f in tensor.features
        ]
        return side_by_side(columns, batch.num_rows, tensor.dtype)


def fits_whole(tensor: TensorSpec, type_: pa.DataType) -> bool:
    """Whether a tensor of integers holds every value of the type."""
    return bool(pa.types.is_boolean(type_)) or fits_integer(type_, pa.type_for_alias(tensor.dtype))


def _integer(column: pa.Array, feature: Feature, _: np.dtype[np.generic]) -> Array:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    filled = column.fill_null(int(feature.fill or 0))  # without a fill: see ``refused``
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _floating(column: pa.Array, feature: Feature, dtype: np.dtype[np.generic]) -> Array | Floats:
    """The encoded column."""
    # Python's floats: a whole number would take the column's width, and wrap in it.
    fill = np.nan if feature.fill is None else float(feature.fill)
    center, scale = float(feature.center), float(feature.scale)
    if column.type == pa.float16():  # which would be scaled in its three digits
        column = column.cast(pa.float32())
    if column.type in (pa.float32(), pa.float64()):
        return Floats(column, fill, center, scale)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = column.to_numpy(zero_copy_only=False)
    if np.issubdtype(values.dtype, np.floating):  # integers with nulls too
        values = np.where(np.isnan(values), values.dtype.type(fill), values)
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite
        if center != 0 or scale != 1:
            values = (values - center) / scale
        return np.asarray(values.astype(dtype, copy=False))
