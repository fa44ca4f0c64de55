"""The engine: takes RecordBatches, yields predictions and the reasons of rows without one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.legible import legible
from nocturne.encoding import Encoding
from nocturne.engine.cast import cast_rows
from nocturne.engine.column import Reasons
from nocturne.engine.encode import Encode, Encoded, encoder, rows
from nocturne.engine.faults import Faults
from nocturne.engine.model import Model, Raw
from nocturne.engine.outputs import (
    REASON,
    NamedOutputs,
    concatenated,
    outputs_by_name,
    predictions,
    without_padding,
)
from nocturne.engine.refused import refusal_reasons
from nocturne.errors import ModelError, NocturneError
from nocturne.fitting.roles import Cast

__all__ = ["REASON", "score", "score_cast"]

_HOPELESS = 1000
"""If the model raises on each of this many first rows, the model is wrong and not the rows."""


def score(
    batches: Iterable[pa.RecordBatch],
    model: Model,
    encoding: Encoding,
    *,
    micro_batch: int = 1024,
    once: bool = False,
    encode: Encode | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yields one RecordBatch of predictions for each batch, with the same rows in the same order.

    Its columns are ``encoding.outputs`` and ``_reason``. The reason is null, or says why the row
    has no prediction: it contains a value that the model can't take, the model raised on it, or a
    prediction is missing or not finite. While a model that can ``begin`` a batch works on one,
    the next is read and encoded.

    Args:
        once: give each row to the model only once. If a call raises, all its rows are bad.
        encode: makes the model's arguments. Default: by the encoding.

    Raises:
        ModelError: the outputs do not match the spec, or the model raised on each of the first
            thousand rows; with ``once``, on each of the first five calls.
        ImportError: the model lacks a package.
    """
    begin, encode = getattr(model, "begin", None), encode or encoder(encoding)
    raised, alive = 0, False
    faults = Faults(once)

    def finish(
        encoded: Encoded,
        count: int,
        refused_reasons: pa.Array | None,
        begun: Callable[[], Raw] | None,
    ) -> pa.RecordBatch:
        nonlocal raised, alive
        reasons: Reasons = {}
        raw = _waited(begun)
        if raw is None:
            before = 0 if alive else raised
            raw = _in_turn(encoded, count, model, micro_batch, reasons, faults, before)
        scored = predictions(raw, count, encoding, reasons)
        if not alive:
            alive = scored.column(REASON).null_count > 0
            raised += count
        return _with_earlier_reasons(refused_reasons, scored)

    waiting: Callable[[], pa.RecordBatch] | None = None
    for batch in batches:
        encoded, count = encode(batch), batch.num_rows
        begun = begin(encoded, micro_batch) if begin is not None and count else None
        if waiting is not None:
            yield waiting()
        waiting = partial(finish, encoded, count, refusal_reasons(batch, encoding), begun)
        if begun is None:
            yield waiting()
            waiting = None
    if waiting is not None:
        yield waiting()


def score_cast(
    batches: Iterable[pa.RecordBatch],
    model: Model,
    encoding: Encoding,
    columns: Mapping[str, Cast],
    *,
    micro_batch: int = 1024,
    once: bool = False,
    encode: Encode | None = None,
) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]]:
    """``score`` of batches whose columns are cast first (``nocturne.fitting.casts``).

    Yields, in order, each batch as it was read, as the model saw it, and its predictions. A row
    with a value that can't be cast, or with text that is not UTF-8, has no prediction.

    Raises:
        InputError: none of the first thousand values of a column can be cast.
        ModelError, ImportError: see ``score``.
    """
    waiting: deque[tuple[pa.RecordBatch, pa.RecordBatch, pa.Array | None]] = deque()

    def remembered() -> Iterator[pa.RecordBatch]:
        failed = dict.fromkeys(columns, 0)
        for batch in batches:
            cast_batch, lost = legible(batch, encoding.columns)
            if columns:
                cast_batch, uncast = cast_rows(cast_batch, columns, failed)
                lost = uncast if lost is None else pc.coalesce(lost, uncast)
            waiting.append((batch, cast_batch, lost))
            yield cast_batch

    scores = score(remembered(), model, encoding, micro_batch=micro_batch, once=once, encode=encode)
    for scored in scores:
        batch, cast_batch, lost = waiting.popleft()
        yield batch, cast_batch, _with_earlier_reasons(lost, scored)


def _with_earlier_reasons(earlier: pa.Array | None, scored: pa.RecordBatch) -> pa.RecordBatch:
    """The predictions; an earlier reason of a row replaces the one from scoring."""
    if earlier is None:
        return scored
    reasons = pc.coalesce(earlier, scored.column(REASON))
    return scored.set_column(scored.schema.get_field_index(REASON), REASON, reasons)


def _waited(begun: Callable[[], Raw] | None) -> Raw | None:
    """The outputs of a batch that was begun; None if the model raised on it."""
    if begun is None:
        return None
    try:
        return begun()
    except NocturneError:
        raise
    except Exception:
        return None


def _in_turn(
    encoded: Encoded,
    count: int,
    model: Model,
    size: int,
    reasons: Reasons,
    faults: Faults,
    raised: int,
) -> Raw | None:
    """The raw outputs of a batch, one micro-batch after another; None if no row has an output."""
    pieces: list[NamedOutputs | None] = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        pieces += _predict(encoded, model, start, stop, size, reasons, faults)
        if len(reasons) == stop and (raised + stop >= _HOPELESS or faults.refuses()):
            raise ModelError(
                f"the model raises on every one of the first {raised + stop} rows: "
                f"{reasons[start]}. Score a few rows of this partition in a notebook to see why; "
                "nothing was published."
            )
    return concatenated(pieces)


def _predict(
    encoded: Encoded,
    model: Model,
    start: int,
    stop: int,
    size: int,
    reasons: Reasons,
    faults: Faults,
) -> list[NamedOutputs | None]:
    """Raw outputs of the rows ``start`` to ``stop``, in pieces; None for a row that raises.

    If a call raises, its rows are halved until the bad rows are alone: O(bad x log rows) calls.
    """
    padded = getattr(model, "padded", True)
    encoded_rows = rows(encoded, start, stop, size if padded else stop - start)
    try:
        raw = model.predict(encoded_rows)
    except NocturneError:
        raise
    except Exception as error:
        if faults.final(error, stop - start):
            reasons.update(dict.fromkeys(range(start, stop), faults.reason(error, encoded_rows)))
            return [None] * (stop - start)
        middle = (start + stop) // 2
        first_half = _predict(encoded, model, start, middle, size, reasons, faults)
        return first_half + _predict(encoded, model, middle, stop, size, reasons, faults)
    faults.answered = True
    return [without_padding(outputs_by_name(raw), len(encoded_rows[0]), stop - start)]
