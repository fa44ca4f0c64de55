"""Concatenates a model's raw outputs, matches them with the spec, makes the prediction columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine.column import Reasons, arrow_column, checked, placeholder
from nocturne.engine.model import Array, Raw
from nocturne.errors import ModelError, choices

__all__ = [
    "REASON",
    "NamedOutputs",
    "by_name",
    "concatenated",
    "numbered",
    "outputs_by_name",
    "predictions",
    "without_padding",
]

REASON = "_reason"
"""The engine's column that says why a row could not be scored; null where it could."""

NamedOutputs = dict[str, Array]
"""Raw outputs by name, or by position as text."""


def outputs_by_name(raw: Raw) -> NamedOutputs:
    return dict(raw) if isinstance(raw, Mapping) else {str(i): v for i, v in enumerate(raw)}


def numbered(names: Collection[str]) -> bool:
    """Whether the names are the positions 0 to n - 1, and not names that the model gave."""
    return {*names} == {*map(str, range(len(names)))}


def without_padding(outputs: NamedOutputs, size: int, count: int) -> NamedOutputs:
    """The first ``count`` of ``size`` rows.

    Raises:
        ModelError: an output has another number of rows: those that it lacks can't be told from
            the padding, nor from rows of other calls.
    """
    outputs = {name: np.atleast_1d(values) for name, values in outputs.items()}
    for name, values in outputs.items():
        if len(values) != size:
            raise ModelError(
                f"output {name!r} has shape {values.shape} for {size} rows, expected one value a "
                "row: have the model return one for each row that it is given"
            )
    return {name: values[:count] for name, values in outputs.items()}


def concatenated(pieces: Sequence[NamedOutputs | None]) -> NamedOutputs | None:
    """One array for each output. A piece that is None is one row that raised: it becomes blank."""
    first = next((piece for piece in pieces if piece is not None), None)
    if first is None:
        return None
    blank = {name: _blank(values) for name, values in first.items()}
    filled = [piece if piece is not None else blank for piece in pieces]
    for piece in filled:
        if piece.keys() != first.keys():
            raise ModelError(
                f"the model returned {len(first)} outputs for some rows, and {len(piece)} for "
                f"others, of which {len(first.keys() & piece.keys())} have the same name; have it "
                "return the same for all"
            )
    return {name: _concatenate([piece[name] for piece in filled], name) for name in first}


def _blank(values: Array) -> Array:
    if values.dtype == object:
        return np.full((1, *values.shape[1:]), None)
    return np.zeros_like(values[:1])


def _concatenate(arrays: list[Array], name: str) -> Array:
    """The concatenated arrays; as objects if NumPy would convert values to another type.

    Raises:
        ModelError: the rows of the arrays have different shapes.
    """
    if len(arrays) == 1:
        return arrays[0]
    if len({array.ndim for array in arrays}) > 1:
        return np.concatenate([_rows(array) for array in arrays])
    different = next((array for array in arrays if array.shape[1:] != arrays[0].shape[1:]), None)
    if different is not None:
        raise ModelError(
            f"the model returned the shape {arrays[0].shape} for some rows of the output {name!r}, "
            f"and {different.shape} for others; have it return as many values for each row"
        )
    if len({array.dtype.kind for array in arrays}) > 1:
        return np.concatenate([array.astype(object) for array in arrays])
    return np.concatenate(arrays)


def _rows(array: Array) -> Array:
    """An array of objects [rows]; each row of [rows, n] becomes an array of its own."""
    rows = np.empty(len(array), dtype=object)
    for position, row in enumerate(array):
        rows[position] = row
    return rows


def predictions(
    raw: Raw | None, count: int, encoding: Encoding, reasons: Reasons
) -> pa.RecordBatch:
    """The prediction columns and ``_reason``. ``raw`` is None if every row has a reason already.

    Raises:
        ModelError: the outputs, or their shapes, do not match the spec.
    """
    outputs = encoding.outputs
    processed = (
        [placeholder(output, count) for output in outputs]
        if raw is None
        else [
            checked(values, output, count)
            for values, output in zip(_chosen(outputs_by_name(raw), outputs), outputs, strict=True)
        ]
    )
    columns = [
        arrow_column(values, output, reasons)
        for values, output in zip(processed, outputs, strict=True)
    ]
    reason_list = [reasons.get(row) for row in range(count)] if reasons else None
    reason = (
        pa.nulls(count, pa.string()) if reason_list is None else pa.array(reason_list, pa.string())
    )
    return pa.RecordBatch.from_arrays(
        [*columns, reason], names=[*(o.name for o in outputs), REASON]
    )


def by_name(raw: NamedOutputs, outputs: Sequence[OutputSpec]) -> bool:
    """Whether the model's outputs are matched by name, and not by their order."""
    return any(o.source for o in outputs) or {o.name for o in outputs} <= set(raw)


def _chosen(raw: NamedOutputs, outputs: Sequence[OutputSpec]) -> list[Array]:
    """For each output of the spec, the model's output that it is made from."""
    sources = [output.source or output.name for output in outputs]
    if not by_name(raw, outputs):
        if len(raw) != len(sources) or {*sources} & raw.keys():
            raise ModelError(
                f"the model returned {len(raw)} outputs, and {len(sources)} are declared (in its "
                f"encoding spec, its signature or model.outputs): {', '.join(sources)}; it "
                f"returned {choices(raw)}"
            )
        return list(raw.values())
    lacking = [name for name in sources if name not in raw]
    if lacking:
        raise ModelError(
            f"the model returned the outputs {choices(raw)}; expected {choices(sources)}, as its "
            "encoding spec says or as it returned when it was tried. Have it return the same for "
            "all rows, or correct the output's source in the spec"
        )
    return [raw[name] for name in sources]
