"""``list``: one feature with ``length`` items for each row. Longer lists are cut, shorter lists and
null items are filled with ``pad``. Without a pad (None), a row with another length is not scored.

``mask``: one feature, also a list: 1 for an item of ``list``, 0 for padding (an attention mask).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.normal import is_list, plain, plain_type
from nocturne.columns.types import is_number
from nocturne.encoders.base import Array, Encoder, Wrong
from nocturne.encoders.numeric import fits_whole
from nocturne.encoders.spec import WHOLE, Feature, TensorSpec
from nocturne.encoders.wrong import beyond, far_reason, null_reason, with_any, with_null

__all__ = ["List", "Mask"]


class _OfLists(Encoder):
    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        if not is_list(type_):
            return False
        item = plain_type(type_.value_type)
        return bool(pa.types.is_null(item)) or self._accepts_items(tensor, item)

    def _accepts_items(self, tensor: TensorSpec, item: pa.DataType) -> bool:
        return is_number(item)

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return "a list of numbers"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.list_(pa.float64())

    def profiled(self, feature: Feature) -> None:
        return None

    def problem(self, tensor: TensorSpec) -> str:
        if len(tensor.features) != 1 or tensor.features[0].length < 1:
            return f"a {tensor.encoder} tensor takes one feature with a length of at least 1"
        return ""


class List(_OfLists):
    def _accepts_items(self, tensor: TensorSpec, item: pa.DataType) -> bool:
        return fits_whole(tensor, item) if tensor.dtype in WHOLE else is_number(item)

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        integers = tensor.dtype in WHOLE
        return f"a list of integers ({tensor.dtype})" if integers else "a list of numbers"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.list_(pa.type_for_alias(tensor.dtype if tensor.dtype in WHOLE else "float64"))

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        if feature.pad is not None:
            return
        column = plain(column)
        wrong_length = pc.not_equal(pc.list_value_length(column), feature.length).fill_null(True)
        if pc.any(wrong_length).as_py():
            yield (
                wrong_length,
                f"column {feature.column} is no list of {feature.length} values, which the model "
                "takes there",
            )
        values = pc.list_flatten(column)
        if tensor.dtype in WHOLE and values.null_count:
            problem = f"{feature.column} has a null in its list"
            yield with_null(column), null_reason(problem, tensor.dtype)
        if (far := beyond(values, tensor.dtype)) is not None:
            yield with_any(column, far), far_reason(feature.column, tensor.dtype)

    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
        """[rows, length]"""
        feature: Feature = tensor.features[0]
        missing = 0.0 if tensor.dtype in WHOLE else np.nan  # see ``refused``
        pad = missing if feature.pad is None else feature.pad
        column = plain(batch.column(feature.column))
        count, length = batch.num_rows, feature.length
        flat = pc.list_flatten(column).cast(pa.from_numpy_dtype(np.dtype(tensor.dtype)), safe=False)
        if flat.null_count:
            flat = flat.fill_null(pa.scalar(pad).cast(flat.type, safe=False))
        values = flat.to_numpy(zero_copy_only=False)
        lengths = _lengths(column)
        if len(values) == count * length and bool((lengths == length).all()):
            return np.asarray(values.reshape(count, length))  # nothing to cut or pad: no copy
        taken = np.minimum(lengths, length)
        starts = np.cumsum(lengths) - lengths
        row = np.repeat(np.arange(count), taken)
        item = np.arange(len(row)) - np.repeat(np.cumsum(taken) - taken, taken)
        out = np.full((count, length), pad, dtype=tensor.dtype)
        out[row, item] = values[starts[row] + item]
        return out


class Mask(_OfLists):
    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
        """[rows, length]"""
        feature = tensor.features[0]
        lengths = _lengths(plain(batch.column(feature.column)))
        return (np.arange(feature.length) < lengths[:, None]).astype(tensor.dtype)


def _lengths(column: pa.Array) -> NDArray[np.int64]:
    """Items of each list [rows]; 0 for null."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(lengths.astype(np.int64))
