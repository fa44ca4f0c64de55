"""A program's graph kept as JSON and tensors, which loads without torch's export machinery.

``torch.export.load`` imports torch's compiler, two seconds in every worker; a graph of plain
operators needs none of it. So the first process that loads a model writes its flat form beside
the model's folder, and the others read that. Graphs that hold anything but operators of ``aten``
and ``prims``, numbers, dtypes and tensors have no flat form and are loaded as before. Nothing in
the form is code: operators are looked up by name in ``torch.ops``, tensors are read as weights.
"""

from __future__ import annotations

import json
import math
import operator
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

__all__ = ["read_flat", "write_flat"]

_FORMAT = 1
_OPERATORS = {name: getattr(operator, name) for name in
              ("getitem", "add", "sub", "mul", "floordiv", "mod", "neg", "truediv",
               "eq", "ne", "lt", "le", "gt", "ge")}  # fmt: skip
_NAMESPACES = ("aten", "prims")
_TYPES = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


class _NoFlatForm(Exception):
    """The graph holds something that JSON can't say."""


def _encoded(value: Any) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for name, kind in _TYPES.items():
        if isinstance(value, kind):
            return {name: str(value).removeprefix("torch.")}
    raise _NoFlatForm(f"{type(value).__name__} in the graph")


def _decoded(value: Any, nodes: dict[str, Node], device: str) -> Any:
    if isinstance(value, list):
        return [_decoded(item, nodes, device) for item in value]
    if not isinstance(value, dict):
        return value
    [(kind, text)] = value.items()
    if kind == "node":
        return nodes[text]
    if kind == "float":
        return float(text)
    if kind == "device":
        return torch.device(device)
    return getattr(torch, text)


def _target_name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload) and target.namespace in _NAMESPACES:
        return str(target)
    for name, function in _OPERATORS.items():
        if target is function:
            return f"operator.{name}"
    raise _NoFlatForm(f"{target} in the graph")


def _target(name: str) -> Any:
    space, _, rest = name.partition(".")
    if space == "operator":
        return _OPERATORS[rest]
    if space not in _NAMESPACES:
        raise _NoFlatForm(name)
    packet, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, space), packet), overload)


def write_flat(folder: Path, source: Path, graph: GraphModule, about: dict[str, Any]) -> None:
    """Write the flat form of ``source`` into ``folder``, whole or not at all.

    A graph without one, a folder that can't be written and a file that is there already are
    all left as they are.
    """
    try:
        nodes = [
            {
                "name": node.name,
                "op": node.op,
                "target": _target_name(node.target)
                if node.op == "call_function"
                else str(node.target),
                "args": _encoded(node.args),
                "kwargs": {key: _encoded(item) for key, item in node.kwargs.items()},
            }
            for node in graph.graph.nodes
        ]
        names = {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"}
        weights = {name: operator.attrgetter(name)(graph).detach() for name in names}
        if not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
            return
        made = folder.with_name(f".{folder.name}.{os.getpid()}")
        made.mkdir()
        torch.save(weights, made / "weights.pt")
        stamp = {"format": _FORMAT, "source": _stamp(source), "about": about, "nodes": nodes}
        (made / "graph.json").write_text(json.dumps(stamp), encoding="utf-8")
        try:
            made.rename(folder)
        except OSError:
            shutil.rmtree(made)
    except (_NoFlatForm, OSError, AttributeError):
        return


def _stamp(source: Path) -> list[Any]:
    stat = source.stat()
    return [source.name, stat.st_size, stat.st_mtime_ns, torch.__version__]


def read_flat(folder: Path, source: Path, device: str) -> tuple[GraphModule, dict[str, Any]] | None:
    """The graph on a device, and what was said ``about`` it; None if ``source`` has none."""
    try:
        stored = json.loads((folder / "graph.json").read_bytes())
        if stored["format"] != _FORMAT or stored["source"] != _stamp(source):
            return None
        weights = torch.load(folder / "weights.pt", weights_only=True, map_location=device)
        graph, nodes = Graph(), dict[str, Node]()
        for node in stored["nodes"]:
            target = _target(node["target"]) if node["op"] == "call_function" else node["target"]
            args = tuple(_decoded(node["args"], nodes, device))
            kwargs = {k: _decoded(v, nodes, device) for k, v in node["kwargs"].items()}
            if node["op"] == "output":  # a tuple, as it was
                args = (tuple(args[0]),)
            nodes[node["name"]] = graph.create_node(
                node["op"], target, args, kwargs, name=node["name"]
            )
        return GraphModule(weights, graph), stored["about"]
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, _NoFlatForm):
        return None
