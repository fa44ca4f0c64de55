"""The generated tables. Each is one file: its rows, its model, and how peers encode it.

Every table has an int64 ``id`` and a string ``category``, which are published, and its features.
File ``n`` depends on ``n`` alone, so the small size is the first files of the large one.

Imports numpy and pyarrow only, which all of the contenders' environments have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from benchmarks.tables import mixed, numbers

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from nocturne.encoding import Encoding

__all__ = ["TABLES", "Table"]


class Table(Protocol):
    """What a module of this package has.

    Attributes:
        COLUMNS: the features, in the order in which peers hand them over.
        CATEGORIES: the values of ``category``.
        WORDS: the features that are text.
    """

    COLUMNS: tuple[str, ...]
    CATEGORIES: tuple[str, ...]
    WORDS: tuple[str, ...]

    def table(self, file: int, rows: int) -> pa.Table:
        """The rows of data file ``file``; ids go on where the file before ended."""

    def codes(self, file: int, rows: int) -> np.ndarray:
        """``category`` of each row of a file, as its place in ``CATEGORIES``; uint8 [rows]."""

    def network(self, hidden: Sequence[int]) -> nn.Module:
        """A model with random weights; takes the tensors, gives logits [rows, 1]."""

    def encoding(self) -> Encoding:
        """The same for ours."""

    def examples(self, rows: int) -> tuple[Tensor, ...]:
        """Tensors of the right shapes, to trace the model with."""

    def encode(self, columns: Mapping[str, pa.Array]) -> tuple[np.ndarray, ...]:
        """The tensors, by Arrow's functions."""

    def encode_frame(self, frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """The same by pandas."""


TABLES: dict[str, Table] = {"numbers": numbers, "mixed": mixed}
