"""Post-processing: what becomes of the model's raw output before it is a prediction column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.model.encoding import OutputSpec

__all__ = ["POST", "VECTOR"]

Values = NDArray[Any]


def _none(values: Values, output: OutputSpec) -> Values:
    return values


def _sigmoid(values: Values, output: OutputSpec) -> Values:
    """1 / (1 + exp(-x)), without overflow warnings at the far ends."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)))


def _softmax(values: Values, output: OutputSpec) -> Values:
    """exp(x - max) / sum: the row's largest value is taken off first, so nothing overflows."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _argmax(values: Values, output: OutputSpec) -> Values:
    return _named(values.argmax(axis=1), output)


def _top_k(values: Values, output: OutputSpec) -> Values:
    return _named(_best(values, output.length), output)


def _top_k_values(values: Values, output: OutputSpec) -> Values:
    best = _best(values, output.length)
    return np.asarray(np.take_along_axis(_softmax(values, output), best, axis=1))


def _best(values: Values, k: int) -> Values:
    """Positions of the k largest, best first; of equals the first one comes first."""
    return np.asarray(np.argsort(-values, axis=1, kind="stable")[:, :k])


def _named(index: Values, output: OutputSpec) -> Values:
    return np.array(output.labels, dtype=object)[index] if output.labels else index


POST: dict[str, Callable[[Values, OutputSpec], Values]] = {
    "none": _none,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "argmax": _argmax,
    "top_k": _top_k,
    "top_k_values": _top_k_values,
}
"""Name -> function of raw values [rows] or [rows, classes], giving [rows] or [rows, length]."""

VECTOR = frozenset({"softmax", "argmax", "top_k", "top_k_values"})
"""Those that take [rows, classes], also where there is a single class."""
