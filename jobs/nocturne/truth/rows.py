"""The rows of a part as arrays: what is refused, and what counts as no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nocturne.errors import InputError

__all__ = ["Floats", "finite", "present", "weights_of"]

Floats = NDArray[np.float64]


def finite(what: str, values: Any) -> Floats:
    """The values as float64.

    Raises:
        InputError: one is NaN or infinite.
    """
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        at = int(np.flatnonzero(~np.isfinite(found))[0])
        raise InputError(
            f"{what}: got {found[at]} (row {at} of {len(found)}), expected finite numbers: leave "
            "such rows out, and count them"
        )
    return found


def weights_of(weights: Any | None, rows: int) -> Floats | None:
    """The weights as float64; None where all are 1.

    Raises:
        InputError: one is negative or not finite, or there is not one for each row.
    """
    if weights is None:
        return None
    found = finite("weights", weights)
    if len(found) != rows:
        raise InputError(f"got {len(found)} weights for {rows} rows, expected one for each")
    if len(found) and found.min() < 0:
        at = int(found.argmin())
        raise InputError(
            f"weights: got {found[at]} (row {at} of {rows}), expected numbers of 0 or more: a row "
            "that shall not count has weight 0"
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
