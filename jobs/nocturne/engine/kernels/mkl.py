"""Linear layers with weights packed for MKL, once for each number of rows."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, cast

import torch
from torch.fx import GraphModule, Interpreter, Node

from nocturne.engine.kernels.linear import hold, layers
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
        if (module := self.modules.get(shapes)) is not None:
            return module(*tensors)
        if len(self.modules) == self._kept:
            self.modules.popitem(last=False)
        packing = _Packing(self._graph)
        outputs = packing.run(*tensors)
        self.modules[shapes] = _packed(self._graph, packing.found)
        return outputs


class _Packing(Interpreter):
    """Runs the graph once, operator by operator, and packs each layer when it is reached.

    The graph may change its arguments, or count its calls, so it must not be run a second time.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self._layers = {layer.node.name: layer for layer in layers(graph, torch.float32)}
        self.found: dict[str, tuple[torch.Tensor, int]] = {}
        """The name of a layer -> its packed weight, and the rows that it is given."""

    def run_node(self, n: Node) -> Any:
        if n.name not in self._layers:
            return super().run_node(n)
        layer, given = self._layers[n.name], self.env[cast("Node", n.args[0])]
        rows = given.numel() // max(1, given.shape[-1])
        weight = layer.weight.detach().contiguous()
        packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
        self.found[n.name] = packed, rows
        bias = self.env[layer.bias] if layer.bias is not None else None
        return torch.ops.mkl._mkl_linear(given, packed, layer.weight, bias, rows)


def _packed(graph: GraphModule, found: dict[str, tuple[torch.Tensor, int]]) -> GraphModule:
    """A copy of the graph, with the same tensors and the packed layers."""
    module = GraphModule(graph, copy.deepcopy(graph.graph))
    linear: Any = torch.ops.mkl._mkl_linear.default
    for number, (node, _, bias) in enumerate(layers(module, torch.float32)):
        packed, rows = found[node.name]
        with module.graph.inserting_before(node):
            constant = hold(module, f"_packed_{number}", packed)
            fast = module.graph.call_function(
                linear, (node.args[0], constant, node.args[1], bias, rows)
            )
        users = list(node.users)
        if len(users) == 1 and users[0].target in _IN_PLACE:
            users[0].target = _IN_PLACE[users[0].target]
        node.replace_all_uses_with(fast)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
