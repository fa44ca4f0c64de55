"""``category``: the position in ``vocabulary``; anything else, and null, becomes ``unknown``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.dictionary import begins_with
from nocturne.columns.types import is_text
from nocturne.encoders.base import Array, Encoder
from nocturne.encoders.blocks import side_by_side
from nocturne.encoders.spec import Feature, TensorSpec

__all__ = ["Category"]

_FEW = 8
"""So many times more words in the vocabulary than to look up: Arrow, which hashes the vocabulary in
each call, would then take longer than Python's own dict, which is kept."""
_KEPT = 64
"""Features of which it is kept, from split to split."""


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
        return self.prepared(tensor)(batch)

    def prepared(self, tensor: TensorSpec) -> Callable[[pa.RecordBatch], Array]:
        positions = [_Positions(feature) for feature in tensor.features]

        def encode(batch: pa.RecordBatch) -> Array:
            columns = [found(batch.column(found.feature.column)) for found in positions]
            return side_by_side(columns, batch.num_rows, tensor.dtype)

        return encode


def _of_words(feature: Feature) -> bool:
    return isinstance(feature.vocabulary[0], str)


class _Positions:
    """The positions of a column's values in the vocabulary of its feature.

    The words of a dictionary are looked up once, not once a row: batches of a row group share it,
    or it grows from one to the next.
    """

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self._vocabulary = _vocabulary(feature)
        self._dictionary: pa.Array | None = None
        self._of_dictionary = np.empty(0, np.int64)

    def __call__(self, column: pa.Array) -> NDArray[np.integer]:
        """[rows]"""
        if not pa.types.is_dictionary(column.type):
            return self._looked_up(column)
        words, found = column.dictionary, self._of_dictionary
        if not begins_with(words, self._dictionary):
            found = found[:0]
        if len(words) > len(found):
            found = np.concatenate([found, self._looked_up(words.slice(len(found)))])
        self._dictionary, self._of_dictionary = words, found
        indices = column.indices
        if indices.null_count:
            indices = indices.cast(pa.int64()).fill_null(len(words))
            found = np.append(found, self.feature.unknown)
        return np.asarray(found[indices.to_numpy(zero_copy_only=False)])

    def _looked_up(self, values: pa.Array) -> NDArray[np.integer]:
        if _of_words(self.feature) and _FEW * len(values) < len(self._vocabulary):
            get, unknown = _by_word(self.feature).get, self.feature.unknown
            return np.array([get(value, unknown) for value in values.to_pylist()], np.int64)
        if values.type != self._vocabulary.type:
            values = values.cast(self._vocabulary.type)
        found = pc.index_in(values, value_set=self._vocabulary)
        return np.asarray(found.fill_null(self.feature.unknown).to_numpy(zero_copy_only=False))


@lru_cache(maxsize=_KEPT)
def _vocabulary(feature: Feature) -> pa.Array:
    return pa.array(feature.vocabulary)


@lru_cache(maxsize=_KEPT)
def _by_word(feature: Feature) -> dict[str | int | None, int]:
    """Word -> its first position, as ``index_in`` has it."""
    last_first = reversed([*enumerate(feature.vocabulary)])
    return {word: position for position, word in last_first}
