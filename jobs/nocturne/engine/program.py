"""A ``pt2`` program (torch.export) as a flat graph: tensors in, tensors out, no checks between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nocturne.engine.flat import read_flat, write_flat
from nocturne.errors import ModelError

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

__all__ = ["Program", "load_program"]


@dataclass(frozen=True)
class Program:
    """A flat graph with the names and the order of its arguments and outputs.

    ``inputs`` has an entry an argument: its name if it is taken by keyword or from a dict,
    else its position. ``outputs`` likewise: names if the module returns a dict.
    """

    graph: GraphModule
    inputs: list[str | int]
    outputs: list[str | int]

    @property
    def output_names(self) -> list[str] | None:
        names = [output for output in self.outputs if isinstance(output, str)]
        return names if names and len(names) == len(self.outputs) else None

    def order(self, names: Sequence[str]) -> list[int]:
        """Where each argument of the program stands among the tensors called ``names``.

        Arguments by keyword take the tensor of their name, the others what is left, in order.

        Raises:
            ModelError: the spec has another number of tensors, or lacks a name.
        """
        if len(names) != len(self.inputs):
            raise ModelError(
                f"the model takes {len(self.inputs)} tensors, the encoding spec makes "
                f"{len(names)}: {', '.join(names)}"
            )
        lacking = [i for i in self.inputs if isinstance(i, str) and i not in names]
        if lacking:
            raise ModelError(
                f"the model takes the named input {lacking[0]!r}, the encoding spec has "
                f"{', '.join(names)}; give the tensor that name"
            )
        left = iter([i for i, name in enumerate(names) if name not in self.inputs])
        return [names.index(i) if isinstance(i, str) else next(left) for i in self.inputs]


def load_program(path: str, device: str = "cpu") -> Program:
    """The ``pt2`` file of an MLflow model folder, on a device.

    Raises:
        ModelError: there is none in it, torch can't read it, or it takes a fixed number of rows.
    """
    found = sorted(Path(path).rglob("*.pt2"))
    if not found:
        raise ModelError(
            f"{path} holds no .pt2 file; log the model with mlflow.pytorch.log_model(..., "
            "serialization_format='pt2') or nocturne.contract.log_torch_model",
            path=path,
        )
    flat = Path(path).with_name(f"{Path(path).name}.flat")
    kept = read_flat(flat, found[0], device)
    if kept is not None:
        graph, about = kept
        return Program(graph, about["inputs"], about["outputs"])
    try:
        exported = torch.export.load(found[0])
    except Exception as error:
        raise ModelError(f"torch can't load {found[0]}: {error}", path=path) from error
    _check_rows(exported)
    about = {
        "inputs": _paths(exported.call_spec.in_spec),
        "outputs": _paths(exported.call_spec.out_spec),
    }
    write_flat(flat, found[0], _flattened(exported), about)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        exported = move_to_device_pass(exported, device)
    return Program(_flattened(exported), about["inputs"], about["outputs"])


def _check_rows(exported: ExportedProgram) -> None:
    """Raises: ModelError if an argument's first dimension was fixed when it was exported."""
    taken = set(exported.graph_signature.user_inputs)
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in taken:
            rows = getattr(node.meta.get("val"), "shape", [None])[0]
            if isinstance(rows, int):
                raise ModelError(
                    f"the model was exported for exactly {rows} rows (input {node.name!r}); "
                    "export it with the first dimension of each input dynamic, as "
                    "nocturne.contract.log_torch_model does"
                )


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
