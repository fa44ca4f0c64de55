"""What a pyfunc model returned, whatever it is, as arrays: by name where it has names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nocturne.encoding import OutputSpec
from nocturne.engine.model import Array, Raw
from nocturne.errors import ModelError

__all__ = ["arrays"]

_LISTS = (list, tuple)


def arrays(
    result: Any, rows: int, outputs: Sequence[OutputSpec] = (), classes: Sequence[str] = ()
) -> Raw:
    """The outputs [rows] or [rows, n]: a dict where they have names, else in their order.

    A frame and a dict name their outputs, as does a list of dicts. A tuple is several outputs, and
    so is a list of arrays, unless it has one for each row. Columns of a frame that are numbered are
    the matrix that it was made of, if they have one type. A matrix is a vector a row; where
    ``outputs`` asks for as many values as it has columns, it is those; and the columns of a
    classifier's probabilities are named by ``classes``.

    Raises:
        ModelError: it is nothing that has a value a row.
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
        return {str(name): _column(values, rows) for name, values in result.items()}
    if isinstance(result, _LISTS) and _several(result, rows, outputs):
        return {str(place): _column(values, rows) for place, values in enumerate(result)}
    return _matrix(_column(result, rows), outputs, classes)


def _plain(value: Any) -> Any:
    """Tensors and sparse matrices as arrays, tables of Arrow and others as frames."""
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu()
        return (value.float() if "float16" in str(value.dtype) else value).numpy()
    for name in ("toarray", "to_pandas", "numpy"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value


def _several(result: Sequence[Any], rows: int, outputs: Sequence[OutputSpec]) -> bool:
    """Whether it is one array an output, and not one a row.

    As many outputs as rows can't be told from it: what a trial found then counts (it had more
    rows, and kept the outputs' places as their source).
    """
    items = [_plain(item) for item in result]
    listed = (isinstance(i, (pd.Series, *_LISTS)) or np.shape(i) != () for i in items)
    if not all(listed) or not all(len(item) == rows for item in items):
        return False
    if len(items) == rows:
        return isinstance(result, tuple) or any(o.source.isdigit() for o in outputs)
    return True


def _frame(frame: pd.DataFrame, outputs: Sequence[OutputSpec], classes: Sequence[str]) -> Raw:
    labels = list(frame.columns)
    columns = [_column(frame.iloc[:, place], len(frame)) for place in range(len(labels))]
    if all(isinstance(label, (int, np.integer)) for label in labels):
        if len({c.dtype for c in columns}) == 1 and columns[0].dtype != object:
            return _matrix(np.stack(columns, axis=1), outputs, classes)
        return columns
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ModelError(
            f"the model returned a frame with more than one column of the name {', '.join(twice)}; "
            "expected each once"
        )
    return dict(zip(names, columns, strict=True))


def _matrix(values: Array, outputs: Sequence[OutputSpec], classes: Sequence[str]) -> Raw:
    width = values.shape[1] if values.ndim == 2 else 1
    if width > 1 and len(classes) == width:
        return {name: values[:, place] for place, name in enumerate(classes)}
    if width > 1 and len(outputs) == width and not any(o.length for o in outputs):
        return [values[:, place] for place in range(width)]
    return [values]


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
    if isinstance(values, np.ma.MaskedArray):
        hidden, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[hidden] = None
    if np.ndim(values) == 0 if isinstance(values, np.ndarray) else not isinstance(values, _LISTS):
        if rows != 1:
            said = str(values) if values is None else type(values).__name__
            raise ModelError(
                f"the model returned one {said} for {rows} rows; expected a value a row: an array, "
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
    items = [_plain(item) for item in items]
    if any(isinstance(item, (np.ndarray, *_LISTS)) for item in items):
        vectors = [np.asarray(i) if isinstance(i, (np.ndarray, *_LISTS)) else i for i in items]
        arrays = [vector for vector in vectors if isinstance(vector, np.ndarray)]
        kinds = {array.dtype.kind for array in arrays}
        even = len(arrays) == len(items) and len({array.shape for array in arrays}) == 1
        return (
            np.stack(arrays)
            if even and (len(kinds) == 1 or kinds <= {*"iuf"})
            else _objects(vectors)
        )
    types = set(map(type, items))
    if len(types) == 1 and issubclass(next(iter(types)), (bool, int, float, np.generic)):
        try:
            found = np.asarray(items)
        except OverflowError:
            return _objects(items)
        return found if found.dtype.kind in "biufM" else _objects(items)
    return _objects([None if item is pd.NA else item for item in items])


def _objects(items: list[Any]) -> Array:
    """Objects [rows], whatever they are."""
    found = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        found[place] = item
    return found
