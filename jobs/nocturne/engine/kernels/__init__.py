"""Ways to run one exported program; which is fastest depends on the model, so it is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule

from nocturne.engine.kernels.mkl import Packed
from nocturne.engine.kernels.onednn import onednn
from nocturne.engine.program import Program

__all__ = ["KERNELS", "PRECISIONS", "Run", "build"]

Run = Callable[..., Any]
"""Flat tensors in, a sequence of tensors out."""


def _graph(graph: GraphModule) -> GraphModule:
    """The exported operators one by one, as eager torch runs them."""
    return graph


KERNELS: dict[str, Callable[[GraphModule], Run]] = {
    "graph": _graph,
    "onednn": onednn,
    "mkl": Packed,
}
"""Name -> what makes a callable of the flat graph. The others must agree with the first."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(program: Program, kernel: str, precision: str) -> Run:
    """The program as a callable, its floating-point weights and inputs in ``precision``.

    Raises:
        ModelError: this kernel does not apply to this program.
    """
    graph = program.graph
    dtype = PRECISIONS[precision]
    if dtype is torch.float32:
        return KERNELS[kernel](graph)
    converted = KERNELS[kernel](graph.to(dtype))

    def run(*tensors: torch.Tensor) -> Any:
        return converted(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))

    return run
