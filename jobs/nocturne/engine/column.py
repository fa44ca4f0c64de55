"""A model's output becomes an Arrow column; what is no prediction gets a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.encoding import OutputSpec
from nocturne.encoding.post import POST
from nocturne.engine.convert import convert
from nocturne.engine.model import Array
from nocturne.errors import ModelError
from nocturne.records.result import strange as strange_reason

__all__ = ["Reasons", "arrow_column", "checked", "hole", "stacked"]

Reasons = dict[int, str]
"""Row of the batch -> why it has no prediction."""

_NO_VALUE: Any = object()
"""Stands for the values of a vector of another length: it is of no column's type."""


def checked(values: Array, output: OutputSpec, count: int) -> Array:
    """The post-processed output, [rows] or [rows, length].

    A row whose raw values hold a NaN stays without a value where the post-processing would
    make one up (the index of a class).

    Raises:
        ModelError: the shape is not what the spec says.
    """
    post, flat = POST[output.post], values
    if not post.classes and not output.length and values.ndim == 2:
        flat = values[:, 0] if values.shape[1] == 1 else values
    if output.length and values.ndim == 1 and values.dtype == object:
        flat = stacked(values, output.length)
    _check_shape(flat, output, count)
    done = post.apply(flat, output.length, output.labels)
    if post.gives == "class" and np.issubdtype(flat.dtype, np.floating):
        lost = np.isnan(flat).any(axis=1)
        if lost.any():
            done = np.array(done, dtype=object)
            done[lost] = None
    return done


def stacked(values: Array, length: int) -> Array:
    """[rows, length] of objects [rows] that are vectors, or null."""
    done = np.full((len(values), length), None, dtype=object)
    for row, value in enumerate(values):
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes)):
            done[row] = list(value) if len(value) == length else [_NO_VALUE] * length
        elif not (value is None or value != value):
            done[row] = [_NO_VALUE] * length
    return done


def _check_shape(values: Array, output: OutputSpec, count: int) -> None:
    post = POST[output.post]
    if post.classes:
        least = output.length if post.length == "needed" else 1
        exact = output.length if post.classes == "all" else len(output.labels) or None
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


_HOLES = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "bool": np.bool_}


def hole(output: OutputSpec, count: int) -> Array:
    """What stands in for the predictions of rows that have none; their reasons tell them apart."""
    shape = (count, output.length) if output.length else (count,)
    if output.type in _HOLES:
        return np.zeros(shape, dtype=_HOLES[output.type])
    return np.full(shape, None, dtype=object)


def arrow_column(values: Array, output: OutputSpec, reasons: Reasons) -> pa.Array:
    """[rows] or [rows, length] as Arrow; rows whose value is none of the column's get a reason.

    Of a nullable output a null or NaN is a null (a vector's makes the vector one).
    """
    column, absent, strange = convert(values.reshape(-1), output.type)
    floats = values.dtype.kind == "f" and output.type in ("float32", "float64")
    missing = f"the prediction {output.name} is missing or not finite"
    if strange is not None:
        length = f"[{output.length}]" if output.length else ""
        said = missing if floats else strange_reason(output.name, f"{output.type}{length}")
        _say(strange, output, said, reasons)
    if absent is not None and not output.nullable:
        _say(absent, output, missing, reasons)
    if not output.length:
        return column
    null = None if absent is None or not output.nullable else pa.array(_rows(absent, output))
    made = pa.FixedSizeListArray.from_arrays(column, output.length, mask=null)
    return made.cast(output.arrow_type)


def _say(which: NDArray[np.bool_], output: OutputSpec, said: str, reasons: Reasons) -> None:
    for row in np.flatnonzero(_rows(which, output)):
        reasons.setdefault(int(row), said)


def _rows(which: NDArray[np.bool_], output: OutputSpec) -> NDArray[np.bool_]:
    """The rows in which a value is meant."""
    return np.asarray(which.reshape(-1, output.length).any(axis=1)) if output.length else which
