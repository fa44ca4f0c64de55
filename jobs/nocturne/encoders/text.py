"""``text``: unchanged text; null is None. With the dtype ``str``, a row with null is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nocturne.columns.normal import plain
from nocturne.columns.types import is_text
from nocturne.encoders.base import Array, Encoder, Wrong
from nocturne.encoders.spec import Feature, TensorSpec
from nocturne.encoders.wrong import null_reason

__all__ = ["Text"]


class Text(Encoder):
    kind = "category"

    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        return is_text(type_)

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return "a string"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.string()

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        if tensor.dtype == "str" and column.null_count:
            yield column.is_null(), null_reason(f"{feature.column} is null", tensor.dtype)

    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
        """[rows, features]; for ``str``, a null is an empty text (see ``refused``)."""
        columns = [plain(batch.column(f.column)) for f in tensor.features]
        filled = [c.fill_null("") if tensor.dtype == "str" else c for c in columns]
        arrays = [column.to_numpy(zero_copy_only=False) for column in filled]
        return np.stack(arrays, axis=1).astype(tensor.dtype)
