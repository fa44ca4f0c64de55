"""Compares what a model predicted before it was registered with what it predicts after."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import is_list
from nocturne.errors import ModelError

__all__ = ["TOLERANCE", "largest_difference"]

TOLERANCE = 1e-5
"""The relative difference that another order of the same sums may make in float32."""


def largest_difference(before: pa.Table, after: pa.Table) -> float:
    """The largest difference between numbers of the same row and column; 0.0 for equal tables.

    A number may differ by ``TOLERANCE`` of itself, or of the column's median if that is larger:
    near zero the sums cancel.

    Raises:
        ModelError: they differ by more, or in anything other than a number with a fraction.
    """
    return max(
        (_column(name, before[name], after[name]) for name in before.column_names), default=0.0
    )


def _column(name: str, before: pa.ChunkedArray, after: pa.ChunkedArray) -> float:
    if before.type != after.type:
        raise _differs(name, f"{before.type} before, {after.type} after")
    if not before.is_null().equals(after.is_null()):
        [rows] = np.nonzero(before.is_null().to_numpy() != after.is_null().to_numpy())
        raise _differs(name, f"{len(rows)} rows have a prediction only before, or only after")
    if is_list(before.type):
        if not pc.list_value_length(before).equals(pc.list_value_length(after)):
            raise _differs(name, "vectors of another length")
        before, after = pc.list_flatten(before), pc.list_flatten(after)
    if not pa.types.is_floating(before.type):
        if not before.equals(after):
            raise _differs(name, "other values")
        return 0.0
    was, now = (_numbers(values) for values in (before, after))
    finite = np.isfinite(was) & np.isfinite(now)
    if not np.array_equal(was[~finite], now[~finite], equal_nan=True):
        raise _differs(name, "other rows are infinite or NaN")
    was, now = was[finite], now[finite]
    difference = np.abs(was - now)
    allowed = TOLERANCE * np.maximum(np.abs(was), np.median(np.abs(was)) if len(was) else 0.0)
    if (difference > allowed).any():
        worst = int(np.argmax(difference - allowed))
        raise _differs(
            name,
            f"{int((difference > allowed).sum())} of {len(was)} numbers, by up to "
            f"{difference.max():.3g} (e.g. {was[worst]:.9g} before, {now[worst]:.9g} after)",
        )
    return float(difference.max(initial=0.0))


def _numbers(values: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _differs(name: str, how: str) -> ModelError:
    return ModelError(
        f"the model in MLflow does not give the outputs of the one that was handed in: {name!r} "
        f"differs in {how}. Nothing was registered. Does it draw random numbers, keep a state "
        "between calls, or do something else while it is exported?"
    )
