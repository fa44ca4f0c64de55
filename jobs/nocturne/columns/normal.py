"""Normal types: the Arrow types that everything here computes with.

Parquet files may have types that Arrow's own functions do not support, or support badly. These are
converted when rows are read, and when a schema is checked, by the same rules:

    string_view, binary_view, list_view  ->  string, binary, list
    an extension type (uuid, json ...)   ->  its storage
    float16                              ->  float32, since arithmetic in float16 loses digits

Nothing is lost: ``published_type`` is the type with which a column is written again, and
``restored`` converts to it. Times in INT96 are read in microseconds (``reading.open_parquet``),
since nanoseconds can't hold years after 2262.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "COARSE",
    "FINE",
    "ParquetOnly",
    "is_list",
    "is_nested",
    "lake_type",
    "normal",
    "normal_schema",
    "normal_type",
    "packed",
    "packed_rows",
    "plain",
    "plain_type",
    "published_type",
    "relisted",
    "restored",
    "unpacked",
    "unpacked_rows",
    "with_types",
]


FINE, COARSE = pa.timestamp("ns"), pa.timestamp("us")
"""The units of times without a zone; times in INT96 are read in the second."""


class ParquetOnly(pa.ExtensionType):  # type: ignore[misc]
    """A type with what Arrow can read but not write, such as ENUM or INTERVAL."""

    def __init__(self, storage: pa.DataType, logical: str) -> None:
        self.logical = logical
        super().__init__(storage, "nocturne.parquet_only")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.logical.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> ParquetOnly:
        return cls(storage, serialized.decode())

    def __str__(self) -> str:
        return self.logical


def plain_type(type_: Any) -> Any:
    """The Arrow type; for a dictionary, the type of its values."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def plain(column: pa.Array) -> pa.Array:
    """The column; a dictionary is decoded."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def is_list(type_: Any) -> bool:
    """Whether it is a list, a list of a fixed size, or a list view."""
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
        or _is_list_view(type_)
    )


def is_nested(type_: Any) -> bool:
    """Whether its values contain other values: lists, structs and maps."""
    return bool(is_list(type_) or pa.types.is_struct(type_) or pa.types.is_map(type_))


def _is_list_view(type_: Any) -> bool:
    return bool(pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_))


_PLAIN = {
    pa.type_for_alias(name).id
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float32", "float64", "string", "binary", "date32", "timestamp[us]"),
    )
}
"""The types of most columns, as a shortcut: every column of every batch is checked."""


def normal_type(type_: Any) -> Any:
    """The normal type for ``type_``; a dictionary stays a dictionary."""
    return type_ if type_.id in _PLAIN else _mapped(type_, _computed)


def published_type(type_: Any) -> Any:
    """The type that a key or passthrough column of ``type_`` is written with."""
    if isinstance(type_, ParquetOnly):
        return published_type(type_.storage_type)
    return _mapped(plain_type(type_), _written)


def lake_type(type_: Any) -> Any:
    """The type by which a column of a published ``type_`` is written for a lake table.

    Readers compare the type that a file says with the table's, which knows one kind of list, of
    text and of binary, and of an instant no zone.
    """
    if pa.types.is_fixed_size_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(type_.value_field)
    if pa.types.is_timestamp(type_) and type_.tz:
        return pa.timestamp(type_.unit, "UTC")
    text = dict.fromkeys((pa.large_string(), pa.string_view()), pa.string())
    binary = dict.fromkeys((pa.large_binary(), pa.binary_view()), pa.binary())
    return (text | binary).get(type_, type_)


def normal_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with the normal types of its columns."""
    return pa.schema([field.with_type(normal_type(field.type)) for field in schema])


def packed(schema: pa.Schema) -> str:
    """A schema as text: base64 of its IPC form."""
    return b64encode(schema.serialize().to_pybytes()).decode()


def unpacked(text: str) -> pa.Schema:
    """The schema that was given to ``packed``; "" is a schema without columns."""
    return pa.ipc.read_schema(pa.py_buffer(b64decode(text))) if text else pa.schema([])


def packed_rows(rows: pa.RecordBatch | None) -> str:
    """A batch as text: base64 of its IPC form; "" for None."""
    if rows is None:
        return ""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return b64encode(sink.getvalue().to_pybytes()).decode()


def unpacked_rows(text: str) -> pa.RecordBatch | None:
    """The batch that was given to ``packed_rows``."""
    return pa.ipc.open_stream(b64decode(text)).read_next_batch() if text else None


def with_types(schema: pa.Schema, types: pa.Schema) -> pa.Schema:
    """The schema; a column without a type gets its type from ``types``, and so do times in
    nanoseconds that ``types`` has in microseconds.
    """

    def typed(field: pa.Field) -> pa.Field:
        if field.name not in types.names:
            return field
        planned = types.field(field.name)
        finer = field.type == FINE and planned.type == COARSE
        return planned if finer or pa.types.is_null(field.type) else field

    return pa.schema([typed(field) for field in schema])


_VIEWS = {
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
}


def _computed(type_: Any) -> Any:
    if isinstance(type_, pa.BaseExtensionType):
        return _mapped(type_.storage_type, _computed)
    if pa.types.is_float16(type_):
        return pa.float32()
    return _written(type_)


def _written(type_: Any) -> Any:
    return _VIEWS.get(type_, type_)


def _mapped(type_: Any, of: Callable[[Any], Any]) -> Any:
    """The type with ``of`` applied to it and to the types within it."""

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_mapped(field.type, of))

    if pa.types.is_dictionary(type_):
        values = _mapped(type_.value_type, of)
        return pa.dictionary(type_.index_type, values, type_.ordered)
    if pa.types.is_map(type_):
        return pa.map_(inner(type_.key_field), inner(type_.item_field), type_.keys_sorted)
    if pa.types.is_struct(type_):
        return pa.struct([inner(type_.field(i)) for i in range(type_.num_fields)])
    if pa.types.is_list(type_) or pa.types.is_list_view(type_):
        return pa.list_(inner(type_.value_field))
    if pa.types.is_large_list(type_) or pa.types.is_large_list_view(type_):
        return pa.large_list(inner(type_.value_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(inner(type_.value_field), type_.list_size)
    return of(type_)


def normal(data: Any, types: pa.Schema | None = None) -> Any:
    """A batch or a table with its columns in normal types.

    Args:
        types: types for columns that may have none, since all their values are null, or that may
            be in nanoseconds while other files have microseconds.

    Raises:
        pyarrow.ArrowInvalid: a time has digits beyond microseconds.
    """
    schema = data.schema if types is None or not len(types) else with_types(data.schema, types)
    current = [field.type for field in data.schema]
    targets = [normal_type(field.type) for field in schema]
    if current == targets:
        return data
    columns = [
        column if column.type == type_ else _each(column, type_, _normal)
        for column, type_ in zip(data.columns, targets, strict=True)
    ]
    return type(data).from_arrays(columns, names=schema.names)


def restored(batch: Any, schema: pa.Schema) -> Any:
    """A batch or a table with the columns of ``schema`` converted back to its types."""
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        at = schema.get_field_index(name)
        target = column.type if at < 0 else schema.field(at).type
        if plain_type(column.type) != target:
            column = _each(column, target, _restored)
        columns.append(column)
    return type(batch).from_arrays(columns, names=batch.schema.names)


def _each(column: Any, target: Any, make: Callable[[pa.Array, Any], pa.Array]) -> Any:
    """Applies ``make`` to an array, or to each chunk of a chunked array."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([make(chunk, target) for chunk in column.chunks], target)
    return make(column, target)


def _normal(column: pa.Array, target: Any) -> pa.Array:
    if isinstance(column.type, pa.BaseExtensionType):
        return _normal(column.storage, target)
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(
            column.indices, _normal(column.dictionary, target.value_type)
        )
    if _is_list_view(column.type):
        return relisted(column, target, _normal)
    if column.type == target:
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), target)
    if _has_list_view(column.type):
        return _within(column, target)
    return column.cast(target)


def _within(column: pa.Array, target: Any) -> pa.Array:
    """A nested column with normal types inside: Arrow can't cast nested views (25.0)."""
    gone = column.is_null()
    if pa.types.is_struct(target):
        fields = list(target)
        children = [_normal(column.field(i), f.type) for i, f in enumerate(fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=gone)
    if pa.types.is_map(target):
        offsets = pa.array(column.offsets.to_numpy())  # else a part of a column can't have a mask
        keys = _normal(column.keys, target.key_type)
        items = _normal(column.items, target.item_type)
        return pa.MapArray.from_arrays(offsets, keys, items, type=target, mask=gone)
    if pa.types.is_fixed_size_list(target):
        size = target.list_size
        held = column.values.slice(column.offset * size, len(column) * size)
        values = _normal(held, target.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=target, mask=gone)
    return relisted(column, target, _normal)


def relisted(column: pa.Array, target: Any, make: Callable[[pa.Array, Any], pa.Array]) -> pa.Array:
    """Lists of any kind as ``target``, a list of any length; ``make`` converts the items.

    Arrow's own cast makes an invalid array from views, and for a slice of a column it also casts
    the items outside of the slice (25.0).
    """
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    wide = np.int64 if pa.types.is_large_list(target) else np.int32
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(wide))
    values = make(column.flatten(), target.value_type)
    kind = pa.LargeListArray if pa.types.is_large_list(target) else pa.ListArray
    gone = column.is_null() if column.null_count else None
    return kind.from_arrays(offsets, values, type=target, mask=gone)


def _has_list_view(type_: Any) -> bool:
    if _is_list_view(type_):
        return True
    return any(_has_list_view(type_.field(i).type) for i in range(type_.num_fields))


def _restored(column: pa.Array, target: Any) -> pa.Array:
    column = plain(column)
    if pa.types.is_fixed_size_list(column.type) and pa.types.is_list(target):
        return relisted(column, target, _restored)
    if isinstance(target, pa.BaseExtensionType):
        stored = _restored(column, target.storage_type)
        return pa.ExtensionArray.from_storage(target, stored)
    return column if column.type == target else column.cast(target)
