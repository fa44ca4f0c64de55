"""A model's raw outputs: put together, matched with the spec, made into the prediction columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine.column import Reasons, arrow_column, checked, hole
from nocturne.engine.model import Array, Raw
from nocturne.errors import ModelError, choices

__all__ = ["REASON", "Named", "by_name", "cut", "named", "numbered", "predictions", "together"]

REASON = "_reason"
"""The engine's column that says why a row could not be scored; null where it could."""

Named = dict[str, Array]
"""Raw outputs by name, or by position as text."""


def named(raw: Raw) -> Named:
    return dict(raw) if isinstance(raw, Mapping) else {str(i): v for i, v in enumerate(raw)}


def numbered(names: Collection[str]) -> bool:
    """Whether they are the places 0 to n - 1, and not the model's own names."""
    return {*names} == {*map(str, range(len(names)))}


def cut(values: Array, size: int, count: int) -> Array:
    """Without the padding; what has another number of rows is left for the check of shapes."""
    values = np.atleast_1d(values)
    return values[:count] if len(values) == size else values


def together(pieces: Sequence[Named | None]) -> Named | None:
    """One array an output; rows that raised (None, one each) are blank, as their reasons say."""
    first = next((piece for piece in pieces if piece is not None), None)
    if first is None:
        return None
    blank = {name: _blank(values) for name, values in first.items()}
    found = [piece if piece is not None else blank for piece in pieces]
    for piece in found:
        if piece.keys() != first.keys():
            raise ModelError(
                f"the model returned {len(first)} outputs for some rows, and {len(piece)} for "
                f"others, of which {len(first.keys() & piece.keys())} have the same name; have it "
                "return the same for all"
            )
    return {name: _joined([piece[name] for piece in found], name) for name in first}


def _blank(values: Array) -> Array:
    if values.dtype == object:
        return np.full((1, *values.shape[1:]), None)
    return np.zeros_like(values[:1])


def _joined(arrays: list[Array], name: str) -> Array:
    """Concatenated; as objects where NumPy would make the values of one type another's.

    Raises:
        ModelError: their rows have different shapes.
    """
    if len(arrays) == 1:
        return arrays[0]
    if len({array.ndim for array in arrays}) > 1:
        return np.concatenate([_rows(array) for array in arrays])
    other = next((array for array in arrays if array.shape[1:] != arrays[0].shape[1:]), None)
    if other is not None:
        raise ModelError(
            f"the model returned the shape {arrays[0].shape} for some rows of the output {name!r}, "
            f"and {other.shape} for others; have it return as many values for each row"
        )
    if len({array.dtype.kind for array in arrays}) > 1:
        return np.concatenate([array.astype(object) for array in arrays])
    return np.concatenate(arrays)


def _rows(array: Array) -> Array:
    """[rows] of objects; a row of [rows, n] is an array of its own."""
    rows = np.empty(len(array), dtype=object)
    for position, row in enumerate(array):
        rows[position] = row
    return rows


def predictions(
    raw: Raw | None, count: int, encoding: Encoding, reasons: Reasons
) -> pa.RecordBatch:
    """The prediction columns and ``_reason``; None for ``raw``: every row has its reason already.

    Raises:
        ModelError: the outputs, or their shapes, are not those of the spec.
    """
    outputs = encoding.outputs
    found = (
        [hole(output, count) for output in outputs]
        if raw is None
        else [
            checked(values, output, count)
            for values, output in zip(_chosen(named(raw), outputs), outputs, strict=True)
        ]
    )
    columns = [
        arrow_column(values, output, reasons) for values, output in zip(found, outputs, strict=True)
    ]
    why = [reasons.get(row) for row in range(count)] if reasons else None
    reason = pa.nulls(count, pa.string()) if why is None else pa.array(why, pa.string())
    return pa.RecordBatch.from_arrays(
        [*columns, reason], names=[*(o.name for o in outputs), REASON]
    )


def by_name(found: Named, outputs: Sequence[OutputSpec]) -> bool:
    """Whether the model's outputs are taken by name, not in their order."""
    return any(o.source for o in outputs) or {o.name for o in outputs} <= set(found)


def _chosen(found: Named, outputs: Sequence[OutputSpec]) -> list[Array]:
    """For each output of the spec the model's output that it is made from."""
    wanted = [output.source or output.name for output in outputs]
    if not by_name(found, outputs):
        if len(found) != len(wanted) or {*wanted} & found.keys():
            raise ModelError(
                f"the model returned {len(found)} outputs, and {len(wanted)} are declared (in its "
                f"encoding spec, its signature or model.outputs): {', '.join(wanted)}; it returned "
                f"{choices(found)}"
            )
        return list(found.values())
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise ModelError(
            f"the model returned the outputs {choices(found)}; expected {choices(wanted)}, as its "
            "encoding spec says or as it returned when it was tried. Have it return the same for "
            "all rows, or correct the output's source in the spec"
        )
    return [found[name] for name in wanted]
