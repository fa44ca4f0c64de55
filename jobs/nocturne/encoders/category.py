"""``category``: the position in ``vocabulary``; anything else, and null, becomes ``unknown``."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.types import is_text
from nocturne.encoders.base import Array, Encoder
from nocturne.encoders.blocks import side_by_side
from nocturne.encoders.spec import Feature, TensorSpec

__all__ = ["Category"]


class Category(Encoder):
    kind = "category"
    signed = True

    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        return is_text(type_) if _of_words(feature) else bool(pa.types.is_integer(type_))

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return "a string" if _of_words(feature) else "an integer"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.string() if _of_words(feature) else pa.int64()

    def problem(self, tensor: TensorSpec) -> str:
        missing = [feature.column for feature in tensor.features if not feature.vocabulary]
        advice = "a category needs a vocabulary; log the model again with one"
        return f"column {missing[0]!r}: {advice}" if missing else ""

    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
        """[rows, features]"""
        columns = []
        for feature in tensor.features:
            column = batch.column(feature.column)
            if pa.types.is_dictionary(column.type):  # each word is looked up once, not once a row
                index = _positions(column.dictionary, feature).take(column.indices)
            else:
                index = _positions(column, feature)
            columns.append(index.fill_null(feature.unknown).to_numpy(zero_copy_only=False))
        return side_by_side(columns, batch.num_rows, tensor.dtype)


def _of_words(feature: Feature) -> bool:
    return isinstance(feature.vocabulary[0], str)


def _positions(column: pa.Array, feature: Feature) -> pa.Array:
    """Positions in the vocabulary [n]; null where there is none."""
    vocabulary = pa.array(feature.vocabulary)
    return pc.index_in(
        column.cast(vocabulary.type) if column.type != vocabulary.type else column,
        value_set=vocabulary,
    )
