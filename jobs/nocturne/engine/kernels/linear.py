"""Finds the linear layers of a graph whose weights can be packed."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from nocturne.engine.program import may_write

__all__ = ["Layer", "hold", "layers"]

_aten: Any = torch.ops.aten


class Layer(NamedTuple):
    """A linear layer: its node, its weight, and the node of its bias if it has one."""

    node: Node
    weight: torch.Tensor
    bias: Any


def layers(graph: GraphModule, *dtypes: torch.dtype) -> list[Layer]:
    """The linear layers on the CPU whose weights are constant matrices of these types.

    Their biases are constant vectors with a value for each output: the packed operators read so
    many values from where the bias begins, whatever its shape.
    """
    found = []
    for node in graph.graph.nodes:
        if node.target is not _aten.linear.default:
            continue
        weight = _constant(graph, node.args[1])
        source = node.args[2] if len(node.args) > 2 else None
        bias = _constant(graph, source)
        if weight is None or weight.dtype not in dtypes or weight.dim() != 2:
            continue
        fits = source is None or (
            bias is not None
            and bias.shape == weight.shape[:1]
            and bias.dtype is weight.dtype
            and bias.is_contiguous()
        )
        if fits and weight.device.type == "cpu":
            found.append(Layer(node, weight, source))
    return found


def _constant(graph: GraphModule, source: object) -> torch.Tensor | None:
    """A constant of the graph that no operator changes."""
    if not isinstance(source, Node) or source.op != "get_attr" or _is_written(source):
        return None
    value = attrgetter(str(source.target))(graph)
    return value if isinstance(value, torch.Tensor) else None


def _is_written(source: Node) -> bool:
    """Whether an operator writes to it, or to a constant of the same name."""
    same = [n for n in source.graph.nodes if n.op == "get_attr" and n.target == source.target]
    return any(may_write(user.target) for node in same for user in node.users)


def hold(graph: GraphModule, name: str, value: torch.Tensor) -> Node:
    """A node with a constant of the graph, which is kept under ``name``."""
    graph.register_buffer(name, value)
    return graph.graph.get_attr(name)
