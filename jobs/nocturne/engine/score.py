"""The engine: RecordBatch iterator in, predictions out, bad rows named with their reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoding import Encoding
from nocturne.engine.cast import cast_rows
from nocturne.engine.column import Reasons
from nocturne.engine.encode import Encoded, encode, rows
from nocturne.engine.faults import Faults
from nocturne.engine.model import Model, Raw
from nocturne.engine.outputs import REASON, Named, cut, named, predictions, together
from nocturne.engine.refused import refused
from nocturne.errors import ModelError, NocturneError
from nocturne.fitting.roles import Cast

__all__ = ["REASON", "score", "score_cast"]

_HOPELESS = 1000
"""Rows, from the first, on all of which the model raises: then the model is at fault."""


def score(
    batches: Iterable[pa.RecordBatch],
    model: Model,
    encoding: Encoding,
    *,
    micro_batch: int = 1024,
    once: bool = False,
) -> Iterator[pa.RecordBatch]:
    """One RecordBatch of predictions for each batch, row by row in order.

    Its columns are ``encoding.outputs`` and ``_reason``: null, or why the row has no
    prediction (it holds what the model can't take, the model raised on it, or a prediction is
    missing or not finite). A model that can ``begin`` a batch is still at work on one while the
    next is read and encoded.

    Args:
        once: the model is given each row once: all rows of a call on which it raises are bad.

    Raises:
        ModelError: the outputs are not those of the spec, or the model raised on each of the
            first thousand rows; where it is given each row once, on each of the first five calls.
        ImportError: the model lacks a package.
    """
    begin = getattr(model, "begin", None)
    raised, alive = 0, False
    faults = Faults(once)

    def finish(
        encoded: Encoded, count: int, lost: pa.Array | None, begun: Callable[[], Raw] | None
    ) -> pa.RecordBatch:
        nonlocal raised, alive
        reasons: Reasons = {}
        raw = _waited(begun)
        if raw is None:
            before = 0 if alive else raised
            raw = _in_turn(encoded, count, model, micro_batch, reasons, faults, before)
        done = predictions(raw, count, encoding, reasons)
        if not alive:
            alive = done.column(REASON).null_count > 0
            raised += count
        return _before(lost, done)

    waiting: Callable[[], pa.RecordBatch] | None = None
    for batch in batches:
        encoded, count = encode(batch, encoding), batch.num_rows
        begun = begin(encoded, micro_batch) if begin is not None and count else None
        if waiting is not None:
            yield waiting()
        waiting = partial(finish, encoded, count, refused(batch, encoding), begun)
        if begun is None:
            yield waiting()
            waiting = None
    if waiting is not None:
        yield waiting()


def score_cast(
    batches: Iterable[pa.RecordBatch],
    model: Model,
    encoding: Encoding,
    wanted: Mapping[str, Cast],
    *,
    micro_batch: int = 1024,
    once: bool = False,
) -> Generator[tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]]:
    """``score`` of batches whose columns are cast first (``nocturne.fitting.casts``).

    Yields each batch as it was read, as the model saw it, and its predictions, in order. A value
    that can't be cast is the reason why its row has none.

    Raises:
        InputError: not one of the first thousand values of a column can be cast.
        ModelError, ImportError: as ``score``.
    """
    waiting: deque[tuple[pa.RecordBatch, pa.RecordBatch, pa.Array | None]] = deque()

    def remembered() -> Iterator[pa.RecordBatch]:
        failed = dict.fromkeys(wanted, 0)
        for batch in batches:
            seen, lost = cast_rows(batch, wanted, failed) if wanted else (batch, None)
            waiting.append((batch, seen, lost))
            yield seen

    for done in score(remembered(), model, encoding, micro_batch=micro_batch, once=once):
        batch, seen, lost = waiting.popleft()
        yield batch, seen, _before(lost, done)


def _before(lost: pa.Array | None, done: pa.RecordBatch) -> pa.RecordBatch:
    """The predictions, where what was wrong with a row beforehand is its reason."""
    if lost is None:
        return done
    why = pc.coalesce(lost, done.column(REASON))
    return done.set_column(done.schema.get_field_index(REASON), REASON, why)


def _waited(begun: Callable[[], Raw] | None) -> Raw | None:
    """The outputs of a batch that was begun; None if a row of it makes the model raise."""
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
    """The raw outputs of a batch, one micro-batch after another; None if no row has any."""
    pieces: list[Named | None] = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        pieces += _predict(encoded, model, start, stop, size, reasons, faults)
        if len(reasons) == stop and (raised + stop >= _HOPELESS or faults.refuses()):
            raise ModelError(
                f"the model raises on every one of the first {raised + stop} rows: "
                f"{reasons[start]}. Score a few rows of this partition in a notebook to see why; "
                "nothing was published."
            )
    return together(pieces)


def _predict(
    encoded: Encoded,
    model: Model,
    start: int,
    stop: int,
    size: int,
    reasons: Reasons,
    faults: Faults,
) -> list[Named | None]:
    """Raw outputs of the rows ``start`` to ``stop``, in pieces; None for one that raises.

    A batch that raises is halved until the bad rows are alone: O(bad x log rows) calls.
    """
    padded = getattr(model, "padded", True)
    given = rows(encoded, start, stop, size if padded else stop - start)
    try:
        raw = model.predict(given)
    except NocturneError:
        raise
    except Exception as error:
        if faults.final(error, stop - start):
            reasons.update(dict.fromkeys(range(start, stop), faults.reason(error, given)))
            return [None] * (stop - start)
        middle = (start + stop) // 2
        left = _predict(encoded, model, start, middle, size, reasons, faults)
        return left + _predict(encoded, model, middle, stop, size, reasons, faults)
    faults.answered = True
    made = len(given[0])
    return [{name: cut(values, made, stop - start) for name, values in named(raw).items()}]
