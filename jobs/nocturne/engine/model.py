"""The protocol of a model: it takes encoded rows and returns one array for each output."""

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
    """Takes the arguments of one micro-batch and returns its raw outputs.

    A model whose ``padded`` is false is given only real rows. Any other is always given a full
    micro-batch, so that a compiled graph always sees the same shape.
    """

    def predict(self, encoded: Encoded) -> Raw: ...


class AsyncModel(Model, Protocol):
    """A model that computes asynchronously, such as one on a GPU."""

    def begin(self, encoded: Encoded, size: int) -> Callable[[], Raw]:
        """Start on a batch, in micro-batches of ``size`` rows. Calling the result waits for the
        end and returns the outputs of all rows of the batch.
        """
        ...
