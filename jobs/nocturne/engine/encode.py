"""Batches become the model's arguments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from nocturne import encoders
from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding

__all__ = ["Encode", "Encoded", "EncodedOnce", "encode", "encoder", "rows"]

Encoded = list[encoders.Encoded]
Encode = Callable[[pa.RecordBatch], Encoded]


def encode(batch: pa.RecordBatch, encoding: Encoding) -> Encoded:
    """The model's arguments for a batch, in order: arrays [rows, ...], or one frame.

    An array may share its memory with the batch, and several models may be given it: it is read,
    never written.
    """
    return encoder(encoding)(batch)


def encoder(encoding: Encoding) -> Encode:
    """``encode`` for the batches of one stream."""
    prepared = [(ENCODERS[t.encoder].prepared(t), t.shape) for t in encoding.inputs]

    def encode(batch: pa.RecordBatch) -> Encoded:
        arrays = [(encode_tensor(batch), shape) for encode_tensor, shape in prepared]
        return [
            array if shape is None else array.reshape(batch.num_rows, *shape)
            for array, shape in arrays
        ]

    return encode


class EncodedOnce:
    """An encoder that keeps what it made last, for others that want the same tensors."""

    def __init__(self, encoding: Encoding) -> None:
        self._encode = encoder(encoding)
        self._last: tuple[pa.RecordBatch, Encoded] | None = None

    def __call__(self, batch: pa.RecordBatch) -> Encoded:
        made = self._encode(batch)
        self._last = batch, made
        return made

    def kept(self, batch: pa.RecordBatch) -> Encoded | None:
        """The arguments of a batch; None if it was not the last one. Any thread may ask."""
        last = self._last
        return last[1] if last is not None and last[0] is batch else None


def rows(encoded: Encoded, start: int, stop: int, size: int) -> Encoded:
    """Rows ``start`` to ``stop``: arrays padded to ``size`` by repeating the last of them.

    A compiled graph then always sees the same shape, so that a row's bits do not depend on how
    many rows came with it. A frame is never padded.
    """
    index = np.minimum(np.arange(start, start + size), stop - 1) if stop - start < size else None
    return [
        item.slice(start, stop - start)
        if isinstance(item, pa.RecordBatch)
        else (item[start:stop] if index is None else item[index])
        for item in encoded
    ]
