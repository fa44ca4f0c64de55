"""Metrics of numbers against numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["number_figures"]


def number_figures(predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> dict[str, float]:
    """``mae``, ``rmse``, ``bias`` (mean of predicted less actual), ``r2``; those that are defined.

    Args:
        predicted, actual: [n], finite.
    """
    found: dict[str, float] = {"rows": float(len(predicted))}
    if not len(predicted):
        return found
    apart = predicted - actual
    spread = float(np.square(actual - actual.mean()).sum())
    found |= {
        "mae": float(np.abs(apart).mean()),
        "rmse": float(np.sqrt(np.square(apart).mean())),
        "bias": float(apart.mean()),
    }
    if len(predicted) > 1 and spread > 0:
        found["r2"] = 1 - float(np.square(apart).sum()) / spread
    return found
