"""The predict function that every contender is given, and the shape of what they write.

Imports numpy, pyarrow and torch only: all that the contenders' environments share.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.data import COLUMNS

__all__ = ["MICRO_BATCH", "MODEL_VERSION", "OUTPUT", "Predictor", "matrix", "output"]

MICRO_BATCH = 1024
MODEL_VERSION = 1
OUTPUT = pa.schema(
    [
        ("id", pa.int64()),
        ("category", pa.string()),
        ("score", pa.float32()),
        ("model_version", pa.int32()),
    ]
)


class Predictor:
    """The frozen module in ``folder``, on one thread: float32 [rows, 20] in, scores out."""

    def __init__(self, folder: str | Path) -> None:
        torch.set_num_threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript; it is fast
            self.module: Any = torch.jit.load(str(Path(folder) / "frozen.pt"))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Sigmoid of the logit, float32 [rows]; at most MICRO_BATCH rows at once."""
        scores = np.empty(len(rows), np.float32)
        with torch.inference_mode():
            whole, out = torch.from_numpy(rows), torch.from_numpy(scores)
            for start in range(0, len(rows), MICRO_BATCH):
                part = slice(start, start + MICRO_BATCH)
                torch.sigmoid(self.module(whole[part])[:, 0], out=out[part])
        return scores


def matrix(batch: pa.RecordBatch) -> np.ndarray:
    """The features copied into one float32 matrix [rows, 20], C order."""
    rows = np.empty((batch.num_rows, len(COLUMNS)), np.float32)
    for place, name in enumerate(COLUMNS):
        rows[:, place] = batch.column(name).to_numpy()
    return rows


def output(batch: pa.RecordBatch, scores: np.ndarray) -> pa.RecordBatch:
    """What is written: id, category, score, model_version."""
    version = pa.array(np.full(len(scores), MODEL_VERSION, np.int32))
    columns = [batch.column("id"), batch.column("category"), pa.array(scores), version]
    return pa.RecordBatch.from_arrays(columns, schema=OUTPUT)
