"""Whether scores can be published into a Delta table: its features, and the types of columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nocturne.records.partition import Partition
from nocturne.table_formats.delta.library import library
from nocturne.table_formats.lake import Column, column_problems, is_date

if TYPE_CHECKING:
    from nocturne.table_formats.delta.snapshot import DeltaSnapshot

__all__ = [
    "delta_type",
    "feature_problems",
    "new_schema",
    "reading_problems",
    "retention",
    "schema_problems",
]

_READER = {"timestampNtz", "columnMapping"}
_WRITER = _READER | {
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "generatedColumns",
    "invariants",
}
"""Features that a table may have: ``_active`` says which of them it may not use."""

_ACTIVE = {
    "delta.appendOnly": "rows may only be added",
    "delta.enableChangeDataFeed": "it wants each changed row in a change data feed",
    "delta.enableDeletionVectors": "rows may be removed without their files",
    "delta.enableRowTracking": "each row has an id",
}
_FIELD = ("delta.invariants", "delta.generationExpression", "delta.identity.start")
_OLD_WRITER, _OLD_READER = 6, 2
"""The last protocol versions that have no list of features."""

_UNITS = {"week": 7 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1}
_RETENTION = 7 * 86400.0


def feature_problems(snapshot: DeltaSnapshot) -> Iterator[str]:
    """What the table asks of its writers, or of its readers, that we don't do."""
    yield from reading_problems(snapshot)
    protocol, settings = snapshot.table.protocol(), snapshot.configuration
    if protocol.min_writer_version > _OLD_WRITER:
        readers = set(protocol.reader_features or ())
        for name in sorted(set(protocol.writer_features or ()) - _WRITER - readers):
            yield f"it has the feature {name}"
    for name, why in _ACTIVE.items():
        if settings.get(name, "false").lower() == "true":
            yield f"{name} is set: {why}"
    for name in sorted(settings):
        if name.startswith("delta.constraints."):
            yield f"{name} is set: each row would have to be checked"
    for field in snapshot.table.schema().fields:
        for name in _FIELD:
            if f'"{name}"' in field.to_json():  # also deep in a nested column
                yield f"column {field.name!r} has {name}"


def reading_problems(snapshot: DeltaSnapshot) -> Iterator[str]:
    """Features of the table that change what its files say to readers."""
    protocol, settings = snapshot.table.protocol(), snapshot.configuration
    if protocol.min_reader_version > _OLD_READER:
        for name in sorted(set(protocol.reader_features or ()) - _READER):
            yield f"it has the feature {name}"
    if settings.get("delta.columnMapping.mode", "none").lower() != "none":
        yield "delta.columnMapping.mode is set: columns have other names in its files"


def schema_problems(snapshot: DeltaSnapshot, schema: pa.Schema, *, whole: bool) -> Iterator[str]:
    """Differences between the columns of the scores and the table's.

    Args:
        schema: of the published files, in types that Delta has.
        whole: as ``column_problems`` has it.
    """
    there = {f.name: Column(_text(f), f.nullable) for f in snapshot.table.schema().fields}
    types = [field.with_type(delta_type(field.type)) for field in schema]
    fields = library().Schema.from_arrow(pa.schema(types)).fields
    ours = {f.name: Column(_text(f), schema.field(f.name).nullable) for f in fields}
    return column_problems(there, ours, snapshot.columns, whole=whole)


def new_schema(schema: pa.Schema, partition: Partition) -> pa.Schema:
    """The schema of a table that is made for scores: their columns, and those of the partition.

    A partition column is a date if its value is one (2013-04-01), else text.
    """
    names = dict(partition.keys)
    fields = [field.with_type(delta_type(field.type)) for field in schema]
    return pa.schema(
        [
            *(field.with_nullable(True) for field in fields if field.name not in names),
            *(
                pa.field(name, pa.date32() if is_date(value) else pa.string())
                for name, value in names.items()
            ),
        ]
    )


def retention(settings: Mapping[str, str]) -> float:
    """Seconds for which the table promises replaced files to its readers; infinite if unknown."""
    text = settings.get("delta.deletedFileRetentionDuration")
    if text is None:
        return _RETENTION
    parts = re.findall(r"(\d+) (week|day|hour|minute|second)s?", text)
    if re.sub(r"interval|\s|\d+ (week|day|hour|minute|second)s?", "", text) or not parts:
        return float("inf")
    return float(sum(int(count) * _UNITS[unit] for count, unit in parts))


def _text(field: Any) -> str:
    """The type of a field of a Delta schema, as text."""
    type_ = json.loads(field.to_json())["type"]
    return type_ if isinstance(type_, str) else json.dumps(type_)


_SAME = (
    *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()),
    *(pa.string(), pa.binary(), pa.date32()),
)


def delta_type(type_: pa.DataType) -> pa.DataType | None:
    """The type with which Delta's readers find the values of a Parquet file right; None: none.

    Delta's times are in microseconds, and of an instant it does not keep the zone.
    """
    if type_ in _SAME or pa.types.is_decimal128(type_):
        return type_
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_):
        return pa.binary()
    if pa.types.is_timestamp(type_) and type_.unit == "us":
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if pa.types.is_struct(type_):
        inner = [(field.name, delta_type(field.type)) for field in type_]
        return None if any(t is None for _, t in inner) else pa.struct(inner)
    if pa.types.is_map(type_):
        key, item = delta_type(type_.key_type), delta_type(type_.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        element = delta_type(type_.value_type)
        return None if element is None else pa.list_(element)
    return None
