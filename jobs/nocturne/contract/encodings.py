"""Learns an encoding from the training data, and encodes data as a night does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from nocturne.columns.normal import normal, plain_type
from nocturne.columns.types import is_text
from nocturne.encoders.date import Date
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import encode
from nocturne.errors import InputError, choices
from nocturne.fitting import casts, check_columns

__all__ = ["as_scored", "infer_encoding", "median", "require_columns", "tensors"]


def infer_encoding(
    table: pa.Table,
    *,
    numeric: Sequence[str] = (),
    categories: Sequence[str] = (),
    dates: Mapping[str, Sequence[str]] = {},
    outputs: Sequence[str | OutputSpec],
) -> Encoding:
    """An encoding learnt from the training data: the tensors ``numbers``, ``codes``, ``dates``.

    ``numbers`` (float32) has the numeric columns, filled with their median and standardised.
    ``codes`` (int64) has the categories (strings or integers); their vocabulary is the sorted
    values, and unknown values get one more code. ``dates`` (float32) has parts of dates and times
    (column -> ``nocturne.encoders.date.PARTS``), filled and standardised as numbers are. A tensor
    without columns is left out.

    Raises:
        InputError: a column is missing, or its type does not fit its tensor.
    """
    table = normal(table)
    numbers = tuple(_numeric_feature(name, _column(table, name)) for name in numeric)
    codes = tuple(_category_feature(name, _column(table, name)) for name in categories)
    of_dates = tuple(
        _date_feature(name, part, _column(table, name))
        for name, parts in dates.items()
        for part in parts
    )
    if not numbers and not codes and not of_dates:
        raise InputError(
            "an encoding needs at least one column: name some as numeric=, categories= or dates="
        )
    inputs = []
    if numbers:
        inputs.append(TensorSpec("numbers", "float32", "numeric", numbers))
    if codes:
        inputs.append(TensorSpec("codes", "int64", "category", codes))
    if of_dates:
        inputs.append(TensorSpec("dates", "float32", "date", of_dates))
    output_specs = tuple(OutputSpec(o) if isinstance(o, str) else o for o in outputs)
    return Encoding(tuple(inputs), output_specs)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if table.schema.get_field_index(name) < 0:
        raise InputError(
            f"the training data have no column {name!r} (or several): they have "
            f"{choices(table.schema.names, 40)}",
            column=name,
        )
    return table[name]


def _finite(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values = np.asarray(column.drop_null().cast(pa.float64(), safe=False).to_numpy())
    finite: NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def median(column: pa.ChunkedArray) -> float:
    values = _finite(column)
    return float(np.median(values)) if len(values) else 0.0


def _numeric_feature(name: str, column: pa.ChunkedArray) -> Feature:
    if not (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_boolean(column.type)
    ):
        raise InputError(
            f"column {name!r} is {column.type}, expected a number; name it as one of the "
            "categories, or turn it into a number first",
            column=name,
        )
    values = _finite(column)
    if len(values) and values.min() == values.max():  # otherwise rounding gives a deviation
        values = values[:1]
    scale = float(values.std()) if len(values) else 0.0
    return Feature(
        column=name,
        fill=median(column),
        center=float(values.mean()) if len(values) else 0.0,
        scale=scale if scale > 0 and math.isfinite(scale) else 1.0,
    )


def _date_feature(name: str, part: str, column: pa.ChunkedArray) -> Feature:
    feature, encoder = Feature(name, part=part), Date()
    tensor = TensorSpec("dates", "float32", "date", (feature,))
    if problem := encoder.problem(tensor):
        raise InputError(problem, column=name)
    if not encoder.accepts(tensor, feature, plain_type(column.type)):
        raise InputError(
            f"column {name!r} is {column.type}, expected {encoder.wants(tensor, feature)}; cast it "
            "first",
            column=name,
        )
    numbers = [encoder.numbers(chunk, feature).cast(pa.int64()) for chunk in column.chunks]
    learnt = _numeric_feature(name, pa.chunked_array(numbers, pa.int64()))
    return replace(learnt, part=part)


def _category_feature(name: str, column: pa.ChunkedArray) -> Feature:
    value_type = plain_type(column.type)
    if not (is_text(value_type) or pa.types.is_integer(value_type)):
        raise InputError(
            f"column {name!r} is {column.type}, expected strings or integers for a category; "
            "name it as numeric, or cast it first",
            column=name,
        )
    vocabulary = tuple(sorted(column.cast(value_type).unique().drop_null().to_pylist()))
    if not vocabulary:
        raise InputError(
            f"column {name!r} has no value in the training data, expected at least one for a "
            "category's vocabulary; leave the column out",
            column=name,
        )
    return Feature(column=name, vocabulary=vocabulary, unknown=len(vocabulary))


def tensors(table: pa.Table, encoding: Encoding) -> list[torch.Tensor]:
    """The model's arguments for the table, made by the code that encodes a night.

    Raises:
        InputError: a column of the encoding is missing or of another type.
    """
    arrays = encode(_as_batch(as_scored(table, encoding)), encoding)
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def as_scored(table: pa.Table, encoding: Encoding) -> pa.Table:
    """The columns of the encoding, in the types that a night computes with.

    Raises:
        InputError: a column of the encoding is missing or of another type.
    """
    require_columns(table, encoding)
    table = normal(table.select(encoding.columns))
    for name, cast in casts(encoding, table.schema, cast_text=False).items():
        if pa.types.is_null(table[name].type):  # the encoder does all other casts
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].cast(cast.type))
    return table


def require_columns(table: pa.Table, encoding: Encoding) -> None:
    problems = check_columns(encoding, table.schema)
    if problems:
        advice = (
            ". In a pipeline's YAML input.cast does that for each night; the training data have to "
            "be cast before (table.cast)"
            if any("input.cast" in problem for problem in problems)
            else ""
        )
        raise InputError(
            f"the training data don't fit the encoding: {'; '.join(problems)}{advice}",
            problems=problems,
        )


def _as_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
