"""The engine: RecordBatch iterator in, predictions out, bad rows named with their reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.encoding import Encoding, OutputSpec
from nocturne.engine.encode import Encoded, encode, rows
from nocturne.engine.model import Model
from nocturne.errors import ModelError

__all__ = ["POST", "REASON", "score"]

_HOPELESS = 1000
"""Rows, from the first, on all of which the model raises: then the model is at fault."""

REASON = "_reason"
"""The engine's column that says why a row could not be scored; null where it could."""


def _sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)))


POST: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "none": lambda values: values,
    "sigmoid": _sigmoid,
}


def score(
    batches: Iterable[pa.RecordBatch],
    model: Model,
    encoding: Encoding,
    *,
    micro_batch: int = 1024,
) -> Iterator[pa.RecordBatch]:
    """One RecordBatch of predictions for each batch, row by row in order.

    Its columns are ``encoding.outputs`` and ``_reason``: null, or why the row has no
    prediction (the model raised on it, or a prediction is missing or not finite).

    Raises:
        ModelError: the outputs are not those of the spec, or the model raised on each of the
            first thousand rows.
    """
    raised, alive = 0, False
    for batch in batches:
        done = _score_batch(batch, model, encoding, micro_batch, 0 if alive else raised)
        if not alive:
            reason = done.column(REASON)
            alive = reason.null_count > 0
            raised += len(reason)
        yield done


def _score_batch(
    batch: pa.RecordBatch, model: Model, encoding: Encoding, micro_batch: int, raised: int
) -> pa.RecordBatch:
    encoded = encode(batch, encoding)
    reasons: dict[int, str] = {}
    parts: list[list[NDArray[Any]]] = []
    for start in range(0, batch.num_rows, micro_batch):
        stop = min(start + micro_batch, batch.num_rows)
        parts.append(_predict(encoded, model, encoding, start, stop, micro_batch, reasons))
        if len(reasons) == stop and raised + stop >= _HOPELESS:
            raise ModelError(
                f"the model raises on every one of the first {raised + stop} rows: "
                f"{reasons[start]}. Score a few rows of this partition in a notebook to see why; "
                "nothing was published."
            )
    columns = []
    for position, output in enumerate(encoding.outputs):
        values = [part[position] for part in parts]
        columns.append(_column(np.concatenate(values) if values else np.empty(0), output, reasons))
    why = pa.array([reasons.get(row) for row in range(batch.num_rows)] if reasons else
                   pa.nulls(batch.num_rows, pa.string()), pa.string())  # fmt: skip
    return pa.RecordBatch.from_arrays(
        [*columns, why], names=[*(o.name for o in encoding.outputs), REASON]
    )


def _predict(
    encoded: Encoded,
    model: Model,
    encoding: Encoding,
    start: int,
    stop: int,
    size: int,
    reasons: dict[int, str],
) -> list[NDArray[Any]]:
    """Outputs of the rows ``start`` to ``stop``; rows that the model raises on get a reason.

    A batch that raises is halved until the bad rows are alone: O(bad x log rows) calls.
    """
    try:
        raw = model.predict(rows(encoded, start, stop, size))
    except ModelError:
        raise
    except Exception as error:
        if stop - start == 1:
            reasons[start] = f"the model raised {type(error).__name__}: {str(error)[:200]}"
            return [_hole(output) for output in encoding.outputs]
        middle = (start + stop) // 2
        left = _predict(encoded, model, encoding, start, middle, size, reasons)
        right = _predict(encoded, model, encoding, middle, stop, size, reasons)
        return [np.concatenate(pair) for pair in zip(left, right, strict=True)]
    if isinstance(raw, Mapping):
        named = all(output.name in raw for output in encoding.outputs)
        raw = [raw[o.name] for o in encoding.outputs] if named else list(raw.values())
    if len(raw) != len(encoding.outputs):
        raise ModelError(
            f"the model returned {len(raw)} outputs, the encoding spec names "
            f"{len(encoding.outputs)}: {', '.join(o.name for o in encoding.outputs)}"
        )
    return [
        _checked(values, o, size)[: stop - start]
        for values, o in zip(raw, encoding.outputs, strict=False)
    ]


def _checked(values: NDArray[Any], output: OutputSpec, size: int) -> NDArray[Any]:
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if flat.shape != (size,):
        raise ModelError(
            f"output {output.name!r} has shape {tuple(values.shape)}, expected one value a row: "
            f"({size},) or ({size}, 1)"
        )
    return POST[output.post](flat)


_HOLES = {"string": np.dtype(object), "int64": np.dtype(np.int64), "bool": np.dtype(bool)}


def _hole(output: OutputSpec) -> NDArray[Any]:
    """What stands in for the prediction of a row that has none; its reason tells them apart."""
    return np.zeros(1, dtype=_HOLES.get(output.type, np.dtype(np.float32)))


def _column(values: NDArray[Any], output: OutputSpec, reasons: dict[int, str]) -> pa.Array:
    """The output as Arrow; rows without a finite value get a reason unless they have one."""
    absent: NDArray[np.bool_]
    if values.dtype == object:
        absent = np.array([value is None or value != value for value in values])
    elif np.issubdtype(values.dtype, np.floating):
        absent = ~np.isfinite(values)
    else:
        absent = np.zeros(len(values), dtype=bool)
    if output.type == "string":
        column = pa.array([None if a else str(v) for v, a in zip(values, absent, strict=True)],
                          pa.string())  # fmt: skip
    else:
        column = pa.array(values, mask=np.asarray(absent, dtype=bool))
        column = column.cast(output.type, safe=False)
    if output.type in ("float32", "float64"):
        final = column.fill_null(np.inf).to_numpy(zero_copy_only=False)
        absent = ~np.isfinite(final)
    for row in np.flatnonzero(absent):
        reasons.setdefault(int(row), f"the prediction {output.name} is missing or not finite")
    return column
