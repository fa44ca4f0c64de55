"""The search for what is fastest: which kernel, and how many rows go through it at once.

It is bounded: by seconds, whatever a row takes, and where the model's calls may cost by rows. No
call is made that is not expected to end in time, so a model is first given a few rows, then twice
as many, until a micro-batch is reached at which the comparison starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nocturne.engine.encode import Encoded, rows
from nocturne.engine.model import Array, Model, Raw
from nocturne.errors import ModelError
from nocturne.records.plan import Tuning

__all__ = ["SAMPLE_ROWS", "first_sizes", "search"]

SAMPLE_ROWS = 16_384
"""Rows that a search is given, at most."""

SECONDS = 2.0
"""That a search's calls may take, of all kernels together."""

_SMALLEST, _LARGEST = 256, 1 << 18
_ROUNDS, _FEW = 5, 2
_RUN_SECONDS = 0.03
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
    least: int = 64,
    rows: int | None = None,
    seconds: float = SECONDS,
    tolerance: float = 1e-5,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """The fastest kernel and micro-batch on a sample of rows.

    From ``start`` the micro-batch is doubled, then halved, while that helps by 3% or more; one
    size that does not help is looked past. A kernel counts only if its outputs agree with the
    first kernel's within ``tolerance``, relative to the largest of them. Where ``start`` is too
    slow to be tried, it stays.

    Args:
        load: makes the model of a kernel; a ModelError means that it does not apply.
        encoded: the sample; it is repeated where a micro-batch is longer.
        least: rows of the first call.
        rows: that the model may be given, of all calls together; None: any number.
        seconds: that its calls may take, of all kernels together.
        clock: gives seconds. Those of this thread alone (``time.thread_time``), where all of
            the work is done in it, don't count what else the machine does.

    Raises:
        ModelError: no kernel runs this model.
    """
    times: dict[str, float] = {}
    best: tuple[float, str, int] | None = None
    expected: list[Array] | None = None
    problem: tuple[str, Exception] | None = None
    left = _Left(seconds, rows)
    for number, kernel in enumerate(kernels):
        left.share(len(kernels) - number)
        said = ""
        try:
            model = load(kernel)
            said = "its text may hold values of rows"
            calls = _Calls(model, encoded, clock, left)
            reached, found = calls.warm(min(least, start), start)
            if expected is not None and not _agree(expected, found, tolerance):
                continue
            took, size = _climb(calls, kernel, (reached, start, largest), times)
        except Exception as error:  # of the model, or of a row
            problem = f"{type(error).__name__}: {said or error}", error
            continue
        expected = found if expected is None else expected
        if best is None or took < best[0] * _BETTER:
            best = took, kernel, size
    if best is None:
        assert problem is not None
        raise ModelError(
            f"the model can't score a sample of this partition: {problem[0]}. Score a few rows in "
            "a notebook to see why; nothing was scored"
        ) from problem[1]
    rounded = {name: round(value * 1e6, 4) for name, value in times.items()}
    return Tuning(kernel=best[1], micro_batch=best[2], found=True, seconds_per_million=rounded)


@dataclass
class _Left:
    """What the model may still be asked for: seconds of the wall, and rows if they count."""

    seconds: float
    rows: int | None
    floor: float = 0.0
    """Seconds that are for the kernels to come."""
    pace: float = 0.0
    """Seconds a row, of the last call."""

    def share(self, kernels: int) -> None:
        """What is left is for so many kernels; the first of them begins."""
        self.floor, self.pace = self.seconds * (1 - 1 / kernels), 0.0

    def allows(self, rows: int) -> bool:
        """Whether a call with so many rows is expected to stay within the bounds."""
        in_time = rows * self.pace <= self.seconds - self.floor
        return in_time and (self.rows is None or rows <= self.rows)

    def spend(self, rows: int, seconds: float) -> None:
        self.seconds -= seconds
        self.pace = seconds / rows
        if self.rows is not None:
            self.rows -= rows


class _Calls:
    """Calls a model with rows of the sample, and tells their seconds."""

    def __init__(
        self, model: Model, encoded: Encoded, clock: Callable[[], float], left: _Left
    ) -> None:
        self.model, self.encoded, self.clock, self.left = model, encoded, clock, left

    @property
    def limited(self) -> bool:
        """Whether the device's memory has ended a call."""
        return getattr(self.model, "limit", None) is not None

    def warm(self, least: int, start: int) -> tuple[int, list[Array]]:
        """Calls with four times as many rows, up to ``start``, as far as the bounds allow.

        Returns:
            The rows of the last call, and its outputs.
        """
        size, before = least, self.left.seconds
        found = self._called(size)
        if self.left.rows is None:
            self.left.seconds = before  # a graph's first call makes what loading it left to make
        if self.left.allows(size):
            found = self._called(size)
        while size < start and self.left.allows(min(4 * size, start)):
            size = min(4 * size, start)
            found = self._called(size)
        return size, found

    def _called(self, size: int) -> list[Array]:
        sample, begun = _sized(self.encoded, size), time.perf_counter()
        found = _arrays(self.model.predict(sample))
        self.left.spend(size, time.perf_counter() - begun)
        return found

    def measure(self, size: int) -> float:
        """Seconds a row: the best of a few rounds, since whatever else runs only ever adds."""
        few = self.left.rows is not None
        count = size if few else max(size, SAMPLE_ROWS // size * size)
        sample = _sized(self.encoded, count)
        once = self._timed(sample, size, size)
        if once * (count // size) > _RUN_SECONDS:
            count = max(size, int(_RUN_SECONDS / max(once, 1e-9)) * size)
        best = once / size
        for number in range(_FEW if few else _ROUNDS):
            if not self.left.allows(count):
                break
            took = self._timed(sample, count, size) / count
            best = took if number == 0 else min(best, took)  # the first call of a size warms up
        return best

    def _timed(self, sample: Encoded, count: int, size: int) -> float:
        wall, begun = time.perf_counter(), self.clock()
        _run(self.model, sample, count, size)
        took = self.clock() - begun
        self.left.spend(count, time.perf_counter() - wall)
        return took


def _climb(
    calls: _Calls, kernel: str, sizes: tuple[int, int, int], times: dict[str, float]
) -> tuple[float, int]:
    """(seconds a row, rows) of the best size that doubling, then halving, leads to.

    Args:
        sizes: that was reached; to start from; the largest.
    """
    reached, start, largest = sizes
    if reached < start or not calls.left.allows(start):
        times[f"{kernel}/{reached}"] = calls.left.pace
        return calls.left.pace, start
    up = [start << step for step in range(20) if start << step <= largest]
    down = [start >> step for step in range(20) if start >> step >= _SMALLEST]
    best = calls.measure(start), start
    times[f"{kernel}/{start}"] = best[0]
    for path in (up, down):
        worse = 0
        for size in path[1:]:
            if not calls.left.allows(size):
                break
            seconds = calls.measure(size)
            if calls.limited:
                break  # the device's memory ends here
            times[f"{kernel}/{size}"] = seconds
            if seconds <= best[0] * _BETTER:
                best, worse = (seconds, size), 0
            elif (worse := worse + 1) == 2:
                break
        if best[1] != start:
            break
    return best


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
    """Compares the rows that both have: the slower kernel may have been given less."""
    expected, found = [np.atleast_1d(a) for a in expected], [np.atleast_1d(a) for a in found]
    both = min((len(a) for a in (*expected, *found)), default=0)
    expected, found = [a[:both] for a in expected], [a[:both] for a in found]
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
