"""Columns become tensors: one function an encoder, without a loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.normal import plain
from nocturne.engine.cast import cast_column
from nocturne.engine.refused import ARRAY_OF, WHOLE_NUMBERS, lacking_lists
from nocturne.errors import InputError
from nocturne.hiding import said_by
from nocturne.model.encoding import FRAME_TYPES, WHOLE, Encoding, Feature, TensorSpec

__all__ = ["ENCODERS", "Encoded", "encode", "rows"]

Array = NDArray[np.generic]
Encoded = list["Array | pa.RecordBatch"]


_BLOCK = 2048
"""Rows that are put side by side at once: so many stay in a core's cache. One thread, 20 columns
of float32, us a row: .028 to .042; column by column over 65,536 rows .041, over 262,144 .118."""


def _side_by_side(columns: Sequence[Array], rows: int, dtype: str) -> Array:
    """[rows, columns]. Blocks of rows, each column by column: side by side, columns whose
    distance is a power of two would put each other out of the cache.
    """
    out = np.empty((rows, len(columns)), dtype=dtype)
    for start in range(0, rows, _BLOCK):
        block = out[start : start + _BLOCK]
        for position, column in enumerate(columns):
            block[:, position] = column[start : start + _BLOCK]
    return out


def _numeric(batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
    """[rows, features]; null and NaN become the fill, then (x - center) / scale."""
    value = _integer if tensor.dtype in WHOLE else _floating
    dtype = np.dtype(tensor.dtype)
    columns = [value(plain(batch.column(f.column)), f, dtype) for f in tensor.features]
    return _side_by_side(columns, batch.num_rows, tensor.dtype)


def _integer(column: pa.Array, feature: Feature, _: np.dtype[np.generic]) -> Array:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    filled = column.fill_null(int(feature.fill or 0))  # without a fill: see ``refused``
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _floating(column: pa.Array, feature: Feature, dtype: np.dtype[np.generic]) -> Array:
    """The column's own memory where nothing is to be done to it."""
    # Python's floats: a whole number would take the column's width, and wrap in it.
    fill = np.nan if feature.fill is None else float(feature.fill)
    center, scale = float(feature.center), float(feature.scale)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = column.to_numpy(zero_copy_only=False)
    if np.issubdtype(values.dtype, np.floating):
        missing = np.isnan(values)
        if missing.any():
            values = np.where(missing, values.dtype.type(fill), values)
        elif values.dtype == dtype and center == 0 and scale == 1:
            return np.asarray(values)
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite
        if center != 0 or scale != 1:
            values = (values - center) / scale
        return np.asarray(values.astype(dtype, copy=False))


def _category(batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
    """[rows, features]: positions in the vocabulary, ``unknown`` for the rest."""
    columns = []
    for feature in tensor.features:
        column = batch.column(feature.column)
        if pa.types.is_dictionary(column.type):  # each word is looked up once, not once a row
            index = _positions(column.dictionary, feature).take(column.indices)
        else:
            index = _positions(column, feature)
        columns.append(index.fill_null(feature.unknown).to_numpy(zero_copy_only=False))
    return _side_by_side(columns, batch.num_rows, tensor.dtype)


def _positions(column: pa.Array, feature: Feature) -> pa.Array:
    """Positions in the vocabulary [n]; null where there is none."""
    known = pa.array(feature.vocabulary)
    return pc.index_in(
        column.cast(known.type) if column.type != known.type else column, value_set=known
    )


def _list(batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
    """[rows, length]: lists cut at ``length`` and padded with ``pad``, as is a null item."""
    feature: Feature = tensor.features[0]
    missing = 0.0 if tensor.dtype in WHOLE else np.nan  # see ``refused``
    pad = missing if feature.pad is None else feature.pad
    column = plain(batch.column(feature.column))
    count, length = batch.num_rows, feature.length
    flat = pc.list_flatten(column).cast(pa.from_numpy_dtype(np.dtype(tensor.dtype)), safe=False)
    if flat.null_count:
        flat = flat.fill_null(pa.scalar(pad).cast(flat.type, safe=False))
    values = flat.to_numpy(zero_copy_only=False)
    lengths = _lengths(column)
    if len(values) == count * length and bool((lengths == length).all()):
        return np.asarray(values.reshape(count, length))  # nothing to cut or pad: no copy
    taken = np.minimum(lengths, length)
    starts = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(count), taken)
    item = np.arange(len(row)) - np.repeat(np.cumsum(taken) - taken, taken)
    out = np.full((count, length), pad, dtype=tensor.dtype)
    out[row, item] = values[starts[row] + item]
    return out


def _lengths(column: pa.Array) -> NDArray[np.int64]:
    """Items of each list [rows]; 0 for null."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(lengths.astype(np.int64))


def _mask(batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
    """[rows, length]: 1 for an item of the list, 0 for padding (a model's attention mask)."""
    feature: Feature = tensor.features[0]
    lengths = _lengths(plain(batch.column(feature.column)))
    return (np.arange(feature.length) < lengths[:, None]).astype(tensor.dtype)


def _text(batch: pa.RecordBatch, tensor: TensorSpec) -> Array:
    """[rows, features]: words; of ``str`` a null is an empty one (see ``refused``)."""
    columns = [plain(batch.column(f.column)) for f in tensor.features]
    words = [c.fill_null("") if tensor.dtype == "str" else c for c in columns]
    arrays = [column.to_numpy(zero_copy_only=False) for column in words]
    return np.stack(arrays, axis=1).astype(tensor.dtype)


def _frame(batch: pa.RecordBatch, tensor: TensorSpec) -> pa.RecordBatch:
    """The columns that are there, cast to the types that the model's signature names.

    A null that the model can't take is a zero here, or the list of another row: such a row is
    ``refused``.
    """
    arrays, names = [], []
    for feature in tensor.features:
        if batch.schema.get_field_index(feature.column) < 0:
            continue
        column = _framed(plain(batch.column(feature.column)), feature)
        if feature.required and feature.type in WHOLE_NUMBERS and column.null_count:
            column = column.fill_null(pa.scalar(0).cast(column.type))
        if (
            feature.type.startswith(ARRAY_OF)
            and (bad := lacking_lists(column, feature)) is not None
        ):
            column = _with_another(column, bad)
        arrays.append(column)
        names.append(feature.column)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _with_another(column: pa.Array, bad: pa.Array) -> pa.Array:
    """A column whose bad rows, unless all are bad, have the value of the first that is not."""
    bad = bad.to_numpy(zero_copy_only=False)
    return column.take(pa.array(np.where(bad, np.argmin(bad), np.arange(len(bad)))))


def _framed(column: pa.Array, feature: Feature) -> pa.Array:
    wanted = FRAME_TYPES[feature.type]
    try:
        return column if column.type == wanted else cast_column(column, wanted)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {feature.column!r} is {column.type}, the model wants {wanted}, and a value "
            f"would not survive: {said_by(error)}. Log the model with a signature of that type, or "
            "correct the data",
            column=feature.column,
        ) from None


ENCODERS: dict[str, Callable[[pa.RecordBatch, TensorSpec], Array | pa.RecordBatch]] = {
    "numeric": _numeric,
    "category": _category,
    "list": _list,
    "mask": _mask,
    "text": _text,
    "frame": _frame,
}


def encode(batch: pa.RecordBatch, encoding: Encoding) -> Encoded:
    """The model's arguments for a batch, in order: arrays [rows, ...], or one frame.

    An array may share its memory with the batch: it is read, never written.
    """
    made = [ENCODERS[tensor.encoder](batch, tensor) for tensor in encoding.inputs]
    return [
        array if tensor.shape is None else array.reshape(batch.num_rows, *tensor.shape)
        for array, tensor in zip(made, encoding.inputs, strict=True)
    ]


def rows(encoded: Encoded, start: int, stop: int, size: int) -> Encoded:
    """Rows ``start`` to ``stop``: arrays padded to ``size`` by repeating the last of them.

    A compiled graph then always sees the same shape, so that a row's bits do not depend on how
    many rows came with it. A frame is never padded.
    """
    index = np.minimum(np.arange(start, start + size), stop - 1) if stop - start < size else None
    return [
        item.slice(start, stop - start)
        if isinstance(item, pa.RecordBatch)
        else (item[start:stop] if index is None else item[index])
        for item in encoded
    ]
