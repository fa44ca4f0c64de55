"""Searches for the fastest kernel and micro-batch (the number of rows in a call).

First each kernel by itself doubles and halves the micro-batch while that helps. Then those that
came near the fastest are measured again in turns, so that what else the machine does meanwhile is
the same for all: two of them are compared within each round, and the median of the ratios counts.
Where that is near 1, an order that is always the same decides, and not the noise.

The search is limited in seconds and, if the model's calls may cost money, in rows. It makes no
call that it does not expect to end in time. So it first gives the model a few rows, then more and
more, until it reaches the micro-batch at which the comparison starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import pyarrow as pa

from nocturne.engine.agree import agree, in_order
from nocturne.engine.encode import Encoded, rows
from nocturne.engine.model import Array, Model
from nocturne.errors import ModelError
from nocturne.records.plan import Tuning

__all__ = ["SAMPLE_ROWS", "first_sizes", "search"]

SAMPLE_ROWS = 16_384
"""The most rows that a search is given."""

SECONDS = 2.0
"""Seconds that all calls of a search may take, for all kernels together."""

_SMALLEST, _LARGEST = 256, 1 << 18
_ROUGH, _ROUNDS = 2, 7
"""How often a size is measured while climbing, and then how often each of the candidates."""
_BUSY = 1.15
"""Wall seconds for a processor second from which on the machine counts as busy; then the candidates
are measured in twice as many rounds."""
_RUN_SECONDS = 0.03
_BETTER = 0.97
_BETTER_IN_ROUNDS = 0.96
"""What must take at most this much of another's time to be preferred to it: in the climb, and in
the median of the rounds."""
_NEAR = 1.25
"""Who takes at most this much of the fastest's time in the climb is measured again."""
_ACTIVATIONS = 16
"""While it is scored, a row is assumed to need this many times the bytes of its input."""


def first_sizes(row_bytes: int, device: str, memory: int | None = None) -> tuple[int, int]:
    """The micro-batches at which the search starts and ends, in rows; both are powers of two.

    On a CPU the search starts with as many rows as fit the core's second-level cache; on a GPU
    with a 64th of its memory, since launches cost more there than cache misses.

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

    The micro-batch is doubled from ``start``, then halved, while that helps by 3% or more; the
    search goes past one size that does not help. A kernel counts only if its outputs agree with
    the first kernel's within ``tolerance``, relative to the largest of them. Another kernel
    than the first, and another size than ``start``, must take 4% less. If ``start`` is too slow to
    be tried, it is the result.

    Args:
        load: loads the model with a kernel; a ModelError means that the kernel does not apply.
        encoded: the sample; it is repeated if a micro-batch is longer.
        least: rows of the first call.
        rows: the most rows that the model may be given in all calls; None for no limit.
        seconds: the most seconds that all calls of all kernels may take.
        clock: returns seconds. If all work is done in this thread, the seconds of the thread
            (``time.thread_time``) do not count what else the machine does.

    Raises:
        ModelError: no kernel runs this model.
    """
    ways: list[_Way] = []
    expected: list[Array] | None = None
    problem: tuple[str, Exception] | None = None
    budget, samples = _Budget(seconds, rows), dict[int, Encoded]()
    for number, kernel in enumerate(kernels):
        budget.share(len(kernels) - number)
        hidden = ""
        try:
            model = load(kernel)
            hidden = "its text may hold values of rows"
            calls = _Calls(model, encoded, clock, budget, samples)
            reached, outputs = calls.warm(min(least, start), start)
            if expected is not None and not _agree(expected, outputs, tolerance):
                continue
            ways += _climb(calls, kernel, (reached, start, largest))
            _release(ways)
        except Exception as error:  # of the model, or of a row
            problem = f"{type(error).__name__}: {hidden or error}", error
            continue
        expected = outputs if expected is None else expected
    if not ways:
        assert problem is not None
        raise ModelError(
            f"the model can't score a sample of this partition: {problem[0]}. Score a few rows in "
            "a notebook to see why; nothing was scored"
        ) from problem[1]
    budget.floor = 0.0
    best = _chosen(_contest(ways, budget))
    times = {f"{way.kernel}/{way.tried or way.size}": round(way.seconds * 1e6, 4) for way in ways}
    return Tuning(best.kernel, best.size, found=True, seconds_per_million=times)


@dataclass
class _Way:
    """A kernel and a micro-batch, with the seconds for a row: the least, and each round's."""

    calls: _Calls | None
    kernel: str
    size: int
    seconds: float
    tried: int = 0
    """The rows of the last call, if ``size`` was too slow to be tried."""
    rounds: list[float] = field(default_factory=list)

    def again(self, calls: _Calls) -> None:
        self.rounds.append(calls.measure_once(self.size))
        self.seconds = min(self.seconds, self.rounds[-1])

    def beats(self, other: _Way) -> bool:
        pairs = [*zip(self.rounds, other.rounds, strict=False)] or [(self.seconds, other.seconds)]
        return median(ours / theirs for ours, theirs in pairs) <= _BETTER_IN_ROUNDS


def _release(ways: Sequence[_Way]) -> None:
    """Let go of the models that come nowhere near the fastest: each holds the weights."""
    fastest = min(way.seconds for way in ways)
    for way in ways:
        if way.seconds > _NEAR * fastest:
            way.calls = None


def _contest(ways: Sequence[_Way], budget: _Budget) -> list[_Way]:
    """Those that come near the fastest, measured again in turns; one that fails meanwhile is out.

    Raises:
        ModelError: all of them failed.
    """
    near = [way for way in ways if way.calls is not None]
    if len(near) == 1:
        return near
    for number in range(2 * _ROUNDS):
        if number >= _ROUNDS and not budget.busy:
            break
        for way in near[:: 1 if number % 2 else -1]:
            if way.calls is None:
                continue
            if not budget.allows(way.calls.rows_of(way.size), way.seconds):
                return _alive(near)
            try:
                way.again(way.calls)
            except Exception:  # its text may hold values of rows
                way.calls = None
    return _alive(near)


def _alive(near: Sequence[_Way]) -> list[_Way]:
    if alive := [way for way in near if way.calls is not None]:
        return alive
    raise ModelError("the model can't score a sample of this partition again and again")


def _chosen(near: Sequence[_Way]) -> _Way:
    """The first that no later one beats; they come by kernel, and from the start on."""
    best = near[0]
    for way in near[1:]:
        if way.beats(best):
            best = way
    return best


@dataclass
class _Budget:
    """What remains of the search's limits: seconds of wall time, and rows if they are limited."""

    seconds: float
    rows: int | None
    floor: float = 0.0
    """Seconds that are reserved for the next kernels."""
    pace: float = 0.0
    """Seconds for a row in the last call."""
    wall: float = 0.0
    measured: float = 0.0
    """Seconds of all measurements, by the wall and by the search's clock."""

    @property
    def busy(self) -> bool:
        """Whether other work has taken the processor from this."""
        return self.wall > _BUSY * self.measured

    def share(self, kernels: int) -> None:
        """Divide the remaining seconds among ``kernels`` kernels; the first of them begins."""
        self.floor, self.pace = self.seconds * (1 - 1 / kernels), 0.0

    def allows(self, rows: int, pace: float | None = None) -> bool:
        """Whether a call with ``rows`` rows is expected to stay within the limits.

        Args:
            pace: seconds for a row; default: those of the last call.
        """
        expected = rows * (self.pace if pace is None else pace)
        in_time = expected <= self.seconds - self.floor
        return in_time and (self.rows is None or rows <= self.rows)

    def spend(self, rows: int, seconds: float, measured: float = 0.0) -> None:
        """Args: measured: the seconds of the search's clock, if they were measured."""
        self.seconds -= seconds
        if measured:
            self.wall, self.measured = self.wall + seconds, self.measured + measured
        self.pace = seconds / rows
        if self.rows is not None:
            self.rows -= rows


class _Calls:
    """Calls a model with rows of the sample and measures the seconds.

    Args:
        samples: the sample by its number of rows, which all kernels share: it may be large.
    """

    def __init__(
        self,
        model: Model,
        encoded: Encoded,
        clock: Callable[[], float],
        budget: _Budget,
        samples: dict[int, Encoded],
    ) -> None:
        self.model, self.encoded, self.clock, self.budget = model, encoded, clock, budget
        self._counts: dict[int, int] = {}
        self._samples = samples

    @property
    def limited(self) -> bool:
        """Whether the device's memory has ended a call."""
        return getattr(self.model, "limit", None) is not None

    def warm(self, least: int, start: int) -> tuple[int, list[Array]]:
        """Calls the model with four times as many rows each time, up to ``start``, within the
        limits.

        Returns:
            The rows of the last call, and its outputs.
        """
        size, before = least, self.budget.seconds
        outputs = self._called(size)
        if self.budget.rows is None:
            self.budget.seconds = before  # a graph's first call completes its loading
        if self.budget.allows(size):
            outputs = self._called(size)
        while size < start and self.budget.allows(min(4 * size, start)):
            size = min(4 * size, start)
            outputs = self._called(size)
        return size, outputs

    def _called(self, size: int) -> list[Array]:
        sample, begun = _sized(self.encoded, size), time.perf_counter()
        outputs = in_order(self.model.predict(sample))
        self.budget.spend(size, time.perf_counter() - begun)
        return outputs

    def rows_of(self, size: int) -> int:
        """The rows of a measurement: whole calls, of a few milliseconds in all."""
        few = self.budget.rows is not None
        return size if few else self._counts.get(size, max(size, SAMPLE_ROWS // size * size))

    def measure(self, size: int) -> float:
        """Seconds for a row: the least of a few measurements."""
        count = self.rows_of(size)
        once = self._timed(_sized(self.encoded, size), size, size)
        if once * (count // size) > _RUN_SECONDS:
            self._counts[size] = max(size, int(_RUN_SECONDS / max(once, 1e-9)) * size)
        best = once / size
        for number in range(_ROUGH):
            if not self.budget.allows(self.rows_of(size)):
                break
            took = self.measure_once(size)
            best = took if number == 0 else min(best, took)  # the first call of a size warms up
        return best

    def measure_once(self, size: int) -> float:
        """Seconds for a row."""
        count = self.rows_of(size)
        if count not in self._samples:
            self._samples[count] = _sized(self.encoded, count)
        return self._timed(self._samples[count], count, size) / count

    def _timed(self, sample: Encoded, count: int, size: int) -> float:
        wall, begun = time.perf_counter(), self.clock()
        _run(self.model, sample, count, size)
        took = self.clock() - begun
        self.budget.spend(count, time.perf_counter() - wall, took)
        return took


def _climb(calls: _Calls, kernel: str, sizes: tuple[int, int, int]) -> list[_Way]:
    """The sizes that were measured by doubling, then halving.

    Args:
        sizes: the size that ``warm`` reached, the one to start from, and the largest.
    """
    reached, start, largest = sizes
    if reached < start or not calls.budget.allows(start):
        return [_Way(calls, kernel, start, calls.budget.pace, reached)]
    up = [start << step for step in range(20) if start << step <= largest]
    down = [start >> step for step in range(20) if start >> step >= _SMALLEST]
    best = _Way(calls, kernel, start, calls.measure(start))
    ways = [best]
    for path in (up, down):
        worse = 0
        for size in path[1:]:
            if not calls.budget.allows(size):
                break
            way = _Way(calls, kernel, size, calls.measure(size))
            if calls.limited:
                break  # the device's memory ends here
            ways.append(way)
            if way.seconds <= best.seconds * _BETTER:
                best, worse = way, 0
            elif (worse := worse + 1) == 2:
                break
        if best.size != start:
            break
    return ways


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


def _agree(expected: list[Array], outputs: list[Array], tolerance: float) -> bool:
    """Compares the rows that both have, since the slower kernel may have been given fewer."""
    common = min((len(a) for a in (*expected, *outputs)), default=0)
    return agree([a[:common] for a in expected], [a[:common] for a in outputs], tolerance)
