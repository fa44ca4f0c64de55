"""Where a search for the fastest settings starts and ends, for a model on a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import torch

from nocturne.encoding import Encoding
from nocturne.engine.cast import cast_rows
from nocturne.engine.encode import encode
from nocturne.engine.kernels import KERNELS
from nocturne.engine.model import Model
from nocturne.engine.search import first_sizes, search
from nocturne.fitting.roles import Cast
from nocturne.records.plan import Pinned, Tuning

__all__ = ["SearchPlan", "search_plan"]

_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}

_PYFUNC = 1024, 1 << 16
"""Where the search starts and ends for pyfunc, whose calls cost milliseconds."""
_SEARCHED = 1 << 16
"""Rows of the least partition that a pyfunc model is searched on: a shorter one gains nothing, as
it makes 64 calls of 1024 rows at most."""


@dataclass(frozen=True)
class SearchPlan:
    """What is searched: kernels, and micro-batches from ``start`` to ``largest`` rows."""

    pinned: Pinned
    encoding: Encoding
    kernels: tuple[str, ...]
    start: int
    largest: int
    pyfunc: bool
    here: bool
    """Whether the device is on this machine."""

    @property
    def unmeasured(self) -> Tuning:
        """Where the search would start."""
        return Tuning(self.kernels[0], self.start, found=False)

    def is_worthwhile(self, rows: int) -> bool:
        """Whether a partition of so many rows gains by it."""
        few = self.pyfunc and (rows < _SEARCHED or self.start == self.largest)
        return self.here and not few

    def search(
        self,
        load: Callable[[str], Model],
        sample: pa.RecordBatch,
        cast: Mapping[str, Cast],
        rows: int,
    ) -> Tuning:
        """Measure on a sample.

        Args:
            load: gives the model that a kernel runs.
            cast: what the model sees of the columns.
            rows: of the whole partition.

        Raises:
            ModelError: the model can't score the sample.
        """
        torch.set_num_threads(self.pinned.threads)
        cpu = self.pinned.device == "cpu"
        seen, _ = cast_rows(sample, cast, dict.fromkeys(cast, 0))
        return search(
            load,
            list(self.kernels),
            encode(seen, self.encoding),
            start=self.start,
            largest=self.largest,
            least=1 if self.pyfunc else 64 if cpu else max(64, self.start // 16),
            rows=rows if self.pyfunc else None,
            tolerance=_TOLERANCE[self.pinned.precision],
            clock=self._clock(),
        )

    def _clock(self) -> Callable[[], float]:
        """Spark's JVM starts meanwhile; one thread's work is told apart from that."""
        alone = self.pinned.threads == 1 and self.pinned.device == "cpu" and not self.pyfunc
        return time.thread_time if alone else time.perf_counter


def search_plan(
    pinned: Pinned, wanted: tuple[str, int | str], encoding: Encoding, *, pyfunc: bool
) -> SearchPlan:
    """The plan of a search.

    Args:
        pinned: device, threads and precision count.
        wanted: kernel and micro-batch, each "auto" or fixed.
        pyfunc: whether the model's calls cost milliseconds.
    """
    cpu = pinned.device == "cpu"
    here = cpu or torch.cuda.is_available()
    memory = torch.cuda.mem_get_info()[0] if here and not cpu else None
    start, largest = first_sizes(encoding.row_bytes, pinned.device, memory)
    if pyfunc:
        start, largest = _PYFUNC
    kernel, micro_batch = wanted
    if isinstance(micro_batch, int):
        start = largest = micro_batch
    kernels = tuple(KERNELS) if cpu and not pyfunc else ("graph",)
    kernels = kernels if kernel == "auto" else (kernel,)
    return SearchPlan(pinned, encoding, kernels, start, largest, pyfunc, here)
