"""The types of columns in Iceberg, and whether a table's features and columns fit the scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from nocturne.records.partition import Partition
from nocturne.table_formats.lake import Column, column_problems, is_date

__all__ = [
    "MAPPING",
    "feature_problems",
    "has_type",
    "iceberg_types",
    "mapping",
    "new_table",
    "schema_problems",
]

_VERSION = 2
"""The format version that is written; 1 has no order of commits, 3 wants an id of each row."""
MAPPING = "schema.name-mapping.default"


def feature_problems(metadata: Any) -> Iterator[str]:
    """What a table asks of its writers that we don't do.

    Args:
        metadata: ``pyiceberg.table.metadata.TableMetadata``.
    """
    if metadata.format_version != _VERSION:
        yield f"it has format-version {metadata.format_version}, expected {_VERSION}"
    for name in ("encryption.key-id", "write.wap.enabled"):
        if metadata.properties.get(name, "false").lower() != "false":
            yield f"{name} is set"


def schema_problems(metadata: Any, schema: pa.Schema, *, whole: bool) -> Iterator[str]:
    """Differences between the columns of the scores and the table's.

    Args:
        schema: of the published files, in types that Iceberg has.
        whole: as ``column_problems`` has it.
    """
    theirs = metadata.schema()
    there = {f.name: Column(_text(f.field_type), not f.required) for f in theirs.fields}
    ids = count(1)
    ours = {f.name: Column(_text(_type(f.type, ids)), f.nullable) for f in schema}
    found = []
    for field in metadata.spec().fields:
        name = theirs.find_column_name(field.source_id)
        if name not in ours and not there.pop(name).nullable:
            found.append(
                f"its partition column {name!r} is NOT NULL, and readers want such a column in the "
                f"files, which have none (ALTER TABLE ... ALTER COLUMN {name} DROP NOT NULL)"
            )
    found += column_problems(there, ours, whole=whole)
    yield from found
    if not found:
        yield from _mapping_problems(metadata, list(ours))


def _mapping_problems(metadata: Any, names: Sequence[str]) -> Iterator[str]:
    """Our files have no ids of their columns: readers find them by the table's mapping."""
    try:
        known = metadata.name_mapping()
    except ValueError:
        yield f"its property {MAPPING} is no name mapping (JSON)"
        return
    for right in metadata.schema().name_mapping if known is not None else ():
        for name in set(right.names) & set(names):
            if not _maps(known, right):
                yield f"its property {MAPPING} does not give the ids of the column {name!r}"


def _maps(known: Iterable[Any], right: Any) -> bool:
    """Whether a mapping has a field, and those within it, as the schema has them."""
    for field in known:
        if right.names[0] in field.names:
            return field.field_id == right.field_id and all(
                _maps(field.fields, inner) for inner in right.fields
            )
    return False


def mapping(metadata: Any) -> dict[str, str]:
    """The property by which readers find columns of files without ids, if it must be set."""
    if MAPPING in metadata.properties:
        return {}
    return {MAPPING: metadata.schema().name_mapping.model_dump_json()}


def new_table(schema: pa.Schema, partition: Partition) -> dict[str, Any]:
    """How a table is made for scores: their columns, and those of the partition.

    A partition column is a date if its value is one (2013-04-01), else text.

    Returns:
        Arguments of pyiceberg's ``create_table``.
    """
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.transforms import IdentityTransform
    from pyiceberg.types import DateType, NestedField, StringType

    keys, ids = dict(partition.keys), count(1)
    fields = [
        NestedField(next(ids), field.name, _type(field.type, ids), required=False)
        for field in schema
        if field.name not in keys
    ]
    parts = [
        NestedField(next(ids), name, DateType() if is_date(value) else StringType())
        for name, value in keys.items()
    ]
    spec = [
        PartitionField(field.field_id, 1000 + at, IdentityTransform(), field.name)
        for at, field in enumerate(parts)
    ]
    return {
        "schema": Schema(*fields, *parts),
        "partition_spec": PartitionSpec(*spec),
        "properties": {
            "format-version": str(_VERSION),
            # Else each commit leaves a copy of all that is known of the table.
            "write.metadata.delete-after-commit.enabled": "true",
        },
    }


def iceberg_types(fields: Iterable[pa.Field]) -> dict[str, Any]:
    """The types of columns in Iceberg. Raises: TypeError if there is none."""
    ids = count(1)
    return {field.name: _type(field.type, ids) for field in fields}


def has_type(type_: pa.DataType) -> bool:
    """Whether Iceberg's readers find such values of a Parquet file right."""
    try:
        return _type(type_, count(1)) is not None
    except TypeError:
        return False


def _type(type_: pa.DataType, ids: Iterator[int]) -> Any:
    """The type in Iceberg.

    Scans fail on files whose own types say something else: another zone, large text, fixed lists.

    Args:
        ids: gives the ids of nested fields.

    Raises:
        TypeError: there is none.
    """
    from pyiceberg import types as ice

    same = {
        pa.bool_(): ice.BooleanType,
        pa.int8(): ice.IntegerType,
        pa.int16(): ice.IntegerType,
        pa.int32(): ice.IntegerType,
        pa.int64(): ice.LongType,
        pa.float32(): ice.FloatType,
        pa.float64(): ice.DoubleType,
        pa.string(): ice.StringType,
        pa.binary(): ice.BinaryType,
        pa.date32(): ice.DateType,
        pa.time64("us"): ice.TimeType,
        pa.timestamp("us"): ice.TimestampType,
        pa.timestamp("us", "UTC"): ice.TimestamptzType,
    }
    if type_ in same:
        return same[type_]()
    if pa.types.is_decimal128(type_):
        return ice.DecimalType(type_.precision, type_.scale)
    if pa.types.is_struct(type_):
        return ice.StructType(
            *(ice.NestedField(next(ids), f.name, _type(f.type, ids), required=False) for f in type_)
        )
    if pa.types.is_map(type_):
        key, item = _type(type_.key_type, ids), _type(type_.item_type, ids)
        return ice.MapType(next(ids), key, next(ids), item, value_required=False)
    if pa.types.is_list(type_):
        element = _type(type_.value_type, ids)
        return ice.ListType(next(ids), element, element_required=False)
    raise TypeError(str(type_))


def _text(type_: Any) -> str:
    """A type as text, without the ids of nested fields."""
    if type_.is_primitive:
        return str(type_)
    if hasattr(type_, "element_type"):
        return f"list<{_of(type_.element_type, type_.element_required)}>"
    if hasattr(type_, "key_type"):
        value = _of(type_.value_type, type_.value_required)
        return f"map<{_text(type_.key_type)}, {value}>"
    fields = (f"{f.name}: {_of(f.field_type, f.required)}" for f in type_.fields)
    return f"struct<{', '.join(fields)}>"


def _of(type_: Any, required: bool) -> str:
    return _text(type_) + (" not null" if required else "")
