"""Linear layers with weights packed for MKL, once for each number of rows."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, cast

import torch
from torch.fx import GraphModule, Interpreter, Node

from nocturne.engine.kernels.linear import constants, layers
from nocturne.errors import ModelError

__all__ = ["Packed"]

_KEPT = 256 << 20
"""The bytes of packed weights that are kept besides the last: a search goes back and forth between
some sizes."""

_aten: Any = torch.ops.aten
_IN_PLACE = {
    _aten.relu.default: _aten.relu_.default,
    _aten.sigmoid.default: _aten.sigmoid_.default,
    _aten.tanh.default: _aten.tanh_.default,
}


class Packed:
    """A graph that packs its weights when it is first given a shape.

    It is what torch.compile takes for linear layers on a CPU where MKL is the faster one
    (torch/_inductor/fx_passes/mkldnn_fusion.py and mkldnn_ir.py: ``MKLPackedLinear``): MKL packs
    for one number of rows, and torch multiplies by the unpacked weight if it is given another.

    Attributes:
        modules: the packed graphs, by the shapes of their arguments.

    Raises:
        ModelError: torch was built without MKL, or there is no linear layer to pack.
    """

    def __init__(self, graph: GraphModule) -> None:
        if not torch._C.has_mkl:
            raise ModelError("this torch has no MKL, which is for x86 processors")
        found = layers(graph, torch.float32)
        if not found:
            raise ModelError("the model has no linear layer that MKL could run")
        self._graph = graph
        self._kept = 1 + _KEPT // max(1, sum(layer.weight.nbytes for layer in found))
        self.modules: OrderedDict[tuple[torch.Size, ...], GraphModule] = OrderedDict()

    def __call__(self, *tensors: torch.Tensor) -> Any:
        shapes = tuple(tensor.shape for tensor in tensors)
        if (module := self.modules.get(shapes)) is None:
            if len(self.modules) == self._kept:
                self.modules.popitem(last=False)
            module = self.modules[shapes] = _packed(self._graph, _rows(self._graph, tensors))
        return module(*tensors)


class _Noting(Interpreter):
    """Runs the graph, and notes how many rows each linear layer is given."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.rows: dict[str, int] = {}

    def run_node(self, n: Node) -> Any:
        if n.target is _aten.linear.default:
            given = self.env[cast("Node", n.args[0])]
            self.rows[n.name] = given.numel() // max(1, given.shape[-1])
        return super().run_node(n)


def _rows(graph: GraphModule, tensors: tuple[torch.Tensor, ...]) -> dict[str, int]:
    noting = _Noting(graph)
    noting.run(*tensors)
    return noting.rows


def _packed(graph: GraphModule, rows: dict[str, int]) -> GraphModule:
    """A copy of the graph, with the same tensors, whose layers are packed for these rows."""
    module = GraphModule(graph, copy.deepcopy(graph.graph))
    linear: Any = torch.ops.mkl._mkl_linear.default
    for number, (node, weight, bias) in enumerate(layers(module, torch.float32)):
        count = rows[node.name]
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight.detach().contiguous(), count)
        with module.graph.inserting_before(node):
            constant = constants(module, f"_packed_{number}", packed)
            fast = module.graph.call_function(
                linear, (node.args[0], constant, node.args[1], bias, count)
            )
        users = list(node.users)
        if len(users) == 1 and users[0].target in _IN_PLACE:
            users[0].target = _IN_PLACE[users[0].target]
        node.replace_all_uses_with(fast)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
