"""Converts whatever a pyfunc model returned to arrays, by name if it has names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nocturne.encoding import OutputSpec
from nocturne.engine.convert import absent
from nocturne.engine.model import Array, Raw
from nocturne.engine.outputs import numbered
from nocturne.errors import ModelError

__all__ = ["arrays", "several"]

_LISTS = (list, tuple)
_ARROW = (pa.Array, pa.ChunkedArray, pa.Table, pa.RecordBatch)


def arrays(
    result: Any,
    rows: int,
    outputs: Sequence[OutputSpec] = (),
    classes: Sequence[str] = (),
    before: bool | None = None,
) -> Raw:
    """The outputs [rows] or [rows, n]: a dict if they have names, else a list.

    A frame, a dict and a list of dicts name their outputs. A tuple or list of arrays is several
    outputs, unless it has one item for each row. If the columns of a frame are numbered (0 to
    n - 1, in any order) and have the same type, the frame is a matrix. A matrix is a vector for
    each row; but if ``outputs`` has one value for each column, or the columns are of several
    kinds, the columns are the outputs. The columns of a classifier's probabilities are named by
    ``classes``. If the index of a Series or frame, or a level of it, numbers the rows, it gives
    their order. No output shares its memory with the result.

    Args:
        before: the result of ``several`` for what the model returned for other rows.

    Raises:
        ModelError: the result does not have a value for each row, or is ambiguous.
    """
    result = _plain(result)
    if isinstance(result, np.ndarray) and result.dtype.names:
        result = {name: result[name] for name in result.dtype.names}
    if isinstance(result, _LISTS) and result and all(isinstance(r, Mapping) for r in result):
        names = dict.fromkeys(name for row in result for name in row)
        result = {name: [row.get(name) for row in result] for name in names}
    if isinstance(result, pd.DataFrame):
        return _frame(result, outputs, classes)
    if isinstance(result, Mapping):
        columns = {str(name): _column(values, rows) for name, values in result.items()}
        return (
            {name: columns[name] for name in sorted(columns, key=int)}
            if numbered(columns)
            else columns
        )
    if isinstance(result, _LISTS) and _several(result, rows, outputs, before):
        return {str(place): _column(values, rows) for place, values in enumerate(result)}
    return _matrix(_column(result, rows), outputs, classes)


def _plain(value: Any) -> Any:
    """Tensors and matrices become arrays; tables of Arrow and others become frames in row order."""
    if isinstance(value, np.matrix):
        return np.asarray(value)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return _in_order(value)
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu()
        return (value.float() if "float16" in str(value.dtype) else value).numpy()
    if hasattr(value, "to_arrow"):
        value = value.to_arrow()
    if isinstance(value, _ARROW):  # otherwise integers next to a null become floats
        return value.to_pandas(integer_object_nulls=True)
    for name in ("toarray", "to_pandas", "numpy"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value


def _in_order(table: Any) -> Any:
    """Sorts by the level of the index that has the rows' numbers, the innermost first: ``apply`` of
    groups puts theirs before them. Ignores any other index.
    """
    index = table.index
    if index.nlevels == 1 and index.is_monotonic_increasing:
        return table
    for numbers in map(index.get_level_values, reversed(range(index.nlevels))):
        if numbers.dtype.kind not in "iuf" or numbers.hasnans:
            continue
        order = np.argsort(numbers, kind="stable")
        if np.array_equal(numbers[order], np.arange(len(index))):
            return table.iloc[order]
    return table


def several(result: Any, rows: int) -> bool | None:
    """Whether a list or tuple has one array for each output, and not one for each row.

    None if it has as many items as there are rows, so that it can't be decided.
    """
    if not isinstance(result, _LISTS) or not all(_long(item, rows) for item in result):
        return False
    return True if len(result) != rows else None


def _long(item: Any, rows: int) -> bool:
    item = _plain(item)
    listed = isinstance(item, (pd.Series, *_LISTS)) or np.shape(item) != ()
    return listed and len(item) == rows


def _several(
    result: Sequence[Any], rows: int, outputs: Sequence[OutputSpec], before: bool | None
) -> bool:
    """``several``; if that can't decide, the trial decides (it had more rows, and stored the
    positions of the outputs as their source), then the result for other rows.

    Raises:
        ModelError: nothing decides it.
    """
    decided = several(result, rows)
    if decided is not None:
        return decided
    if any(o.source.isdigit() for o in outputs):
        return True
    if before is not None or rows == 1:
        return isinstance(result, tuple) if before is None else before
    named_outputs = sum(bool(o.name) for o in outputs)
    pairs = all(isinstance(item, tuple) for item in result)
    lists = isinstance(result, list) and all(isinstance(item, list) for item in result)
    if (
        pairs
        or lists
        or (named_outputs != rows and (named_outputs == 1 or isinstance(result, list)))
    ):
        return False
    raise ModelError(
        f"the model returned a {type(result).__name__} of {rows} items for {rows} rows, which may "
        "be an output each or a row each; have it return a frame or a dict, which name its outputs"
    )


def _frame(frame: pd.DataFrame, outputs: Sequence[OutputSpec], classes: Sequence[str]) -> Raw:
    labels = list(frame.columns)
    numbered_labels = all(isinstance(label, (int, np.integer)) for label in labels)
    places = numbered_labels and numbered([str(label) for label in labels])
    if places:
        frame = frame.sort_index(axis=1)
    columns = [_column(frame.iloc[:, place], len(frame)) for place in range(len(labels))]
    if places:
        kinds = {column.dtype.kind for column in columns}
        alike = kinds <= set("iuf") or len({column.dtype for column in columns}) == 1
        if alike and "O" not in kinds:
            return _matrix(_side_by_side(columns), outputs, classes)
        return columns
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ModelError(
            f"the model returned a frame with more than one column of the name {', '.join(twice)}; "
            "expected each once"
        )
    return dict(zip(names, columns, strict=True))


def _side_by_side(columns: Sequence[Array]) -> Array:
    """[rows, columns]; as objects if an integer would be rounded next to floats."""
    stacked = np.stack(columns, axis=1)
    if stacked.dtype.kind == "f" and any(map(_inexact, columns)):
        return np.stack([column.astype(object) for column in columns], axis=1)
    return stacked


def _inexact(column: Array) -> bool:
    """Whether it has integers that float64 can't hold exactly."""
    most = 2**53
    return column.dtype.kind in "iu" and bool(((column > most) | (column < -most)).any())


def _matrix(values: Array, outputs: Sequence[OutputSpec], classes: Sequence[str]) -> Raw:
    width = values.shape[1] if values.ndim == 2 else 1
    if width > 1 and len(classes) == width:
        plain = [name.partition("probability_")[2] for name in classes]
        uses_plain = {o.source or o.name for o in outputs} == {*plain}
        return {n: values[:, place] for place, n in enumerate(plain if uses_plain else classes)}
    is_wide = len(outputs) == width and not any(o.length for o in outputs)
    if width > 1 and (is_wide or _mixed(values, outputs)):
        columns = [values[:, place] for place in range(width)]
        return [_listed(c.tolist()) if c.dtype == object else c for c in columns]
    return [values]


def _mixed(values: Array, outputs: Sequence[OutputSpec]) -> bool:
    """Whether the columns of a matrix are of several kinds, so that a row is not a vector."""
    if values.dtype != object or any(o.length for o in outputs):
        return False
    return len({kind for column in values.T if (kind := _kind(column))}) > 1


def _kind(column: Array) -> str:
    """The kind of the first present value; all numbers are of one kind."""
    gone = absent(column)
    present = column if gone is None else column[~gone]
    if not len(present):
        return ""
    kinds = (kind for kind, types in _KINDS.items() if isinstance(present[0], types))
    return next(kinds, type(present[0]).__name__)


_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "boolean": (bool, np.bool_),
    "number": (int, float, np.number),
    "time": (dt.date, np.datetime64),
}


def _column(values: Any, rows: int) -> Array:
    """One output's values: [rows], [rows, n], or vectors as objects [rows].

    Raises:
        ModelError: it does not have a value for each row.
    """
    values = _plain(values)
    if isinstance(values, (pd.Index, pd.api.extensions.ExtensionArray)):
        values = pd.Series(values)
    if isinstance(values, pd.Series):
        values = _series(values)
    if isinstance(values, np.ndarray) and values.dtype.kind == "T":
        values = values.astype(object)
    if isinstance(values, np.ma.MaskedArray):
        hidden, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[hidden] = None
    if np.ndim(values) == 0 if isinstance(values, np.ndarray) else not isinstance(values, _LISTS):
        if rows != 1:
            kind = str(values) if values is None else type(values).__name__
            raise ModelError(
                f"the model returned one {kind} for {rows} rows; expected a value a row: an array, "
                "a list, a frame, or a dict of these"
            )
        values = [values.item() if isinstance(values, np.ndarray) else values]
    array = (
        _listed(list(values))
        if isinstance(values, _LISTS) or values.dtype == object
        else values.copy()  # the model may fill the same array again in its next call
    )
    # For a single row, some models return its values without the dimension of rows.
    return array[None] if rows == 1 and array.ndim == 1 and len(array) > 1 else array


def _series(series: pd.Series[Any]) -> Array:
    """The values without pandas' own types; null becomes None."""
    if isinstance(series.dtype, np.dtype):
        return np.asarray(series.to_numpy())
    if isinstance(series.dtype, (pd.CategoricalDtype, pd.DatetimeTZDtype, pd.SparseDtype)):
        series = series.astype(object)
    missing = series.isna()
    if missing.any():
        series = series.astype(object).where(~missing, None)
    return np.asarray(series.to_numpy())


def _listed(items: list[Any]) -> Array:
    """Values or vectors of the same type as an array of that type, others as objects."""
    types = set(map(type, items))
    if len(types) == 1 and issubclass(next(iter(types)), (bool, int, float, np.generic)):
        return _alike(items)
    items = [_plain(item) for item in items]
    if any(isinstance(item, (np.ndarray, *_LISTS)) for item in items):
        vectors = [
            _listed(list(i))
            if isinstance(i, _LISTS) or (isinstance(i, np.ndarray) and i.dtype == object)
            else i
            for i in items
        ]
        arrays = [vector for vector in vectors if isinstance(vector, np.ndarray)]
        if len(arrays) < len(items) or len({array.shape for array in arrays}) > 1:
            return _objects([v.copy() if isinstance(v, np.ndarray) else v for v in vectors])
        same = len({array.dtype.kind for array in arrays}) == 1
        return np.stack(arrays if same else [array.astype(object) for array in arrays])
    return _objects([None if item is pd.NA else item for item in items])


def _alike(items: list[Any]) -> Array:
    """Values of one type as an array; as objects if NumPy would use another type, since it has no
    such integers."""
    try:
        array = np.asarray(items)
    except OverflowError:
        return _objects(items)
    rounded = isinstance(items[0], int) and array.dtype.kind == "f"
    return array if array.dtype.kind in "biufM" and not rounded else _objects(items)


def _objects(items: list[Any]) -> Array:
    """An array of objects [rows]."""
    objects = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        objects[place] = item
    return objects
