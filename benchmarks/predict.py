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

__all__ = ["MICRO_BATCH", "MODEL_VERSION", "OUTPUT", "Predictor", "columns", "output"]

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
    """The frozen module in ``folder``, on one thread: tensors [rows, ...] in, scores out."""

    def __init__(self, folder: str | Path) -> None:
        torch.set_num_threads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript; it is fast
            self.module: Any = torch.jit.load(str(Path(folder) / "frozen.pt"))

    def __call__(self, *tensors: np.ndarray) -> np.ndarray:
        """Sigmoid of the logit, float32 [rows]; at most MICRO_BATCH rows at once."""
        scores = np.empty(len(tensors[0]), np.float32)
        with torch.inference_mode():
            whole, out = [torch.from_numpy(t) for t in tensors], torch.from_numpy(scores)
            for start in range(0, len(scores), MICRO_BATCH):
                part = slice(start, start + MICRO_BATCH)
                torch.sigmoid(self.module(*(t[part] for t in whole))[:, 0], out=out[part])
        return scores


def columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Its columns by name."""
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def output(batch: pa.RecordBatch, scores: np.ndarray) -> pa.RecordBatch:
    """What is written: id, category, score, model_version."""
    version = pa.array(np.full(len(scores), MODEL_VERSION, np.int32))
    category = batch.column("category").cast(pa.string())
    arrays = [batch.column("id"), category, pa.array(scores), version]
    return pa.RecordBatch.from_arrays(arrays, schema=OUTPUT)
