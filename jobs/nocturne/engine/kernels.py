"""Ways to run one exported program; which is fastest depends on the model, so it is measured."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch.fx import GraphModule, Node

from nocturne.engine.program import Program
from nocturne.errors import ModelError

__all__ = ["KERNELS", "PRECISIONS", "Run", "build"]

Run = Callable[..., Any]
"""Flat tensors in, a sequence of tensors out."""

_aten: Any = torch.ops.aten
_FUSED = {
    _aten.relu.default: ("relu", ""),
    _aten.relu_.default: ("relu", ""),
    _aten.sigmoid.default: ("sigmoid", ""),
    _aten.tanh.default: ("tanh", ""),
}
"""Activations that oneDNN applies inside the linear layer before them."""


def _graph(graph: GraphModule) -> GraphModule:
    """The exported operators one by one, as eager torch runs them."""
    return graph


def _onednn(graph: GraphModule) -> GraphModule:
    """Linear layers with weights packed once for oneDNN, and the activation done inside.

    This is what torch.compile's freezing does to linear layers on a CPU
    (torch/_inductor/fx_passes/mkldnn_fusion.py), without the compiler.

    Raises:
        ModelError: there is no linear layer to pack, or it is in bfloat16 and oneDNN has no
            bfloat16 for this processor (x86 needs AVX-512).
    """
    linear: Any = torch.ops.mkldnn._linear_pointwise.default
    packed = 0
    for node in list(graph.graph.nodes):
        if node.target is not _aten.linear.default or not _constant(node.args[1]):
            continue
        weight: torch.Tensor = attrgetter(str(node.args[1].target))(graph)
        bias = node.args[2] if len(node.args) > 2 else None
        if weight.dtype not in (torch.float32, torch.bfloat16) or weight.device.type != "cpu":
            continue
        if weight.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise ModelError(
                "oneDNN has no bfloat16 for this processor (on x86 it needs AVX-512); leave "
                "scoring.kernel at auto or set it to graph"
            )
        name = f"_packed_{packed}"
        graph.register_buffer(
            name, torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        )
        users = list(node.users)
        last = users[0] if len(users) == 1 and users[0].target in _FUSED else node
        attribute, algorithm = _FUSED[last.target] if last is not node else ("none", "")
        with graph.graph.inserting_before(node):
            constant = graph.graph.get_attr(name)
            fused = graph.graph.call_function(
                linear, (node.args[0], constant, bias, attribute, [], algorithm)
            )
        last.replace_all_uses_with(fused)
        packed += 1
    if not packed:
        raise ModelError("the model has no linear layer that oneDNN could run")
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _constant(node: object) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


KERNELS: dict[str, Callable[[GraphModule], GraphModule]] = {"graph": _graph, "onednn": _onednn}
"""Name -> rewrite of the flat graph. The first is what the others must agree with."""

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
