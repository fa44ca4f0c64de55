"""Finds the linear layers of a graph whose weights can be packed."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

__all__ = ["Layer", "constants", "layers"]

_aten: Any = torch.ops.aten


class Layer(NamedTuple):
    """A linear layer: its node, its weight, and the node of its bias if it has one."""

    node: Node
    weight: torch.Tensor
    bias: Any


def layers(graph: GraphModule, *dtypes: torch.dtype) -> list[Layer]:
    """The linear layers on the CPU whose weights are constants of these types."""
    found = []
    for node in graph.graph.nodes:
        if node.target is not _aten.linear.default:
            continue
        source = node.args[1]
        if not isinstance(source, Node) or source.op != "get_attr":
            continue
        weight: torch.Tensor = attrgetter(str(source.target))(graph)
        if weight.dtype in dtypes and weight.device.type == "cpu":
            found.append(Layer(node, weight, node.args[2] if len(node.args) > 2 else None))
    return found


def constants(graph: GraphModule, name: str, value: torch.Tensor) -> Node:
    """A node with a constant of the graph, which is kept under ``name``."""
    graph.register_buffer(name, value)
    return graph.graph.get_attr(name)
