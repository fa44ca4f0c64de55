"""What every encoder is asked, before a row is read and with a batch in hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
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
"""Of a column: which rows are wrong [rows], and why; the reason names no value."""

_WORDS = ("string", "bool", "boolean")
_UNCOUNTED = ("binary", "datetime")


class Encoder(ABC):
    """How columns become a tensor. It holds no state; a subclass is one encoder.

    What it is asked before a row is read (``accepts``, ``wants``, ``exact_type``, ``profiled``,
    ``problem``) needs the spec and a type alone. ``type_`` is always a normal one
    (``nocturne.columns.normal``), of a dictionary that of its values.

    Attributes:
        kind: what its columns are counted as; None: as their type, or the signature's, says.
        optional: whether a feature that is not ``required`` may be missing.
        signed: whether its integers have a sign: a column of uint64 that no other encoder reads
            is cast to int64.
    """

    kind: ClassVar[Kind | None] = None
    optional: ClassVar[bool] = False
    signed: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        """Whether it takes a column of such a type without a loss."""

    @abstractmethod
    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        """What it accepts, in words: ``a number (float32)``."""

    @abstractmethod
    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        """The type in which the feature's values have no loss: what ``input.cast`` makes."""

    @abstractmethod
    def encode(self, batch: pa.RecordBatch, tensor: TensorSpec) -> Encoded:
        """The tensor [rows, ...]: no loop over rows. It may share its memory with the batch.

        A row that is ``refused`` gets any value: it is not scored.
        """

    def input_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType | None:
        """The type that a column is cast to before it is encoded; None: as it is."""
        return None

    def profiled(self, feature: Feature) -> Kind | None:
        """What the feature's column is counted as; None: not at all."""
        if feature.type in _UNCOUNTED or feature.type.startswith(ARRAY_OF):
            return None
        return "category" if self.kind == "category" or feature.type in _WORDS else "numeric"

    def problem(self, tensor: TensorSpec) -> str:
        """What contradicts itself in a spec, in words; "" if nothing does."""
        return ""

    def refused(self, column: pa.Array, tensor: TensorSpec, feature: Feature) -> Wrong:
        """The rows of a column that the model has no value for."""
        return ()
