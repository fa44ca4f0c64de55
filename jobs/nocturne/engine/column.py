"""A model's output becomes an Arrow column; what is no prediction gets a reason."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.encoding import OutputSpec
from nocturne.engine.model import Array
from nocturne.engine.post import POST, VECTOR
from nocturne.errors import ModelError

__all__ = ["Reasons", "arrow_column", "checked", "hole"]

Reasons = dict[int, str]
"""Row of the batch -> why it has no prediction."""


def checked(values: Array, output: OutputSpec, count: int) -> Array:
    """The post-processed output, [rows] or [rows, length].

    A row whose raw values hold a NaN stays without a value where the post-processing would
    make one up (the index of a class).

    Raises:
        ModelError: the shape is not what the spec says.
    """
    flat = values
    if output.post not in VECTOR and not output.length and values.ndim == 2:
        flat = values[:, 0] if values.shape[1] == 1 else values
    _check_shape(flat, output, count)
    done = POST[output.post](flat, output)
    if output.post in ("argmax", "top_k") and np.issubdtype(flat.dtype, np.floating):
        lost = np.isnan(flat).any(axis=1)
        if lost.any():
            done = np.array(done, dtype=object)
            done[lost] = None
    return done


def _check_shape(values: Array, output: OutputSpec, count: int) -> None:
    if output.post in VECTOR:
        least = output.length if output.post.startswith("top_k") else 1
        exact = output.length if output.post == "softmax" else len(output.labels) or None
        fits = (
            values.ndim == 2
            and len(values) == count
            and values.shape[1] >= least
            and (exact is None or values.shape[1] == exact)
        )
        wanted = f"({count}, {exact or f'{least} or more'}): one value a class"
    elif output.length:
        fits = values.shape == (count, output.length)
        wanted = f"({count}, {output.length})"
    else:
        fits = values.shape == (count,)
        wanted = f"one value a row: ({count},) or ({count}, 1)"
    if not fits:
        raise ModelError(
            f"output {output.name!r} has shape {tuple(values.shape)}, expected {wanted}"
        )


_HOLES = {"string": np.dtype(object), "int64": np.dtype(np.int64), "bool": np.dtype(bool)}


def hole(output: OutputSpec, count: int) -> Array:
    """What stands in for the predictions of rows that have none; their reasons tell them apart."""
    shape = (count, output.length) if output.length else (count,)
    return np.zeros(shape, dtype=_HOLES.get(output.type, np.dtype(np.float32)))


def arrow_column(values: Array, output: OutputSpec, reasons: Reasons) -> pa.Array:
    """[rows] or [rows, length] as Arrow; rows without a finite value get a reason."""
    flat = values.reshape(-1)
    absent = _absent(flat)
    column = _typed(flat, absent, output.type)
    if output.type in ("float32", "float64"):
        final = column.fill_null(np.inf) if column.null_count else column
        absent = ~np.isfinite(final.to_numpy(zero_copy_only=False))
    if absent.any():
        lost = absent.reshape(-1, output.length).any(axis=1) if output.length else absent
        for row in np.flatnonzero(lost):
            reasons.setdefault(int(row), f"the prediction {output.name} is missing or not finite")
    if not output.length:
        return column
    return pa.FixedSizeListArray.from_arrays(column, output.length)


def _absent(flat: Array) -> NDArray[np.bool_]:
    if flat.dtype == object:
        return np.array([value is None or value != value for value in flat], dtype=bool)
    if np.issubdtype(flat.dtype, np.floating):
        return np.asarray(~np.isfinite(flat))
    return np.zeros(len(flat), dtype=bool)


def _typed(flat: Array, absent: NDArray[np.bool_], type_: str) -> pa.Array:
    if type_ == "string":
        words = [None if gone else str(v) for v, gone in zip(flat, absent, strict=True)]
        return pa.array(words, pa.string())
    column = pa.array(flat, mask=absent) if absent.any() else pa.array(flat)
    return column if column.type == type_ else column.cast(type_, safe=False)
