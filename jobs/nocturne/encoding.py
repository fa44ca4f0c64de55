"""The encoding spec: which columns become which tensors. It is data, logged with the model.

A *tensor* has a name (the order is the order of the model's arguments), a dtype, an
encoder, and the features that fill it, one column of the tensor each:

    numeric   null and NaN become ``fill``, then (x - center) / scale
    category  position in ``vocabulary``; anything else, and null, becomes ``unknown``
    list      one feature; ``length`` items a row, cut or padded with ``pad``
    mask      one feature, a list too: 1 where ``list`` has an item, 0 where it has padding
    frame     the columns as they are, cast to ``type``: what a pyfunc model takes

The *outputs* are the prediction columns, each made from one of the model's outputs by a
post-processing:

    none, sigmoid   value by value; with ``length``, a vector of so many values
    softmax         over the classes: a vector of ``length`` probabilities
    argmax          the index of the largest of the classes, or its name in ``labels``
    top_k           the ``length`` largest classes, best first: indices, or names in ``labels``
    top_k_values    their softmax probabilities, in the same order
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from nocturne.errors import ModelError
from nocturne.records import dump, load

__all__ = [
    "ENCODING_FILE",
    "FRAME_TYPES",
    "MODEL_VERSION",
    "Encoding",
    "Feature",
    "OutputSpec",
    "TensorSpec",
    "check_columns",
    "check_output",
    "is_text",
    "output_schema",
    "plain",
    "plain_type",
    "text_as_numbers",
    "to_cast",
]

ENCODING_FILE = "encoding.json"
MODEL_VERSION = "model_version"
"""The published column that says which version of the model scored a row."""

Dtype = Literal["float32", "float64", "int64", "int32", "frame"]

FRAME_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("ns"),
}
"""Arrow types of the names that an MLflow signature uses."""


@dataclass(frozen=True)
class Feature:
    """One input column and how its values are encoded."""

    column: str
    fill: float = 0.0
    center: float = 0.0
    scale: float = 1.0
    vocabulary: tuple[str | int, ...] = ()
    unknown: int = 0
    length: int = 0
    pad: float = 0.0
    type: str = ""
    required: bool = True


@dataclass(frozen=True)
class TensorSpec:
    """One argument of the model: [rows, features], or [rows, length] for a list."""

    name: str
    dtype: Dtype
    encoder: Literal["numeric", "category", "list", "mask", "frame"]
    features: tuple[Feature, ...]


@dataclass(frozen=True)
class OutputSpec:
    """One prediction column: its name, its post-processing, its Arrow type.

    ``source`` is the model's output that it is made from: a name, or a position as text.
    Empty: the output of the same name if the model names its outputs, else the one at the
    column's own position. ``length``: 0 for one value a row, else a vector of that many.
    """

    name: str
    post: Literal["none", "sigmoid", "softmax", "argmax", "top_k", "top_k_values"] = "none"
    type: Literal["float32", "float64", "int64", "bool", "string"] = "float32"
    source: str = ""
    length: int = 0
    labels: tuple[str, ...] = ()

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type: ``type``, or a fixed-size list of it."""
        value = pa.type_for_alias(self.type)
        return pa.list_(value, self.length) if self.length else value

    def problem(self) -> str:
        """What contradicts itself in this spec, in words; empty if nothing does."""
        vector = self.post in ("softmax", "top_k", "top_k_values")
        classes = self.post in ("argmax", "top_k")
        if vector and self.length < 1:
            return f"{self.post} needs a length of at least 1"
        if self.post == "argmax" and self.length:
            return "argmax gives one value a row, so it takes no length"
        if self.labels and not classes:
            return f"labels belong to argmax or top_k, not to {self.post}"
        if classes and self.type != ("string" if self.labels else "int64"):
            wanted = "string, the labels'" if self.labels else "int64, an index"
            return f"{self.post} has the type {self.type}, expected {wanted}"
        if not classes and self.post != "none" and self.type not in ("float32", "float64"):
            return f"{self.post} has the type {self.type}, expected float32 or float64"
        return ""


@dataclass(frozen=True)
class Encoding:
    """What the model takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]

    def features(self) -> Iterator[tuple[TensorSpec, Feature]]:
        """Every feature with the tensor it goes to."""
        for tensor in self.inputs:
            for feature in tensor.features:
                yield tensor, feature

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns, each once, in the order of first use."""
        return tuple(dict.fromkeys(feature.column for _, feature in self.features()))

    @property
    def row_bytes(self) -> int:
        """Bytes of one encoded row: what the batch and the micro-batch are sized by."""
        total = 0
        for tensor, feature in self.features():
            item = 4 if tensor.dtype in ("float32", "int32") else 8
            total += item * max(1, feature.length)
        return max(1, total)

    def to_json(self) -> str:
        return dump(self)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> Encoding:
        """The encoding that a run's ``encoding`` holds."""
        return load(Encoding, json.dumps(stored), "run.json: encoding")

    @staticmethod
    def from_json(text: str | bytes, source: str = ENCODING_FILE) -> Encoding:
        """Raises: ModelError if the text is no encoding spec, or contradicts itself."""
        try:
            encoding = load(Encoding, text, source)
        except Exception as error:
            raise ModelError(f"the model's encoding spec can't be read: {error}") from None
        for tensor, feature in encoding.features():
            if tensor.encoder == "category" and not feature.vocabulary:
                raise ModelError(
                    f"{source}: input {tensor.name!r}, column {feature.column!r}: a category "
                    "needs a vocabulary; log the model again with one"
                )
            if tensor.encoder in ("list", "mask") and (
                feature.length < 1 or len(tensor.features) != 1
            ):
                raise ModelError(
                    f"{source}: input {tensor.name!r}: a {tensor.encoder} tensor takes one feature "
                    "with a length of at least 1"
                )
        for output in encoding.outputs:
            if problem := output.problem():
                raise ModelError(f"{source}: output {output.name!r}: {problem}")
        return encoding


def is_text(type_: pa.DataType) -> bool:
    """Whether it is a string of either width."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _is_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    )


def _fits_integer(actual: pa.DataType, wanted: pa.DataType) -> bool:
    if not pa.types.is_integer(actual):
        return False
    if pa.types.is_unsigned_integer(actual):
        return bool(actual.bit_width < wanted.bit_width)
    return bool(actual.bit_width <= wanted.bit_width)


def _fits_frame(actual: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_floating(wanted):
        return _is_number(actual)
    if pa.types.is_integer(wanted):
        return _fits_integer(actual, wanted)
    if pa.types.is_string(wanted):
        return is_text(actual)
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_temporal(actual))
    return bool(actual == wanted)


def _expected(tensor: TensorSpec, feature: Feature, actual: Any) -> tuple[bool, str]:
    """Whether the feature's encoder takes the type ``actual``, and what it wants instead."""
    if tensor.encoder == "numeric":
        if tensor.dtype.startswith("int"):
            wanted = pa.type_for_alias(tensor.dtype)
            fits = pa.types.is_boolean(actual) or _fits_integer(actual, wanted)
            return bool(fits), f"an integer ({tensor.dtype})"
        return _is_number(actual), f"a number ({tensor.dtype})"
    if tensor.encoder == "category":
        if isinstance(feature.vocabulary[0], str):
            return is_text(actual), "a string"
        return bool(pa.types.is_integer(actual)), "an integer"
    if tensor.encoder == "frame":
        return _fits_frame(actual, FRAME_TYPES[feature.type]), feature.type
    is_list = (
        pa.types.is_list(actual)
        or pa.types.is_large_list(actual)
        or pa.types.is_fixed_size_list(actual)
    )
    return bool(is_list and _is_number(actual.value_type)), "a list of numbers"


def plain_type(type_: Any) -> Any:
    """A column's Arrow type; of a dictionary that of its values."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def plain(column: pa.Array) -> pa.Array:
    """A column; of a dictionary its values, row by row."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def check_columns(encoding: Encoding, schema: pa.Schema, *, cast_text: bool = False) -> list[str]:
    """What in ``schema`` the encoding can't take, in words; empty if all is well.

    Narrowing that the spec declares (float64 to float32) is no loss; text for a numeric
    feature (unless ``cast_text``), or a number for a vocabulary of words, is.
    """
    problems = []
    if cast_text:
        schema = text_as_numbers(encoding, schema)
    for tensor, feature in encoding.features():
        position = schema.get_field_index(feature.column)
        if position < 0:
            if feature.required or tensor.encoder != "frame":
                problems.append(f"column {feature.column!r} is missing")
            continue
        actual = plain_type(schema.field(position).type)
        fits, wanted = _expected(tensor, feature, actual)
        if not fits:
            hint = ""
            if is_text(actual) and _number_of(tensor, feature) is not None and not cast_text:
                hint = " (input.cast_text: true reads text as numbers)"
            problems.append(
                f"column {feature.column!r} is {actual}, the model wants {wanted}{hint}"
            )
    return list(dict.fromkeys(problems))


def text_as_numbers(encoding: Encoding, schema: pa.Schema) -> pa.Schema:
    """The schema with each column of text as the numbers that all its features want of it."""
    wanted: dict[str, set[pa.DataType]] = {}
    for tensor, feature in encoding.features():
        wanted.setdefault(feature.column, set()).add(_number_of(tensor, feature))
    fields = []
    for field in schema:
        types = wanted.get(field.name, set())
        number = next(iter(types)) if len(types) == 1 and is_text(plain_type(field.type)) else None
        fields.append(field if number is None else field.with_type(number))
    return pa.schema(fields)


def _number_of(tensor: TensorSpec, feature: Feature) -> pa.DataType | None:
    """What text is read as for a feature; None if it wants no number."""
    if tensor.encoder == "numeric":
        return pa.type_for_alias(tensor.dtype if tensor.dtype.startswith("int") else "float64")
    if tensor.encoder == "category" and isinstance(feature.vocabulary[0], int):
        return pa.int64()
    if tensor.encoder == "frame" and feature.type in ("integer", "long", "float", "double"):
        return FRAME_TYPES[feature.type]
    return None


def to_cast(encoding: Encoding, schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns of ``schema`` that are cast value by value, and to what."""
    found = {
        field.name: number.type
        for field, number in zip(schema, text_as_numbers(encoding, schema), strict=True)
        if field.type != number.type
    }
    for tensor, feature in encoding.features():
        position = schema.get_field_index(feature.column)
        if tensor.encoder == "frame" and position >= 0:
            wanted = FRAME_TYPES[feature.type]
            if plain_type(schema.field(position).type) != wanted:
                found[feature.column] = wanted
    return found


def check_output(encoding: Encoding, schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """Why keys and passthrough ``columns`` of ``schema`` can't stand beside the outputs."""
    missing = [f"column {name!r} is missing (output.keys or output.passthrough)"
               for name in columns if schema.get_field_index(name) < 0]  # fmt: skip
    written = {MODEL_VERSION, *(output.name for output in encoding.outputs)}
    return missing + [f"column {name!r} would be written twice: it is an output"
                      for name in columns if name in written]  # fmt: skip


def output_schema(encoding: Encoding, source: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """What is published: keys and passthrough ``columns`` of ``source``, predictions, version."""
    kept = [source.field(name) for name in columns]
    fields = [pa.field(field.name, plain_type(field.type), field.nullable) for field in kept]
    fields += [pa.field(output.name, output.arrow_type) for output in encoding.outputs]
    return pa.schema([*fields, pa.field(MODEL_VERSION, pa.int32())])
