"""The rows of a part as arrays: what is refused, and what counts as no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.errors import InputError

__all__ = ["Floats", "booleans", "finite", "present", "weights_of"]

Floats = NDArray[np.float64]

_LEAST = 1e-100
"""The least weight: products of sums of weights neither vanish nor overflow."""


def finite(what: str, values: Any) -> Floats:
    """The values as float64.

    Raises:
        InputError: one is NaN or infinite.
    """
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        at = int(np.flatnonzero(~np.isfinite(found))[0])
        raise InputError(
            f"{what}: row {at} of {len(found)} is not finite, expected numbers: leave such rows "
            "out, and count them"
        )
    return found


def booleans(values: Any) -> NDArray[np.bool_]:
    """The labels.

    Raises:
        InputError: they are of another type: which of their values is the positive one?
    """
    found: NDArray[np.bool_] = np.asarray(values)
    if found.dtype != np.bool_:
        raise InputError(f"labels of two classes: got {found.dtype}, expected booleans")
    return found


def weights_of(weights: Any | None, rows: int, what: str = "weights") -> Floats | None:
    """The weights as float64; None where all are 1.

    Raises:
        InputError: one is negative, not finite or out of all proportion, or there is not one for
            each row.
    """
    if weights is None:
        return None
    found = finite(what, weights)
    if len(found) != rows:
        raise InputError(f"got {len(found)} {what} for {rows} rows, expected one for each")
    wrong = (found != 0) & ((found < _LEAST) | (found > 1 / _LEAST))
    if wrong.any():
        at = int(wrong.argmax())
        raise InputError(
            f"{what}: row {at} of {rows} has one that is negative or out of all proportion, "
            f"expected 0 (the row does not count), or {_LEAST:g} to {1 / _LEAST:g}"
        )
    return None if (found == 1).all() else found


def present(
    columns: Sequence[NDArray[Any]], weights: Floats | None
) -> tuple[list[NDArray[Any]], Floats]:
    """The rows with a weight over 0, and their weights.

    Raises:
        InputError: the columns differ in length.
    """
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise InputError(f"predictions and labels have {lengths} rows, expected as many of each")
    if weights is None:
        return list(columns), np.ones(len(columns[0]))
    there = weights > 0
    if there.all():
        return list(columns), weights
    return [column[there] for column in columns], weights[there]
