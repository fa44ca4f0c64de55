"""Compares the outputs of two calls of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nocturne.engine.model import Array, Raw

__all__ = ["agree", "in_order"]


def in_order(raw: Raw) -> list[Array]:
    """The outputs, with a dimension of rows each."""
    outputs = raw.values() if isinstance(raw, Mapping) else raw
    return [np.atleast_1d(output) for output in outputs]


def agree(expected: Sequence[Array], outputs: Sequence[Array], tolerance: float = 1e-5) -> bool:
    """Whether the outputs are the same; floats within ``tolerance``, relative to the largest."""
    if [a.shape for a in expected] != [a.shape for a in outputs]:
        return False
    for first, second in zip(expected, outputs, strict=True):
        if first.dtype == object or not np.issubdtype(first.dtype, np.floating):
            if not np.array_equal(first, second):
                return False
        else:
            scale = float(np.max(np.abs(first), initial=0.0, where=np.isfinite(first)))
            if not np.allclose(
                first, second, rtol=tolerance, atol=tolerance * scale, equal_nan=True
            ):
                return False
    return True
