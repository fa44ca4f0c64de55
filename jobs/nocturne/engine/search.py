"""The search for what is fastest: which kernel, and how many rows go through it at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from nocturne.engine.encode import Encoded, rows
from nocturne.engine.model import Array, Model, Raw
from nocturne.errors import ModelError
from nocturne.records import Tuning

__all__ = ["SAMPLE_ROWS", "first_sizes", "search"]

SAMPLE_ROWS = 16_384
"""Rows that a search is given, at most."""

_SMALLEST, _LARGEST = 256, 1 << 18
_ROUNDS = 5
_RUN_SECONDS = 0.05
_BETTER = 0.97
_ACTIVATIONS = 16
"""A row is taken to need this many times its input bytes while it is scored."""


def first_sizes(row_bytes: int, device: str, memory: int | None = None) -> tuple[int, int]:
    """Where the search starts and where it ends, in rows, both powers of two.

    On a CPU a micro-batch starts as what fits the core's second-level cache; on a GPU as a
    64th of its memory, since there launches cost more than cache misses.

    Args:
        memory: bytes of the device, if known.
    """
    if device == "cpu":
        cache = _sysconf("SC_LEVEL2_CACHE_SIZE") or 1 << 20
        return _power(cache // (row_bytes * _ACTIVATIONS), _SMALLEST, 4096), 1 << 14
    share = (memory or 16 << 30) // 64
    return _power(share // (row_bytes * _ACTIVATIONS), 1024, 1 << 16), _LARGEST


def _sysconf(name: str) -> int:
    try:
        return max(0, os.sysconf(name))
    except (ValueError, OSError):
        return 0


def _power(value: int, least: int, most: int) -> int:
    return 1 << (min(max(value, least), most).bit_length() - 1)


def search(
    load: Callable[[str], Model],
    kernels: Sequence[str],
    encoded: Encoded,
    *,
    start: int,
    largest: int,
    tolerance: float = 1e-5,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """The fastest kernel and micro-batch on a sample of rows, in a second or two.

    From ``start`` the micro-batch is doubled, then halved, while that helps by 3% or more; one
    size that does not help is looked past. A kernel counts only if its outputs agree with the
    first kernel's within ``tolerance``, relative to the largest of them.

    Args:
        load: makes the model of a kernel; a ModelError means that it does not apply.
        encoded: the sample; it is repeated where a micro-batch is longer.
        clock: gives seconds. Those of this thread alone (``time.thread_time``), where all of
            the work is done in it, don't count what else the machine does.

    Raises:
        ModelError: no kernel runs this model.
    """
    times: dict[str, float] = {}
    best: tuple[float, str, int] | None = None
    expected: list[Array] | None = None
    problem: Exception | None = None
    for kernel in kernels:
        try:
            model = load(kernel)
            sample = _sized(encoded, start)
            found = _arrays(model.predict(sample))
        except Exception as error:
            problem = error
            continue
        if expected is None:
            expected = found
        elif not _agree(expected, found, tolerance):
            continue
        seconds, size = _climb(model, kernel, encoded, (start, largest), times, clock)
        if best is None or seconds < best[0] * _BETTER:
            best = seconds, kernel, size
    if best is None:
        raise ModelError(
            f"the model can't score a sample of this partition: {type(problem).__name__}: "
            f"{problem}. Score a few rows in a notebook to see why; nothing was scored"
        ) from problem
    rounded = {name: round(value * 1e6, 4) for name, value in times.items()}
    return Tuning(kernel=best[1], micro_batch=best[2], found=True, seconds_per_million=rounded)


def _climb(
    model: Model,
    kernel: str,
    encoded: Encoded,
    bounds: tuple[int, int],
    times: dict[str, float],
    clock: Callable[[], float],
) -> tuple[float, int]:
    """(seconds a row, rows) of the best size that doubling, then halving, leads to."""
    start, largest = bounds
    up = [start << step for step in range(20) if start << step <= largest]
    down = [start >> step for step in range(20) if start >> step >= _SMALLEST]
    best = _measure(model, encoded, start, clock), start
    times[f"{kernel}/{start}"] = best[0]
    for path in (up, down):
        worse = 0
        for size in path[1:]:
            seconds = _measure(model, encoded, size, clock)
            if getattr(model, "limit", None) is not None:
                break  # the device's memory ends here
            times[f"{kernel}/{size}"] = seconds
            if seconds <= best[0] * _BETTER:
                best, worse = (seconds, size), 0
            elif (worse := worse + 1) == 2:
                break
        if best[1] != start:
            break
    return best


def _measure(model: Model, encoded: Encoded, size: int, clock: Callable[[], float]) -> float:
    """Seconds a row: the best of a few rounds, since whatever else runs only ever adds."""
    count = max(size, SAMPLE_ROWS // size * size)
    sample = _sized(encoded, count)
    begun = clock()
    _run(model, sample, size, size)
    once = clock() - begun
    if once * (count // size) > _RUN_SECONDS:
        count = max(size, int(_RUN_SECONDS / max(once, 1e-9)) * size)
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = clock()
        _run(model, sample, count, size)
        best = min(best, clock() - begun)
    return best / count


def _run(model: Model, encoded: Encoded, count: int, size: int) -> None:
    begin = getattr(model, "begin", None)
    if begin is not None:
        begin(rows(encoded, 0, count, count), size)()
        return
    for first in range(0, count, size):
        model.predict(rows(encoded, first, first + size, size))


def _sized(encoded: Encoded, count: int) -> Encoded:
    """The sample cut or repeated to ``count`` rows."""
    index = np.arange(count) % len(encoded[0])
    return [
        item.take(pa.array(index)) if isinstance(item, pa.RecordBatch) else item[index]
        for item in encoded
    ]


def _arrays(raw: Raw) -> list[Array]:
    return list(raw.values() if isinstance(raw, Mapping) else raw)


def _agree(expected: list[Array], found: list[Array], tolerance: float) -> bool:
    if [a.shape for a in expected] != [a.shape for a in found]:
        return False
    for one, other in zip(expected, found, strict=True):
        if one.dtype == object or not np.issubdtype(one.dtype, np.floating):
            if not np.array_equal(one, other):
                return False
        else:
            scale = float(np.nanmax(np.abs(one), initial=0.0))
            if not np.allclose(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
                return False
    return True
