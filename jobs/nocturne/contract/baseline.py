"""The baseline: a profile of the training data and of the model's predictions on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import normal, plain_type
from nocturne.columns.types import is_text
from nocturne.contract.encodings import as_scored, median, require_columns
from nocturne.drift import build_baseline, segment_values
from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding
from nocturne.engine import REASON, Model, score
from nocturne.errors import InputError, ModelError, choices
from nocturne.profile import TableProfiler
from nocturne.records.drift import Baseline
from nocturne.records.profile import Profile

__all__ = ["baseline", "predict"]

_BATCH = 65_536
_EXACT = 2.0**53


def predict(model: Model, encoding: Encoding, table: pa.Table) -> pa.Table:
    """The predictions that a night would publish; null for a row without a prediction.

    Args:
        model: the model that the engine calls, e.g. ``nocturne.engine.TorchModel(module)``.

    Raises:
        InputError: a column of the encoding is missing or of another type.
        ModelError: no row has a prediction, or the outputs do not match the encoding.
    """
    table = as_scored(table, encoding)
    batches = table.combine_chunks().to_batches(max_chunksize=_BATCH)
    parts = []
    scored, reason = 0, ""
    for part in score(iter(batches), model, encoding):
        why = part.column(REASON)
        bad = why.is_valid()
        scored += why.null_count
        reason = reason or (str(why[0]) if why.null_count < len(why) else "")
        parts.append(
            [
                pc.if_else(bad, pa.scalar(None, column.type), column)
                for column in (part.column(output.name) for output in encoding.outputs)
            ]
        )
    if not scored and table.num_rows:
        raise ModelError(f"none of {table.num_rows} rows has a prediction: {reason}.")
    names = [output.name for output in encoding.outputs]
    types = [output.arrow_type for output in encoding.outputs]
    columns = [pa.chunked_array([p[i] for p in parts], t) for i, t in enumerate(types)]
    return pa.table(columns, names=names)


def baseline(
    data: pa.Table,
    predictions: pa.Table,
    *,
    partitions: Sequence[str] | None = None,
    encoding: Encoding | None = None,
    importance: Mapping[str, float] | None = None,
    segments: Sequence[str] = (),
) -> Baseline:
    """A profile of the training data and of the model's predictions on them, for each partition.

    Args:
        data: the training data. With ``encoding``, only its columns are profiled.
        predictions: one row for each row of ``data``; the columns have the names under which they
            are published (``prediction`` for a pyfunc model without named outputs).
        partitions: for each row its training partition, e.g. its day. The differences between
            partitions decide how much a night may differ before it alarms; without partitions,
            every night alarms that is not a random sample.
        importance: column -> its importance to the model, in any unit; the share of features that
            drift is weighted by it.
        segments: categories of the data for whose values drift can be judged separately
            (``drift.segments``), for the 20 most frequent values of each. The baseline grows with
            their number.

    Raises:
        InputError: ``importance`` names an unknown column or has a negative number; ``segments``
            names a column that is not a category; ``data``, ``predictions`` and ``partitions`` do
            not have the same number of rows; or a column is missing.
    """
    data, predictions = normal(data), normal(predictions)
    labels = pa.array(["all"] * data.num_rows) if partitions is None else partitions
    if not len(labels) == predictions.num_rows == data.num_rows > 0:
        raise InputError(
            f"got {data.num_rows} rows of training data, {predictions.num_rows} predictions and "
            f"{len(labels)} partition labels; expected one of each a row, and at least one row"
        )
    if encoding is not None:
        require_columns(data, encoding)
        data = data.select(encoding.columns)
    wrong = [
        f"{name}: {weight}"
        for name, weight in (importance or {}).items()
        if name not in data.schema.names or not weight >= 0
    ]
    if wrong:
        raise InputError(
            f"importance has {choices(wrong)}; expected columns of the training data "
            f"({choices(data.schema.names)}), each with a number of 0 or more"
        )
    overlap = set(data.schema.names) & set(predictions.schema.names)
    if overlap:
        raise InputError(
            f"{choices(overlap)} is both a column of the training data and a prediction; expected "
            "different names, or drift could not tell them apart"
        )
    kinds = _kinds(data.schema, encoding) | _kinds(predictions.schema, None)
    table = pa.table(
        [*data.columns, *predictions.columns],
        names=[*data.schema.names, *predictions.schema.names],
    ).select(list(kinds))
    centers = {name: _center(table[name]) if number else None for name, number in kinds.items()}
    categories = [name for name in data.schema.names if not kinds.get(name, True)]
    if unknown := [name for name in segments if name not in categories]:
        raise InputError(
            f"segments names {choices(unknown)}; expected categories of the training data "
            f"({choices(categories)})"
        )
    overall = _profile(table, dict.fromkeys(segments))
    values = {name: segment_values(column) for name, column in overall.columns.items()}
    profiles = {label: _profile(part, centers, values) for label, part in _by_label(table, labels)}
    outputs = [name for name in predictions.schema.names if name in kinds]
    return build_baseline(profiles, outputs, importance)


def _profile(
    table: pa.Table,
    centers: Mapping[str, float | int | None],
    segments: Mapping[str, Sequence[str]] = {},
) -> Profile:
    profiler = TableProfiler(centers, segments)
    for batch in table.to_batches(max_chunksize=_BATCH):
        profiler.update(batch)
    return profiler.result()


def _center(column: pa.ChunkedArray) -> float | int:
    """The median; for a column of float32 a float32, which ``bucket`` counts in half the time.

    It is an integer if float64 can't distinguish the column's integers, which are then counted
    exactly.
    """
    middle = median(column)
    if abs(middle) >= _EXACT and pa.types.is_integer(plain_type(column.type)):
        values = column.cast(plain_type(column.type)).drop_null().to_numpy()
        return int(np.partition(values, len(values) // 2)[len(values) // 2])
    return float(np.float32(middle)) if pa.types.is_float32(column.type) else middle


def _kinds(schema: pa.Schema, encoding: Encoding | None) -> dict[str, bool]:
    """The columns that a night profiles -> whether it profiles them as numbers."""
    features = () if encoding is None else encoding.features()
    by_encoder = {feature.column: ENCODERS[tensor.encoder].kind for tensor, feature in features}
    kinds = {}
    for field in schema:
        type_ = plain_type(field.type)
        number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
        text = is_text(type_)
        kind = by_encoder.get(field.name)
        if kind == "numeric" or (kind is None and number):
            kinds[field.name] = True
        elif kind == "category" or text or pa.types.is_boolean(type_):
            kinds[field.name] = False
    return kinds


def _by_label(table: pa.Table, labels: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    names = np.array([str(label) for label in labels])
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    ordered = table.take(pa.array(order))
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        yield str(names[order[start]]), ordered.slice(start, stop - start)
