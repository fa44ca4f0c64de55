"""Checks whether the columns of a schema fit a model and its output, before a row is read.

The schema is that of Parquet footers, of Spark's frames, of the table for ``init``, or of the
training data. ``nocturne.fitting.roles`` decides for each type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import lake_type, normal_type, plain_type, published_type
from nocturne.columns.types import is_text
from nocturne.encoders import ENCODERS
from nocturne.encoding import MODEL_VERSION, Encoding
from nocturne.fitting.roles import AS_TEXT, Cast, Part, feature_cast, publishing, remedy

__all__ = ["absent", "casts", "check_columns", "check_output", "output_schema", "remedies"]


def _parts(encoding: Encoding) -> dict[str, list[Part]]:
    """The features that read each column."""
    by_column: dict[str, list[Part]] = {}
    for tensor, feature in encoding.features():
        by_column.setdefault(feature.column, []).append((tensor, feature))
    return by_column


def _how(column: str, type_: Any, input_cast: Mapping[str, str], cast_text: bool) -> str:
    text = cast_text and is_text(plain_type(normal_type(type_)))
    return input_cast.get(column, AS_TEXT if text else "")


def absent(schema: pa.Schema, column: str) -> str:
    """Why there is not exactly one column of this name; "" if there is."""
    count = len(schema.get_all_field_indices(column))
    if count == 1:
        return ""
    if not count:
        return f"column {column!r} is missing"
    return (
        f"column {column!r} is there {count} times; which one is meant? Have the file written "
        "with different names"
    )


def check_columns(
    encoding: Encoding,
    schema: pa.Schema,
    input_cast: Mapping[str, str] = {},
    *,
    cast_text: bool = False,
) -> list[str]:
    """The columns of ``schema`` that the encoding can't take, as text; empty if it takes them all.

    Narrowing that the spec declares (float64 to float32) is accepted. Text for a numeric feature
    (unless ``cast_text``) and a number for a vocabulary of words are problems.

    Args:
        input_cast: ``input.cast``, column -> target.
    """
    parts = _parts(encoding)
    problems = [
        f"column {name!r} of input.cast is none that the model reads; take it out"
        for name in input_cast
        if name not in parts
    ]
    for column, features in parts.items():
        if problem := absent(schema, column):
            needed = any(f.required or not ENCODERS[t.encoder].optional for t, f in features)
            if needed or column in schema.names:
                problems.append(problem)
            continue
        type_ = schema.field(column).type
        fit = feature_cast(features, type_, _how(column, type_, input_cast, cast_text))
        if isinstance(fit, str):
            problems.append(f"column {column!r} {fit}")
    return problems


def casts(
    encoding: Encoding,
    schema: pa.Schema,
    input_cast: Mapping[str, str] = {},
    *,
    cast_text: bool = True,
) -> dict[str, Cast]:
    """The columns of ``schema`` that are cast value by value, with their casts."""
    by_column: dict[str, Cast] = {}
    for column, features in _parts(encoding).items():
        if len(schema.get_all_field_indices(column)) != 1:
            continue
        type_ = schema.field(column).type
        cast = feature_cast(features, type_, _how(column, type_, input_cast, cast_text))
        if isinstance(cast, Cast):
            by_column[column] = cast
    return by_column


def remedies(encoding: Encoding, schema: pa.Schema) -> dict[str, str]:
    """Column -> a value of ``input.cast``, for columns that the model takes only after a cast."""
    by_column: dict[str, str] = {}
    for column, features in _parts(encoding).items():
        if len(schema.get_all_field_indices(column)) == 1:
            type_ = schema.field(column).type
            how = remedy(features, type_) if isinstance(feature_cast(features, type_), str) else ""
            by_column |= {column: how} if how else {}
    return by_column


def check_output(
    encoding: Encoding, schema: pa.Schema, columns: Sequence[str], unique: Sequence[str] = ()
) -> list[str]:
    """Why keys and passthrough ``columns`` of ``schema`` can't be published with the outputs.

    Args:
        unique: the columns that are checked for duplicates.
    """
    return list(_output_problems(encoding, schema, columns, unique))


def _output_problems(
    encoding: Encoding, schema: pa.Schema, columns: Sequence[str], unique: Sequence[str]
) -> Iterator[str]:
    written = {MODEL_VERSION, *(output.name for output in encoding.outputs)}
    for name in columns:
        if problem := absent(schema, name):
            is_duplicate = name in schema.names
            yield problem if is_duplicate else f"{problem} (output.keys or output.passthrough)"
        elif why := publishing(schema.field(name).type, unique=name in unique):
            yield f"column {name!r} {why}"
        if name in written:
            yield f"column {name!r} would be written twice: it is an output"


def output_schema(
    encoding: Encoding, source: pa.Schema, columns: Sequence[str], lake: bool = False
) -> pa.Schema:
    """The published schema: keys and passthrough ``columns``, outputs, and the model's version.

    Args:
        lake: whether it is for a lake table, which knows fewer types.
    """
    source_fields = [source.field(name) for name in columns]
    fields = [
        pa.field(field.name, published_type(field.type), field.nullable) for field in source_fields
    ]
    fields += [pa.field(output.name, output.arrow_type) for output in encoding.outputs]
    if lake:
        fields = [field.with_type(lake_type(field.type)) for field in fields]
    return pa.schema([*fields, pa.field(MODEL_VERSION, pa.int32())])
