"""One micro-batch on its way through a device: staging in, compute, staging out.

Several lanes are in flight at once: while one computes, the next one's inputs are copied
to the device and the last one's outputs back, each on a stream of its own. On a CPU the
same code runs without streams, which is how it is tested where there is no GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from nocturne.engine.encode import Encoded
from nocturne.engine.kernels import Run
from nocturne.engine.model import Array
from nocturne.errors import ModelError

__all__ = ["Lane", "Streams"]

_cuda: Any = torch.cuda

# Of a capture that ended because the memory ran out, which is told as such.
warnings.filterwarnings("ignore", message="The CUDA Graph is empty")


class Streams:
    """The device's queues: copies in, compute, copies out; None and no-ops on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda = device.type == "cuda"
        streams: list[Any] = [_cuda.Stream(device) if self.cuda else None for _ in range(3)]
        self.copy_in, self.compute, self.copy_out = streams
        self.pool: Any = torch.cuda.graph_pool_handle() if self.cuda else None

    def on(self, stream: Any) -> Any:
        return torch.cuda.stream(stream) if self.cuda else nullcontext()


class Lane:
    """Buffers of ``size`` rows for one program: pinned on the host, fixed on the device.

    The program is captured as a CUDA graph where that works (fixed shapes, no waiting inside),
    so that a micro-batch costs one launch; where not, it runs operator by operator.
    """

    def __init__(
        self, run: Run, order: Sequence[int] | None, encoded: Encoded, size: int, streams: Streams
    ) -> None:
        self.run, self.size, self.streams = run, size, streams
        self.order = range(len(encoded)) if order is None else order
        self.host = [
            torch.empty(
                (size, *array.shape[1:]),
                dtype=torch.from_numpy(array[:0]).dtype,
                pin_memory=streams.cuda,
            )
            for array in encoded
        ]
        self.inputs = [tensor.to(streams.device) for tensor in self.host]
        self.graph: Any = None
        self.outputs: Any = None
        self.names: list[str] | None = None
        self.staged: list[torch.Tensor] = []
        self.rows = 0
        self.done: Any = None
        if streams.cuda:
            self._capture()

    def _forward(self) -> list[torch.Tensor]:
        result = self.run(*(self.inputs[i] for i in self.order))
        if isinstance(result, dict):
            self.names = [str(name) for name in result]
            return list(result.values())
        return list(result) if isinstance(result, (tuple, list)) else [result]

    def _capture(self) -> None:
        """A CUDA graph of the program on this lane's buffers, after two runs to warm up."""
        for tensor in self.inputs:
            tensor.zero_()
        torch.cuda.synchronize(self.streams.device)
        with self.streams.on(self.streams.compute):
            for _ in range(2):
                self.outputs = self._forward()
        self.streams.compute.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.streams.pool, stream=self.streams.compute):
                self.outputs = self._forward()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # what can't be captured is run as it is
            torch.cuda.synchronize(self.streams.device)
            return
        self.graph = graph

    def submit(self, encoded: Encoded, start: int, stop: int) -> None:
        """Queue rows ``start`` to ``stop``, padded to the lane's size with the last of them."""
        self.rows = stop - start
        for host, array in zip(self.host, encoded, strict=True):
            staging = host.numpy()
            staging[: self.rows] = array[start:stop]
            staging[self.rows :] = array[stop - 1]
        s = self.streams
        with s.on(s.copy_in):
            for host, device in zip(self.host, self.inputs, strict=True):
                device.copy_(host, non_blocking=True)
        if s.cuda:
            s.compute.wait_stream(s.copy_in)
        with s.on(s.compute):
            if self.graph is not None:
                self.graph.replay()
            else:
                self.outputs = self._forward()
        if s.cuda:
            s.copy_out.wait_stream(s.compute)
        with s.on(s.copy_out):
            for position, output in enumerate(map(torch.atleast_1d, self.outputs)):
                self._stage(position, output).copy_(output, non_blocking=True)
                if s.cuda and self.graph is None:
                    output.record_stream(s.copy_out)
            if s.cuda:
                self.done = _cuda.Event()
                self.done.record(s.copy_out)

    def _stage(self, position: int, output: torch.Tensor) -> torch.Tensor:
        """The pinned buffer that an output is copied into; bf16 becomes float32 on the way.

        Raises:
            ModelError: the output has another shape than before, or not as many rows as were
                submitted: to copy it would repeat its values.
        """
        is_new = position == len(self.staged)
        expected = (self.size, *output.shape[1:]) if is_new else tuple(self.staged[position].shape)
        if tuple(output.shape) != expected:
            raise ModelError(
                f"output {position} has shape {tuple(output.shape)} for {self.size} rows, expected "
                f"{expected}: have the model return as many values for each row that it is given"
            )
        if is_new:
            half = output.dtype in (torch.bfloat16, torch.float16)
            dtype = torch.float32 if half else output.dtype
            self.staged.append(torch.empty(output.shape, dtype=dtype, pin_memory=self.streams.cuda))
        return self.staged[position]

    def collect(self) -> list[Array]:
        """Wait for what was submitted; its outputs, without the padding."""
        if self.done is not None:
            self.done.synchronize()
            self.done = None
        return [np.array(tensor.numpy()[: self.rows]) for tensor in self.staged]
