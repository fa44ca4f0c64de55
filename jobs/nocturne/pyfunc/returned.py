"""What a pyfunc model returned, whatever it is, as arrays: by name where it has names."""

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
    """The outputs [rows] or [rows, n]: a dict where they have names, else in their order.

    A frame and a dict name their outputs, as does a list of dicts. A tuple or list of arrays is
    several outputs, unless it has one for each row. Columns of a frame that are numbered (0 to
    n - 1, in any order) are the matrix that it was made of, if they have one type. A matrix is a
    vector a row; where ``outputs`` asks for as many values as it has columns, or these are of
    several kinds, it is those; and the columns of a classifier's probabilities are named by
    ``classes``. A Series or frame whose index numbers the rows goes by it.

    Args:
        before: what ``several`` said of what the model returned for other rows.

    Raises:
        ModelError: it is nothing that has a value a row, or can't be told apart.
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
    """Tensors and matrices as arrays, tables of Arrow and others as frames, in the rows' order."""
    if isinstance(value, np.matrix):
        return np.asarray(value)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return _in_order(value)
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu()
        return (value.float() if "float16" in str(value.dtype) else value).numpy()
    if hasattr(value, "to_arrow"):
        value = value.to_arrow()
    if isinstance(value, _ARROW):  # else integers beside a null become floats
        return value.to_pandas(integer_object_nulls=True)
    for name in ("toarray", "to_pandas", "numpy"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value


def _in_order(table: Any) -> Any:
    """By an index that is the rows' numbers in another order; any other says nothing of them."""
    index = table.index
    if index.is_monotonic_increasing or not pd.api.types.is_integer_dtype(index.dtype):
        return table
    if index.hasnans or not np.array_equal(index.sort_values(), np.arange(len(index))):
        return table
    return table.sort_index()


def several(result: Any, rows: int) -> bool | None:
    """Whether a list or tuple is one array an output, and not one a row.

    None: as many as rows can't be told from it.
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
    """Where it can't be told from it, what a trial found counts (it had more rows, and kept the
    outputs' places as their source), then what came for other rows.

    Raises:
        ModelError: nothing tells.
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
    """[rows, columns]; as objects where an integer would be rounded beside floats."""
    stacked = np.stack(columns, axis=1)
    if stacked.dtype.kind == "f" and any(map(_inexact, columns)):
        return np.stack([column.astype(object) for column in columns], axis=1)
    return stacked


def _inexact(column: Array) -> bool:
    """Whether it has integers that no float64 may hold."""
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
    """Whether the columns of a matrix are of several kinds: then they are no vector's values."""
    if values.dtype != object or any(o.length for o in outputs):
        return False
    return len({kind for column in values.T if (kind := _kind(column))}) > 1


def _kind(column: Array) -> str:
    """Of the first value that there is; of numbers one for all."""
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
        ModelError: it has none a row.
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
        _listed(list(values)) if isinstance(values, _LISTS) or values.dtype == object else values
    )
    # Of one row some models give its values alone.
    return array[None] if rows == 1 and array.ndim == 1 and len(array) > 1 else array


def _series(series: pd.Series[Any]) -> Array:
    """Without pandas' own types: null is None."""
    if isinstance(series.dtype, np.dtype):
        return np.asarray(series.to_numpy())
    if isinstance(series.dtype, (pd.CategoricalDtype, pd.DatetimeTZDtype, pd.SparseDtype)):
        series = series.astype(object)
    missing = series.isna()
    if missing.any():
        series = series.astype(object).where(~missing, None)
    return np.asarray(series.to_numpy())


def _listed(items: list[Any]) -> Array:
    """Values or vectors of one type as an array of it, others as objects."""
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
            return _objects(vectors)
        same = len({array.dtype.kind for array in arrays}) == 1
        return np.stack(arrays if same else [array.astype(object) for array in arrays])
    return _objects([None if item is pd.NA else item for item in items])


def _alike(items: list[Any]) -> Array:
    """Values of one type; as objects what NumPy would make of another: it has no such integers."""
    try:
        array = np.asarray(items)
    except OverflowError:
        return _objects(items)
    rounded = isinstance(items[0], int) and array.dtype.kind == "f"
    return array if array.dtype.kind in "biufM" and not rounded else _objects(items)


def _objects(items: list[Any]) -> Array:
    """Objects [rows], whatever they are."""
    objects = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        objects[place] = item
    return objects
