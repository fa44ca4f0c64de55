"""20 float32 features; an MLP scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from nocturne.encoding import Encoding

CATEGORIES = ("amber", "black", "coral", "denim", "ebony", "flame", "green", "hazel")
COLUMNS = tuple(f"f{i:02d}" for i in range(20))
WORDS: tuple[str, ...] = ()
_SEED = 20_13


def codes(file: int, rows: int) -> np.ndarray:
    return np.random.default_rng([_SEED, file, 1]).integers(0, len(CATEGORIES), rows, np.uint8)


def table(file: int, rows: int) -> pa.Table:
    values = np.random.default_rng([_SEED, file]).standard_normal((len(COLUMNS), rows), np.float32)
    words = pa.DictionaryArray.from_arrays(pa.array(codes(file, rows), pa.int8()), CATEGORIES)
    return pa.table(
        [
            pa.array(np.arange(file * rows, (file + 1) * rows)),
            words.cast(pa.string()),
            *(pa.array(column) for column in values),
        ],
        names=["id", "category", *COLUMNS],
    )


def network(hidden: Sequence[int]) -> nn.Module:
    """An MLP with ReLU and these hidden widths."""
    import torch

    from benchmarks.models import dense

    torch.manual_seed(7)
    return dense(len(COLUMNS), hidden).eval()


def encoding() -> Encoding:
    from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec

    features = tuple(Feature(name) for name in COLUMNS)
    tensor = TensorSpec("numbers", "float32", "numeric", features)
    return Encoding((tensor,), (OutputSpec("score", post="sigmoid"),))


def examples(rows: int) -> tuple[Tensor, ...]:
    import torch

    return (torch.zeros(rows, len(COLUMNS)),)


def encode(columns: Mapping[str, pa.Array]) -> tuple[np.ndarray, ...]:
    """The features copied into one float32 matrix [rows, 20], C order."""
    rows = np.empty((len(columns[COLUMNS[0]]), len(COLUMNS)), np.float32)
    for place, name in enumerate(COLUMNS):
        rows[:, place] = columns[name].to_numpy(zero_copy_only=False)
    return (rows,)


def encode_frame(frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
    return (np.ascontiguousarray(frame[list(COLUMNS)].to_numpy(np.float32)),)
