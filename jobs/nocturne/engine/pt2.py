"""A checked ``pt2`` archive as a graph of torch operators, built without torch's export machinery.

Besides being safe (``nocturne.model.pt2`` says what is refused), this loads in a fraction of the
time: ``torch.export.load`` imports torch's compiler, two seconds in every worker. Names in the file
are only looked up, never written into the graph: torch makes Python source of a graph, with
names as they are and constants by their ``repr``. Those of keywords are checked once more.

Source: torch/_export/serde/serialize.py (``GraphModuleDeserializer``) of torch 2.13.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from nocturne.engine.program import Program, find_pt2, require_no_guards, require_open_rows
from nocturne.errors import ModelError
from nocturne.model.declared_inputs import Slot
from nocturne.model.pt2 import CONTROL_FLOW, SYMBOLIC, Archive, Payload, is_argument, open_pt2

__all__ = ["load_pt2", "slots_of"]

_Json = Mapping[str, Any]
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}
_LAYOUTS = {
    1: torch.sparse_coo,
    2: torch.sparse_csr,
    3: torch.sparse_csc,
    4: torch.sparse_bsr,
    5: torch.sparse_bsc,
    7: torch.strided,
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_PLAIN = {"as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_strings", "as_int_lists"}
_SPACES: dict[str, Any] = {"_operator": operator, "math": math, "torch": torch}


def load_pt2(folder: str, device: str = "cpu") -> Program:
    """The ``pt2`` file of an MLflow model folder, on a device.

    Raises:
        ModelError: the folder has no such file, the file is damaged or holds more than a graph of
            torch's operators with its tensors, or the model takes some numbers of rows only.
    """
    path = find_pt2(folder)
    with open_pt2(path) as archive:
        module = archive.program["graph_module"]
        graph, signature = module["graph"], module["signature"]
        builder = _Graph(device)
        ranges = {
            symbol: (bounds["min_val"], bounds["max_val"])
            for symbol, bounds in archive.program["range_constraints"].items()
        }
        weights, held = _weights(archive, device), dict[str, Node]()
        for value, spec in zip(graph["inputs"], signature["input_specs"], strict=True):
            [(kind, source)] = spec.items()
            name = value["as_tensor"]["name"]
            if kind == "user_input":
                sizes = graph["tensor_values"][name]["sizes"]
                require_open_rows(name, _size(sizes[0]) if sizes else None, ranges)
                builder.take(name)
            else:
                held[source[f"{kind}_name"]] = builder.hold(name, weights[source[f"{kind}_name"]])
        require_no_guards(archive.program.get("guards_code") or [])
        builder.run(graph["nodes"])
        builder.finish(_outputs(builder, held, graph["outputs"], signature["output_specs"]))
        call = module["module_call_graph"][0]["signature"]
        inputs, outputs = (list(_leaves(json.loads(call[s])[1])) for s in ("in_spec", "out_spec"))
        taken = len(builder.arguments)
        if len(inputs) != taken:
            raise ValueError(f"{taken} inputs in the graph, {len(inputs)} in its signature")
        return Program(
            builder.module(),
            [position if name is None else name for position, name in enumerate(inputs)],
            [position if name is None else name for position, name in enumerate(outputs)],
            builder.arguments,
        )


def slots_of(path: str) -> tuple[Slot, ...]:
    """The tensors that the module of a ``pt2`` file takes: names, dtypes and shapes, rows first.

    Raises:
        ModelError: as ``load_pt2``.
    """
    program = load_pt2(path)
    with open_pt2(find_pt2(path)) as archive:
        metas = archive.program["graph_module"]["graph"]["tensor_values"]
        return tuple(
            Slot(
                given if isinstance(given, str) else argument,
                str(_DTYPES[metas[argument]["dtype"]]).removeprefix("torch."),
                (-1, *(size.get("as_int", -1) for size in metas[argument]["sizes"][1:])),
            )
            for given, argument in zip(program.inputs, program.arguments, strict=True)
        )


def _size(size: _Json) -> int | str:
    """A number, the name of a symbol, or an expression of symbols."""
    kind, value = _only(size)
    if kind == "as_int":
        return int(value)
    text = re.sub(r"Symbol\('(\w+)'(?:, \w+=True)*\)", r"\1", value["expr_str"])
    return re.sub(r"Integer\((-?\d+)\)", r"\1", text)


def _weights(archive: Archive, device: str) -> dict[str, torch.Tensor]:
    """The tensors by name; tensors that share a storage in the file share it here too."""
    storages: dict[str, torch.Tensor] = {}
    tensors = {}
    for name, payload in [*archive.weights.items(), *archive.constants.items()]:
        if payload.entry not in storages:
            raw = archive.read(payload)
            storage = torch.empty(len(raw), dtype=torch.uint8)  # in torch's own alignment
            if raw:
                storage.copy_(torch.frombuffer(bytearray(raw), dtype=torch.uint8))
            storages[payload.entry] = storage.to(device)
        tensors[name] = _tensor(storages[payload.entry], payload)
    return tensors


def _tensor(storage: torch.Tensor, payload: Payload) -> torch.Tensor:
    meta = payload.meta
    sizes, strides = ([int(s["as_int"]) for s in meta[key]] for key in ("sizes", "strides"))
    if not storage.numel() and 0 not in sizes:
        raise ValueError(f"{payload.entry} is empty, its tensor has the sizes {sizes}")
    flat = storage.view(_DTYPES[meta["dtype"]])
    return torch.as_strided(flat, sizes, strides, int(meta["storage_offset"]["as_int"]))


class _Graph:
    """Builds a torch.fx graph; ``nodes`` has its values by their names in the file."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.graph = Graph()
        self.nodes: dict[str, Node] = {}
        self.held: dict[str, Any] = {}
        self.arguments: list[str] = []

    def take(self, name: str) -> None:
        self.nodes[name] = self.graph.placeholder(f"input_{len(self.arguments)}")
        self.arguments.append(name)

    def hold(self, name: str | None, value: torch.Tensor | GraphModule) -> Node:
        attribute = f"held_{len(self.held)}"
        self.held[attribute] = value
        node = self.graph.create_node("get_attr", attribute)
        if name is not None:
            self.nodes[name] = node
        return node

    def finish(self, outputs: tuple[Any, ...] | Any) -> None:
        self.graph.output(outputs)

    def module(self) -> GraphModule:
        return GraphModule(self.held, self.graph)

    def run(self, nodes: list[_Json]) -> None:
        for node in nodes:
            target = node["target"]
            if target == "torch.ops.aten._assert_tensor_metadata.default":
                continue  # it says the dtype and device of the export, not those of here
            function = _function(target)
            if isinstance(function, torch._ops.OpOverload):
                args, kwargs = _by_schema(function, self._named(node["inputs"]))
            else:
                values = [(i["name"], self.value(i["arg"]), i.get("kind")) for i in node["inputs"]]
                args = tuple(v for name, v, kind in values if kind != 2 or not name)
                kwargs = {_keyword(name): v for name, v, kind in values if kind == 2 and name}
            if target.endswith(".wrap_with_autocast"):
                _check_autocast(*args)
            result = self.graph.call_function(function, args, kwargs)
            outputs = node["outputs"]
            alone = len(outputs) == 1 and node.get("is_hop_single_tensor_return") is not False
            if alone and not isinstance(_only(outputs[0])[1], list):
                self._name(result, outputs[0])
            elif alone:
                self._items(result, [{"as_tensor": t} for t in outputs[0]["as_tensors"]])
            else:
                self._items(result, outputs)

    def _items(self, result: Node, outputs: list[_Json]) -> None:
        for position, output in enumerate(outputs):
            kind, value = _only(output)
            if kind == "as_none":
                continue
            item = self.graph.call_function(operator.getitem, (result, position))
            if isinstance(value, list):
                self._items(item, [{kind[:-1]: part} for part in value])
            else:
                self._name(item, output)

    def _name(self, result: Node, output: _Json) -> None:
        kind, value = _only(output)
        if kind == "as_tensor":
            self.nodes[value["name"]] = result
        elif kind.startswith("as_sym_"):
            self.nodes[value["as_name"]] = result
        elif kind != "as_none":
            raise ValueError(f"a node's output of kind {kind}")

    def _named(self, inputs: list[_Json]) -> dict[str, tuple[Any, int | None]]:
        return {i["name"]: (self.value(i["arg"]), i.get("kind")) for i in inputs}

    def value(self, argument: _Json) -> Any:
        """The value in the graph of an ``Argument`` of the schema."""
        kind, value = _only(argument)
        if kind in _PLAIN:
            return _plain(value)
        if kind == "as_none":
            return None
        if kind in ("as_float", "as_floats", "as_float_lists"):
            return _floats(value)
        if kind == "as_complex":
            return complex(_floats(value["real"]), _floats(value["imag"]))
        if kind == "as_name":
            return self.nodes[value]
        if kind == "as_tensor":
            return self.nodes[value["name"]]
        if kind == "as_tensors":
            return [self.nodes[tensor["name"]] for tensor in value]
        if kind == "as_nested_tensors":
            return [[self.nodes[tensor["name"]] for tensor in inner] for inner in value]
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
            return [self.value(part) for part in value]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            return self.value(value)
        if kind == "as_scalar_type":
            return _DTYPES[value]
        if kind == "as_layout":
            return _LAYOUTS[value]
        if kind == "as_memory_format":
            return _MEMORY_FORMATS[value]
        if kind == "as_device":  # the graph runs where it is loaded
            return torch.device(self.device)
        if kind == "as_graph":
            return self.hold(None, _inner(value["graph"], self.device))
        raise ValueError(f"a value of kind {kind}")


def _inner(graph: _Json, device: str) -> GraphModule:
    """A graph that an operator of control flow calls."""
    builder = _Graph(device)
    for value in graph["inputs"]:
        kind, source = _only(value)
        builder.take(source["name"] if kind == "as_tensor" else source["as_name"])
    builder.run(graph["nodes"])
    outputs = [builder.value(value) for value in graph["outputs"]]
    builder.finish(outputs[0] if graph.get("is_single_tensor_return") else tuple(outputs))
    return builder.module()


def _outputs(
    builder: _Graph, held: Mapping[str, Node], values: list[_Json], specs: list[_Json]
) -> tuple[Any, ...]:
    """The values that the module returns; values for its buffers are copied into them."""
    returned = []
    for value, spec in zip(values, specs, strict=True):
        kind, target = _only(spec)
        if kind == "user_output":
            returned.append(builder.value(value))
        elif kind in ("buffer_mutation", "parameter_mutation"):
            into = held[target[kind.replace("_mutation", "_name")]]
            builder.graph.call_function(torch.ops.aten.copy_.default, (into, builder.value(value)))
        elif kind != "user_input_mutation":  # nobody reads the inputs again
            raise ValueError(f"an output of kind {kind}")
    return tuple(returned)


def _function(target: str) -> Callable[..., Any]:
    """The operator of a name that ``nocturne.model.pt2`` has accepted."""
    space, _, name = target.partition(".")
    if target in SYMBOLIC:
        function: Callable[..., Any] = getattr(_SPACES[space], name)
        return function
    name = target.removeprefix("torch.ops.higher_order.")
    if name in CONTROL_FLOW:
        import_module("torch._higher_order_ops")  # registers them
        return getattr(torch.ops.higher_order, name)  # type: ignore[no-any-return]
    _, _, space, packet, overload = target.split(".")
    if space == "prims":
        import_module("torch._prims")
    try:  # of the dispatcher: TorchScript's own functions (aten::save) are not found by it
        torch._C._dispatch_find_schema_or_throw(
            f"{space}::{packet}", "" if overload == "default" else overload
        )
    except RuntimeError:
        raise ModelError(
            f"the model calls {target}, which torch {torch.__version__} does not have; export it "
            "with this torch"
        ) from None
    return getattr(getattr(getattr(torch.ops, space), packet), overload)  # type: ignore[no-any-return]


def _check_autocast(*args: Any) -> None:
    """Checks the types of the four settings: torch's ``autocast`` sets one after the other. If one
    is wrong, those before it stay set for everything that the thread computes later.
    """
    kinds = (str, torch.dtype | None, bool, bool | None)
    if len(args) < len(kinds) or not all(map(isinstance, args, kinds)):
        raise ValueError("a region of another precision with settings of wrong types")


def _by_schema(
    function: Any, arguments: Mapping[str, tuple[Any, int | None]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as they were passed: kind 1 is by position, 2 by keyword."""
    args, kwargs = [], {}
    for argument in function._schema.arguments:
        if argument.name not in arguments:
            continue
        value, kind = arguments[argument.name]
        required = not argument.has_default_value() and not argument.kwarg_only
        if kind == 1 or (kind is None and required):
            args.append(value)
        else:
            kwargs[argument.name] = value
    return tuple(args), kwargs


def _leaves(spec: _Json, key: str | None = None) -> Iterator[str | None]:
    """The key of each leaf of a ``TreeSpec`` in its dict; None for a leaf that is in no dict."""
    if spec["type"] is None:
        yield key
        return
    children = spec["children_spec"]
    keys: list[Any] = [None] * len(children)
    context = json.loads(spec["context"]) if isinstance(spec["context"], str) else spec["context"]
    if isinstance(context, dict):  # a defaultdict
        context = context.get("dict_context")
    if "dict" in spec["type"].lower() and isinstance(context, list):
        keys = [k if isinstance(k, str) else None for k in context]
    for name, child in zip(keys, children, strict=True):
        yield from _leaves(child, name)


def _keyword(name: str) -> str:
    if not is_argument(name):
        raise ValueError(f"an argument named {name!r:.80}")
    return name


def _plain(value: Any) -> Any:
    """A constant; torch.fx writes its ``repr`` into the Python code of the graph."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, (bool, int, str)):
        raise ValueError(f"a {type(value).__name__} in place of a constant")
    return value


def _floats(value: Any) -> Any:
    """JSON has no infinity: torch writes it as text."""
    return [_floats(v) for v in value] if isinstance(value, list) else float(value)


def _only(value: _Json) -> tuple[str, Any]:
    [pair] = value.items()
    return pair
