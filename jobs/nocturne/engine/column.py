"""Converts a model's output to an Arrow column; a row without a prediction gets a reason."""

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

__all__ = ["Reasons", "arrow_column", "checked", "placeholder", "stacked"]

Reasons = dict[int, str]
"""Row of the batch -> why it has no prediction."""

_NO_VALUE: Any = object()
"""Replaces the values of a vector that has another length; no column type accepts it."""


def checked(values: Array, output: OutputSpec, count: int) -> Array:
    """The post-processed output, [rows] or [rows, length].

    A row whose raw values contain NaN gets no value if the post-processing picks a class: it
    would pick one at random.

    Raises:
        ModelError: the shape is not the one in the spec.
    """
    post, flat = POST[output.post], values
    if not post.classes and not output.length and values.ndim == 2:
        flat = values[:, 0] if values.shape[1] == 1 else values
    if output.length and values.ndim == 1 and values.dtype == object:
        flat = stacked(values, output.length)
    _check_shape(flat, output, count)
    processed = post.apply(flat, output.length, output.labels)
    if post.gives == "class" and np.issubdtype(flat.dtype, np.floating):
        lost = np.isnan(flat).any(axis=1)
        if lost.any():
            processed = np.array(processed, dtype=object)
            processed[lost] = None
    return processed


def stacked(values: Array, length: int) -> Array:
    """Vectors or nulls, as objects [rows], become an array of objects [rows, length]."""
    vectors = np.full((len(values), length), None, dtype=object)
    for row, value in enumerate(values):
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes)):
            vectors[row] = list(value) if len(value) == length else [_NO_VALUE] * length
        elif not (value is None or value != value):
            vectors[row] = [_NO_VALUE] * length
    return vectors


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
        expected = f"({count}, {exact or f'{least} or more'}): one value a class"
    elif output.length:
        fits = values.shape == (count, output.length)
        expected = f"({count}, {output.length})"
    else:
        fits = values.shape == (count,)
        expected = f"one value a row: ({count},) or ({count}, 1)"
    if not fits:
        raise ModelError(
            f"output {output.name!r} has shape {tuple(values.shape)}, expected {expected}"
        )


_PLACEHOLDERS = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "bool": np.bool_}


def placeholder(output: OutputSpec, count: int) -> Array:
    """Values for rows that have no prediction; the reasons of the rows tell them apart."""
    shape = (count, output.length) if output.length else (count,)
    if output.type in _PLACEHOLDERS:
        return np.zeros(shape, dtype=_PLACEHOLDERS[output.type])
    return np.full(shape, None, dtype=object)


def arrow_column(values: Array, output: OutputSpec, reasons: Reasons) -> pa.Array:
    """[rows] or [rows, length] as Arrow; rows whose value does not fit the type get a reason.

    In a nullable output, null and NaN become null; a vector that contains one becomes null.
    """
    column, absent, strange = convert(values.reshape(-1), output.type)
    floats = values.dtype.kind == "f" and output.type in ("float32", "float64")
    missing = f"the prediction {output.name} is missing or not finite"
    if strange is not None:
        length = f"[{output.length}]" if output.length else ""
        reason = missing if floats else strange_reason(output.name, f"{output.type}{length}")
        _add_reason(strange, output, reason, reasons)
    if absent is not None and not output.nullable:
        _add_reason(absent, output, missing, reasons)
    if not output.length:
        return column
    null = None if absent is None or not output.nullable else pa.array(_rows(absent, output))
    vectors = pa.FixedSizeListArray.from_arrays(column, output.length, mask=null)
    return vectors.cast(output.arrow_type)


def _add_reason(mask: NDArray[np.bool_], output: OutputSpec, reason: str, reasons: Reasons) -> None:
    for row in np.flatnonzero(_rows(mask, output)):
        reasons.setdefault(int(row), reason)


def _rows(mask: NDArray[np.bool_], output: OutputSpec) -> NDArray[np.bool_]:
    """A mask of values as a mask of rows: a row is set if one of its values is."""
    return np.asarray(mask.reshape(-1, output.length).any(axis=1)) if output.length else mask
