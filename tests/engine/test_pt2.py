"""Our reader of pt2 files: what torch.export writes comes out as torch itself would load it."""

from __future__ import annotations

import builtins
import collections
import copy
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.export import Dim

import nocturne.model.pt2
from nocturne.engine.exported import load_exported
from nocturne.engine.pt2 import load_pt2
from nocturne.errors import ModelError

X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
CODE = np.random.default_rng(1).integers(0, 5, size=(50, 1))


class Odd(torch.nn.Module):
    """Shapes, dtypes, slices, infinities, sizes that are computed, several outputs of one call."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(3, 4)
        self.register_buffer("shift", torch.tensor([1.0, float("inf"), 2.0, 3.0]))

    def forward(self, x: torch.Tensor, *, codes: torch.Tensor) -> Any:
        y = torch.clamp(self.dense(x), min=-float("inf"), max=3.5).to(torch.float64)
        y = torch.where(torch.isinf(self.shift), y, y + self.shift)
        extra = torch.arange(x.shape[0], device=x.device).to(torch.float32) * 0.0
        top, where = y.max(dim=1)
        left, right = y.split([1, 3], dim=1)
        return (
            y[:, 1:3].sum(dim=1).to(torch.float32) + extra,
            y.reshape(x.shape[0] * 2, 2)[:, 0],
            top + where * codes[:, 0] + left[:, 0] - right[:, 2],
        )


class Weights(torch.nn.Module):
    """Embeddings, tied and sliced weights, buffers of all kinds, constants, half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = torch.nn.Embedding(5, 3, padding_idx=0)
        self.one, self.other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.narrow = torch.nn.Linear(3, 3, dtype=torch.bfloat16)
        self.norm = torch.nn.BatchNorm1d(3)
        self.register_buffer("view", torch.arange(12.0).reshape(3, 4)[:, 1])
        self.register_buffer("kept", torch.ones(3), persistent=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("none", torch.zeros(0, 3))
        self.constant = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x: torch.Tensor, *, codes: torch.Tensor) -> Any:
        self.calls.add_(1)
        y = self.norm(self.one(x) + self.codes(codes[:, 0])) * self.kept + self.constant
        y = torch.cat([y, self.none]) + self.view
        z = self.narrow(self.other(y).to(torch.bfloat16))
        return collections.OrderedDict(size=y.norm(dim=1), half=z.sum(dim=1), parts=[y[:, 0], z])


class Branches(torch.nn.Module):
    """Graphs within the graph: regions without gradients or of another precision, a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, *, codes: torch.Tensor) -> Any:
        with torch.no_grad():
            y = x * 2
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.dense(y)
        y = torch.nn.functional.scaled_dot_product_attention(y[:, None], y[:, None], y[:, None])
        shifted = torch.cond(codes.sum() > 3, lambda a: a + 1, lambda a: a - 1, (y[:, 0],))
        return {"p": shifted.float().sum(dim=1)}


def export(module: torch.nn.Module, folder: Path, *, lowered: bool) -> Path:
    folder.mkdir(exist_ok=True)
    program = torch.export.export(
        module.eval(),
        (torch.zeros(4, 3),),
        {"codes": torch.zeros(4, 1, dtype=torch.int64)},
        dynamic_shapes={"x": {0: Dim.DYNAMIC}, "codes": {0: Dim.DYNAMIC}},
    )
    torch.export.save(program.run_decompositions() if lowered else program, folder / "model.pt2")
    return folder


@pytest.mark.parametrize(
    ("kind", "lowered"), [(Odd, False), (Weights, False), (Weights, True), (Branches, False)]
)
def test_a_graph_is_what_torch_loads_bit_for_bit(
    tmp_path: Path, kind: type[torch.nn.Module], lowered: bool
) -> None:
    """``lowered`` to core operators, what is written into a buffer is an output of the graph."""
    torch.manual_seed(0)
    folder = str(export(kind(), tmp_path / "model", lowered=lowered))
    ours, torchs = load_pt2(folder), load_exported(folder)
    assert (ours.inputs, ours.outputs) == (torchs.inputs, torchs.outputs)
    for rows in (2, 7, 50):
        taken = torch.from_numpy(X[:rows]), torch.from_numpy(CODE[:rows])
        with torch.inference_mode():
            found, expected = ours.graph(*taken), torchs.graph(*taken)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert torch.equal(one, other)
    if kind is Odd:
        _loads_without_torchs_compiler(folder)


def _loads_without_torchs_compiler(folder: str) -> None:
    """In a process of its own: what torch.export.load imports takes two seconds of each worker."""
    code = (
        f"import sys; from nocturne.engine.pt2 import load_pt2; load_pt2({folder!r}); "
        "assert 'torch._dynamo.convert_frame' not in sys.modules; print('light')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "light", done.stderr


# -- strings that would be Python ---------------------------------------------------------------


class Strings(torch.nn.Module):
    """Strings, devices, sizes and graphs as arguments; a dict as output."""

    def forward(self, x: torch.Tensor, *, codes: torch.Tensor) -> Any:
        y = torch.nn.functional.gelu(x, approximate="tanh")
        y = torch.div(y, 2.0, rounding_mode="floor") + torch.arange(3, device=x.device)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = y @ y.new_ones(3, 3)
        return {"p": y.reshape(x.shape[0] * 3), "q": x.split([1, 2], dim=1)[0]}


_MADE: list[int] = []
"""What code of a file would append to."""
_CODE = "__import__('builtins')._made.append(1)"
_HOSTILE = st.sampled_from(
    [
        _CODE,
        f"a=({_CODE}), b",
        f"a: {_CODE} = 1, b",
        f"x'+{_CODE}+'",
        f'x"+{_CODE}+"',
        f'x"), {_CODE}, ("',
        f"x\n    {_CODE}\n#",
        f"x\\'+{_CODE}#",
        f"{{{_CODE}}}",
        f"x # \u2028{_CODE}",
        f"x\r    {_CODE}",
    ]
)


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every value, and with None at their end to every key."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*way, key)
        if isinstance(value, dict):
            yield (*way, key, None)
        if isinstance(item, (dict, list)):
            yield from _places(item, (*way, key))


def _with(program: Any, way: tuple[Any, ...], text: str) -> Any:
    changed = copy.deepcopy(program)
    *outer, last = way if way[-1] is not None else way[:-1]
    inner = changed
    for key in outer:
        inner = inner[key]
    if way[-1] is None:
        inner[text] = inner.pop(last)
    else:
        inner[last] = text
    return changed


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, dict[str, bytes]]:
    """The entry with the graph, what it says, and all entries; a size is computed by keyword."""
    folder = export(Strings(), tmp_path_factory.mktemp("strings"), lowered=False)
    with zipfile.ZipFile(folder / "model.pt2") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    name = next(n for n in entries if n.endswith("models/model.json"))
    program = json.loads(entries[name])
    inputs = [{"name": n, "arg": {"as_int": i}, "kind": 2} for i, n in enumerate("ab")]
    program["graph_module"]["graph"]["nodes"].insert(
        0,
        {
            "target": "torch.sym_max",
            "inputs": inputs,
            "outputs": [{"as_sym_int": {"as_name": "largest"}}],
            "metadata": {},
        },
    )
    return name, program, entries


def _load(archive: tuple[str, Any, dict[str, bytes]], program: Any) -> None:
    name, _, entries = archive
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(folder, "model.pt2"), "w") as file:
            for entry, content in entries.items():
                file.writestr(entry, json.dumps(program) if entry == name else content)
        graph = load_pt2(folder).graph
        with suppress(Exception):  # torch's own: what it computes is another question
            graph(torch.from_numpy(X), torch.from_numpy(CODE))


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("setting", [0, 1, 2, 3])
def test_a_precision_that_is_none_does_not_stay_on(
    archive: tuple[str, Any, dict[str, bytes]],
    setting: int,
    checked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker scores other models after it: torch leaves its autocast on where that fails."""
    _, program, _ = archive
    nodes = program["graph_module"]["graph"]["nodes"]
    [at] = [n for n, node in enumerate(nodes) if node["target"].endswith(".wrap_with_autocast")]
    if not checked:
        monkeypatch.setattr(nocturne.model.pt2, "_check_program", lambda *_: None)
    way = ("graph_module", "graph", "nodes", at, "inputs", setting, "arg")
    try:
        with pytest.raises(ModelError, match="settings of wrong types"):
            _load(archive, _with(program, way, {"as_ints": [1]}))
        assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_autocast_enabled("cpu", False)


@settings(max_examples=60)
@given(data=st.data(), text=_HOSTILE, checked=st.booleans())
def test_no_text_of_a_file_becomes_python(
    archive: tuple[str, Any, dict[str, bytes]], data: Any, text: str, checked: bool
) -> None:
    """Wherever it stands; the loader holds by itself, without what is checked before."""
    _, program, _ = archive
    graph = program["graph_module"]
    ways = [("graph_module", *way) for way in _places(graph) if "metadata" not in way]
    way = data.draw(st.sampled_from(ways))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "_made", _MADE, raising=False)
        if not checked:
            patch.setattr(nocturne.model.pt2, "_check_program", lambda *_: None)
        with suppress(ModelError):
            _load(archive, _with(program, way, text))
    assert not _MADE
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("checked", [True, False])
def test_a_keyword_that_is_python_is_refused(
    archive: tuple[str, Any, dict[str, bytes]], checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a function that has no schema: fx writes its keywords into source as they are."""
    _, program, _ = archive
    _load(archive, program)
    monkeypatch.setattr(builtins, "_made", _MADE, raising=False)
    if not checked:
        monkeypatch.setattr(nocturne.model.pt2, "_check_program", lambda *_: None)
    way = ("graph_module", "graph", "nodes", 0, "inputs", 0, "name")
    with pytest.raises(ModelError, match="argument named"):
        _load(archive, _with(program, way, f"a=({_CODE}), b"))
    assert not _MADE
