"""Reads a ``pt2`` file with torch's own loader, if the pipeline allows code to run.

A file that ``nocturne.model.pt2`` refuses (weights that are pickled tensor subclasses, operators
of other libraries, files of an old torch) may still be a model that its owner trusts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nocturne.engine.program import Program, find_pt2, require_no_guards, require_open_rows
from nocturne.errors import ModelError

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

__all__ = ["load_exported"]


def load_exported(folder: str, device: str = "cpu") -> Program:
    """The ``pt2`` file of an MLflow model folder, by ``torch.export.load``, which may run code.

    Raises:
        ModelError: the folder has no such file, torch can't read it, or the model takes some
            numbers of rows only.
    """
    path = find_pt2(folder)
    try:
        exported = torch.export.load(path)
    except Exception as error:
        raise ModelError(f"torch can't load {path}: {error}", path=str(path)) from error
    ranges = {
        str(symbol): (_bound(bounds.lower), _bound(bounds.upper))
        for symbol, bounds in exported.range_constraints.items()
    }
    taken = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in taken:
            rows = next(iter(getattr(node.meta.get("val"), "shape", ())), None)
            require_open_rows(
                node.name, rows if rows is None or isinstance(rows, int) else str(rows), ranges
            )
    require_no_guards(getattr(exported, "_guards_code", None) or [])
    spec = exported.call_spec
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        exported = move_to_device_pass(exported, device)
    arguments = exported.graph_signature.user_inputs
    return Program(
        _flattened(exported), _paths(spec.in_spec), _paths(spec.out_spec), list(map(str, arguments))
    )


def _bound(value: Any) -> int | None:
    """None if it is infinite."""
    return int(value) if value.is_Integer else None


def _flattened(exported: ExportedProgram) -> GraphModule:
    """A new graph module: flat tensors in and out, without shape guards."""
    import torch.utils._pytree as pytree
    from torch.fx.graph import CodeGen

    module: Any = exported.module(check_guards=False)
    graph = torch.fx.Graph()
    values: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.graph_copy(module.graph, values)
    flat, _ = pytree.tree_flatten(next(n for n in module.graph.nodes if n.op == "output").args)
    graph.output(tuple(values[node] for node in flat))
    graph.set_codegen(CodeGen())
    return torch.fx.GraphModule(module, graph)


def _paths(spec: Any) -> list[str | int]:
    """The key of each leaf: a name in a dict, else its position."""
    import torch.utils._pytree as pytree

    leaves, _ = pytree.tree_flatten_with_path(
        pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    )
    return [getattr(path[-1], "key", position) if path else position for path, position in leaves]
