"""The base class of encoders: checks before a row is read, and the work on a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.columns.types import Kind
from nocturne.encoders.spec import ARRAY_OF, Feature, TensorSpec

__all__ = ["Array", "Encoded", "Encoder", "Wrong"]

Array = NDArray[np.generic]
Encoded: TypeAlias = "Array | pa.RecordBatch"
"""One argument of the model: an array [rows, ...], or a frame."""
Wrong = Iterable[tuple[pa.Array, str]]
"""For a column: masks of wrong rows [rows] with their reasons, which contain no values."""

_WORDS = ("string", "bool", "boolean")
_UNCOUNTED = ("binary", "datetime")


class Encoder(ABC):
    """Converts columns to a tensor. Each subclass is an encoder; it has no state.

    The methods that are called before a row is read (``accepts``, ``wants``, ``exact_type``,
    ``profiled``, ``problem``) need only the spec and a type. ``type_`` is always a normal type
    (``nocturne.columns.normal``); for a dictionary, the type of its values.

    Attributes:
        kind: how its columns are counted; None if their type, or the signature, decides.
        optional: whether a feature that is not ``required`` may be missing.
        signed: whether its integers are signed: then a column of uint64 is cast to int64, unless
            another encoder reads it too.
    """

    kind: ClassVar[Kind | None] = None
    optional: ClassVar[bool] = False
    signed: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        """Whether it takes a column of this type without a loss."""

    @abstractmethod
    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        """What it accepts, as text: ``a number (float32)``."""

    @abstractmethod
    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        """The type that holds the feature's values without a loss; ``input.cast`` casts to it."""

    @abstractmethod
    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Encoded:
        """The tensor [rows, ...], without a loop over rows. It may share memory with the batch.

        A row that is ``refused`` may get any value, since it is not scored.
        """

    def prepared(self, tensor: TensorSpec) -> Callable[[pa.RecordBatch], Encoded]:
        """``encode`` for the batches of one stream, which may have parts in common."""
        return partial(self.encode, tensor=tensor)

    def input_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType | None:
        """The type to which a column is cast before it is encoded; None for no cast."""
        return None

    def profiled(self, feature: Feature) -> Kind | None:
        """How the feature's column is counted; None if it is not counted."""
        if feature.type in _UNCOUNTED or feature.type.startswith(ARRAY_OF):
            return None
        return "category" if self.kind == "category" or feature.type in _WORDS else "numeric"

    def problem(self, tensor: TensorSpec) -> str:
        """The contradiction in a spec, as text; "" if there is none."""
        return ""

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        """The rows of a column that the model can't take."""
        return ()
