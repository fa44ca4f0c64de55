"""Linear layers with weights packed once for oneDNN, and the activation done inside."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule

from nocturne.engine.kernels.linear import hold, layers
from nocturne.errors import ModelError

__all__ = ["onednn"]

_aten: Any = torch.ops.aten
_FUSED = {
    _aten.relu.default: "relu",
    _aten.relu_.default: "relu",
    _aten.sigmoid.default: "sigmoid",
    _aten.tanh.default: "tanh",
}
"""Activations that oneDNN applies inside the linear layer before them."""


def onednn(graph: GraphModule) -> GraphModule:
    """The graph with its linear layers rewritten.

    This is what torch.compile's freezing does to linear layers on a CPU
    (torch/_inductor/fx_passes/mkldnn_fusion.py), without the compiler.

    Raises:
        ModelError: there is no linear layer to pack, or it is in bfloat16 and oneDNN has no
            bfloat16 for this processor (x86 needs AVX-512).
    """
    linear: Any = torch.ops.mkldnn._linear_pointwise.default
    found = layers(graph, torch.float32, torch.bfloat16)
    for number, (node, weight, bias) in enumerate(found):
        if weight.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise ModelError(
                "oneDNN has no bfloat16 for this processor (on x86 it needs AVX-512); leave "
                "scoring.kernel at auto or set it to graph"
            )
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        users = list(node.users)
        last = users[0] if len(users) == 1 and users[0].target in _FUSED else node
        attribute = _FUSED[last.target] if last is not node else "none"
        with graph.graph.inserting_before(node):
            constant = hold(graph, f"_packed_{number}", packed)
            fused = graph.graph.call_function(
                linear, (node.args[0], constant, bias, attribute, [], "")
            )
        last.replace_all_uses_with(fused)
    if not found:
        raise ModelError("the model has no linear layer that oneDNN could run")
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph
