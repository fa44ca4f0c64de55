"""A torch program on an accelerator: micro-batches in flight, and memory that may run out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch

from nocturne.engine.encode import Encoded
from nocturne.engine.kernels import Run
from nocturne.engine.lane import Lane, Streams
from nocturne.engine.model import Array, Raw
from nocturne.errors import DeviceLost, ModelError

__all__ = ["LANES", "DeviceModel"]

LANES = 3
"""Micro-batches in flight: one is copied in, one computes, one is copied out."""

Pieces = list[list[Array]]


class DeviceModel:
    """Runs batches asynchronously (see ``nocturne.engine.model.AsyncModel``).

    Device memory is bounded by LANES x micro-batch x (inputs + activations + outputs). If it
    runs out, the micro-batch is halved from then on and its rows run again; ``limit`` is the size
    that was found, or None if memory never ran out.
    """

    def __init__(
        self,
        run: Run,
        device: str,
        *,
        order: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.run, self.order, self.names = run, order, names
        self.streams = Streams(torch.device(device))
        self.limit: int | None = None
        self._lanes: list[Lane] = []
        self._shape: object = None
        self._flying: deque[tuple[Lane, Pieces]] = deque()

    def predict(self, encoded: Encoded) -> Raw:
        return self.begin(encoded, len(encoded[0]))()

    def begin(self, encoded: Encoded, size: int) -> Callable[[], Raw]:
        """Queue a batch; only its last ``LANES`` micro-batches are unfinished on return."""
        pieces: Pieces = []
        failure: Exception | None = None
        try:
            with torch.inference_mode():
                self._submit(encoded, size, pieces)
        except ModelError:
            raise
        except torch.AcceleratorError as error:
            raise self._lost(error) from error
        except Exception as error:  # raised where the rows' result would have come
            failure = error

        def result() -> Raw:
            try:
                while any(owner is pieces for _, owner in self._flying):
                    self._land()
            except torch.AcceleratorError as error:
                raise self._lost(error) from error
            if failure is not None:
                raise failure
            outputs = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
            names = self.names or self._lanes[0].names
            return dict(zip(names, outputs, strict=True)) if names else outputs

        return result

    def _submit(self, encoded: Encoded, size: int, pieces: Pieces) -> None:
        count, start = len(encoded[0]), 0
        while start < count:
            size = min(size, self.limit or size)
            stop = min(start + size, count)
            try:
                lane = self._free_lane(encoded, size)
                lane.submit(encoded, start, stop)
            except torch.OutOfMemoryError as error:
                self._halve(size, error)
                continue
            self._flying.append((lane, pieces))
            start = stop

    def _free_lane(self, encoded: Encoded, size: int) -> Lane:
        shape = (size, [(array.shape[1:], array.dtype.str) for array in encoded])
        if shape != self._shape:
            self._land_all()
            self._lanes, self._shape = [], shape
        if len(self._flying) == LANES:
            lane, _ = self._flying[0]
            self._land()
            return lane
        busy = [lane for lane, _ in self._flying]
        for lane in self._lanes:
            if lane not in busy:
                return lane
        self._lanes.append(Lane(self.run, self.order, encoded, size, self.streams))
        return self._lanes[-1]

    def _land(self) -> None:
        lane, pieces = self._flying.popleft()
        pieces.append(lane.collect())

    def _land_all(self) -> None:
        while self._flying:
            self._land()

    def _halve(self, size: int, error: Exception) -> None:
        if size < 2:
            raise ModelError(
                f"the device has no memory for a single row: {str(error).splitlines()[0]}. Use a "
                "larger device, or fewer workers on this one"
            ) from error
        self._land_all()
        self.limit = size // 2
        self._lanes, self._shape = [], None
        if self.streams.cuda:
            torch.cuda.empty_cache()

    def _lost(self, error: Exception) -> DeviceLost | ModelError:
        """The error for a device that failed, or for a model whose operator failed its own check.

        The second would be an exception on a CPU. CUDA does not say in which row it happened and
        can't go on in this process; another attempt would end in the same way.
        """
        first = str(error).splitlines()[0]
        if "device-side assert" in first:
            return ModelError(
                f"an operator of the model refused a value on {self.streams.device}: {first}. This "
                "is most often an index beyond an embedding's rows. scoring.device: cpu scores the "
                "partition and quarantines the rows at fault; a vocabulary or ids that fit the "
                "model mend it for the GPU. Nothing of this split was kept"
            )
        return DeviceLost(
            f"the device {self.streams.device} failed: {first}. Nothing of "
            "this split was kept; run the same command again to go on"
        )
