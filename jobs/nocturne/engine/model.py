"""What the engine calls: a model that takes encoded rows and returns one array an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from nocturne.engine.encode import Encoded

__all__ = ["Array", "AsyncModel", "Model", "Raw"]

Array = NDArray[Any]
Raw = Sequence[Array] | Mapping[str, Array]
"""The outputs [rows] or [rows, n], in order or by name."""


class Model(Protocol):
    """Takes the arguments of one micro-batch and gives its raw outputs.

    One with a false ``padded`` is given the rows that there are; any other always as many as a
    micro-batch has, so that a compiled graph always sees the same shape.
    """

    def predict(self, encoded: Encoded) -> Raw: ...


class AsyncModel(Model, Protocol):
    """A model that works by itself once begun, as one on a GPU does."""

    def begin(self, encoded: Encoded, size: int) -> Callable[[], Raw]:
        """Start on a batch, in micro-batches of ``size`` rows; the result waits for the end.

        What the result returns holds as many rows as the batch.
        """
        ...
