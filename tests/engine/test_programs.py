"""Exported programs: named inputs and outputs, kernels that agree, precision, fixed rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import KERNELS, REASON, load_torch, score
from nocturne.engine.exported import load_exported
from nocturne.engine.kernels import mkl
from nocturne.engine.load import load_trusted
from nocturne.engine.program import Program
from nocturne.engine.pt2 import load_pt2
from nocturne.errors import ModelError


class Wide(torch.nn.Module):
    """Linear layers with each activation that is fused, a residual, a norm, named arguments."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.codes = torch.nn.Embedding(5, 4)
        self.first = torch.nn.Linear(7, 16)
        self.second = torch.nn.Linear(16, 16)
        self.third = torch.nn.Linear(16, 16, bias=False)
        self.norm = torch.nn.LayerNorm(16)
        self.last = torch.nn.Linear(16, 3)

    def forward(self, numbers: torch.Tensor, *, codes: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.cat([numbers, self.codes(codes[:, 0])], dim=1)
        x = torch.relu(self.first(x))
        x = x + torch.tanh(self.second(x))
        x = self.norm(x + torch.sigmoid(self.third(x)))
        return {"logits": self.last(x), "size": x.norm(dim=1)}


ENCODING = Encoding(
    inputs=(
        TensorSpec("codes", "int64", "category", (Feature("c", vocabulary=(1, 2), unknown=4),)),
        TensorSpec("numbers", "float32", "numeric", tuple(Feature(f"n{i}") for i in range(3))),
    ),
    outputs=(OutputSpec("size", source="size"), OutputSpec("p", "softmax", "float32", "logits", 3)),
)
ROWS = 64
NUMBERS = np.random.default_rng(1).normal(size=(ROWS, 3)).astype(np.float32)
CODES = np.random.default_rng(2).integers(0, 5, size=(ROWS, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wide")
    rows = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Wide().eval(),
        (torch.zeros(4, 3),),
        {"codes": torch.zeros(4, 1, dtype=torch.int64)},
        dynamic_shapes={"numbers": {0: rows}, "codes": {0: rows}},
    )
    torch.export.save(program, path / "model.pt2")
    return path


def _expected() -> dict[str, np.ndarray]:
    with torch.inference_mode():
        found = Wide().eval()(torch.from_numpy(NUMBERS), codes=torch.from_numpy(CODES))
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_every_kernel_gives_what_the_module_gives_by_name(folder: Path, kernel: str) -> None:
    """The tensors come in the spec's order; the program takes one of them by keyword."""
    model = load_torch(str(folder), ENCODING, kernel=kernel)
    found = model.predict([CODES, NUMBERS])
    assert isinstance(found, dict)
    for name, values in _expected().items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_onednn_takes_every_linear_layer_and_its_activation(folder: Path) -> None:
    model = load_torch(str(folder), ENCODING, kernel="onednn")
    targets = [str(node.target) for node in model.run.graph.nodes]  # type: ignore[attr-defined]
    assert sum("_linear_pointwise" in target for target in targets) == 4
    assert not any(
        word in target for target in targets for word in ("aten.linear", "relu", "tanh", "sigmoid")
    )


def test_mkl_packs_every_linear_layer_anew_for_another_number_of_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sum(4 * shape for shape in (7 * 16, 16 * 16, 16 * 16, 16 * 3))
    monkeypatch.setattr(mkl, "_KEPT", 2 * weights)
    model = load_torch(str(folder), ENCODING, kernel="mkl")
    packed = model.run.modules  # type: ignore[attr-defined]
    expected = _expected()
    for rows in (64, 32, 1, 33, 63, 64):
        found = model.predict([CODES[:rows], NUMBERS[:rows]])
        assert isinstance(found, dict)
        np.testing.assert_allclose(found["size"], expected["size"][:rows], rtol=1e-5, atol=1e-6)
    assert len(packed) == 3, "no more sizes are kept"
    for module in packed.values():
        nodes = module.graph.nodes
        counts = [n.args[4] for n in nodes if n.target is torch.ops.mkl._mkl_linear.default]
        assert len(counts) == 4
        assert {*counts} <= {33, 63, 64}
        words = [str(node.target) for node in nodes]
        assert not any(
            "aten.linear" in w or w.endswith(("relu.default", "tanh.default")) for w in words
        )


LISTS = Encoding(
    (TensorSpec("numbers", "int64", "list", (Feature("items", length=2),)),), (OutputSpec("p"),)
)
"""Its tensors share the memory of a column without nulls."""


def test_a_graph_that_changes_its_argument_changes_no_column_and_no_other_row(
    tmp_path: Path,
) -> None:
    """Where it raises it is given the other rows once more."""
    rows = {"numbers": {0: torch.export.Dim.DYNAMIC}}
    example = (torch.zeros(4, 2, dtype=torch.int64),)
    torch.export.save(
        torch.export.export(Shifted().eval(), example, dynamic_shapes=rows), tmp_path / "model.pt2"
    )
    items = [[3, 4], [10, 0], [500, 1], [7, 7], [0, 0], [20, 1], [2, 60], [5, 6]]
    batch = pa.record_batch({"items": pa.array(items, pa.list_(pa.int64()))})
    [scored] = score([batch], load_torch(str(tmp_path), LISTS), LISTS, micro_batch=8)
    assert scored[REASON].is_valid().to_pylist() == [a > 99 for a, _ in items]
    good = scored.filter(scored[REASON].is_null())
    assert good["p"].to_pylist() == [a + b + 2 for a, b in items if a < 100]
    assert batch["items"].to_pylist() == items


def test_only_a_graph_that_writes_is_given_copies(folder: Path, tmp_path: Path) -> None:
    assert not load_pt2(str(folder), "cpu").writes
    assert load_pt2(str(_of_numbers(Changing(), tmp_path)), "cpu").writes


class Tokens(torch.nn.Module):
    """A layer that is given rows times tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.words, self.layer = torch.nn.Embedding(9, 8), torch.nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        words = self.words(tokens)
        return (words + torch.relu(self.layer(words))).sum(dim=(1, 2))


def test_mkl_packs_for_rows_times_tokens(tmp_path: Path) -> None:
    tokens = np.random.default_rng(3).integers(0, 9, size=(64, 5))
    rows = {"tokens": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(Tokens().eval(), (torch.from_numpy(tokens),), dynamic_shapes=rows)
    torch.export.save(program, tmp_path / "model.pt2")
    spec = Encoding(
        (TensorSpec("tokens", "int64", "numeric", tuple(Feature(f"t{i}") for i in range(5))),),
        (OutputSpec("p"),),
    )
    run = load_torch(str(tmp_path), spec, kernel="mkl")
    plain = load_torch(str(tmp_path), spec, kernel="graph")
    [found], [expected] = run.predict([tokens]), plain.predict([tokens])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    [module] = run.run.modules.values()  # type: ignore[attr-defined]
    [node] = [n for n in module.graph.nodes if n.target is torch.ops.mkl._mkl_linear.default]
    assert node.args[4] == 320


class Changing(torch.nn.Module):
    """It changes its argument, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = torch.nn.Linear(3, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1.0)
        numbers.sub_(1.0)
        return self.layer(numbers).sum(dim=1) + self.calls


class Shifted(torch.nn.Module):
    """It changes its argument, and raises on a row that is not in its table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(torch.arange(100.0)[:, None])

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        numbers.add_(1)
        return self.table(numbers.sum(dim=1))[:, 0]


class Biased(torch.nn.Module):
    """A layer with a bias that isn't a vector of its outputs, or lies scattered in memory."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.weight = torch.nn.Parameter(torch.randn(8, 3))
        self.register_buffer("bias", bias)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(numbers, self.weight, self.bias).sum(dim=1)


def _of_numbers(module: torch.nn.Module, folder: Path) -> Path:
    rows = {"numbers": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(module.eval(), (torch.zeros(4, 3),), dynamic_shapes=rows)
    torch.export.save(program, folder / "model.pt2")
    return folder


NUMBERS_ALONE = Encoding((ENCODING.inputs[1],), (OutputSpec("p"),))


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_a_model_that_changes_its_argument_and_counts_its_calls_runs_once_a_call(
    tmp_path: Path, kernel: str
) -> None:
    folder = _of_numbers(Changing(), tmp_path)
    model = load_torch(str(folder), NUMBERS_ALONE, kernel=kernel)
    eager = Changing().eval()
    for rows in (64, 64, 32, 64):
        with torch.inference_mode():
            expected = eager(torch.from_numpy(NUMBERS[:rows].copy())).numpy()
        [found] = model.predict([NUMBERS[:rows].copy()])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", ["onednn", "mkl"])
@pytest.mark.parametrize(
    "bias",
    [
        torch.full((1,), 0.5),
        torch.tensor(0.5),
        torch.full((1,), 0.5).expand(8),
        torch.arange(24.0).reshape(8, 3)[:, 0],
    ],
    ids=["one", "a number", "expanded", "a column"],
)
def test_a_layer_whose_bias_is_no_vector_of_its_outputs_is_not_packed(
    tmp_path: Path, kernel: str, bias: torch.Tensor
) -> None:
    folder = _of_numbers(Biased(bias), tmp_path)
    with pytest.raises(ModelError, match="no linear layer"):
        load_torch(str(folder), NUMBERS_ALONE, kernel=kernel)
    assert load_torch(str(folder), NUMBERS_ALONE).predict([NUMBERS])


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_bfloat16_is_near_float32_or_refused_where_the_processor_has_none(
    folder: Path, kernel: str
) -> None:
    if kernel == "onednn" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(ModelError, match="no bfloat16 for this processor"):
            load_torch(str(folder), ENCODING, kernel=kernel, precision="bfloat16")
        return
    if kernel == "mkl":
        with pytest.raises(ModelError, match="no linear layer that MKL could run"):
            load_torch(str(folder), ENCODING, kernel=kernel, precision="bfloat16")
        return
    model = load_torch(str(folder), ENCODING, kernel=kernel, precision="bfloat16")
    found = model.predict([CODES, NUMBERS])
    assert isinstance(found, dict)
    assert found["logits"].dtype == np.float32
    error = np.abs(found["logits"] - _expected()["logits"]).max()
    assert 0 < error < 0.1


def test_a_spec_that_lacks_a_named_input_is_refused(folder: Path) -> None:
    inputs = (ENCODING.inputs[1], TensorSpec("other", "int64", "numeric", (Feature("c"),)))
    with pytest.raises(ModelError, match="takes the named input 'codes', the encoding spec has"):
        load_torch(str(folder), Encoding(inputs, ENCODING.outputs))
    with pytest.raises(ModelError, match="takes 2 tensors, the encoding spec makes 1: codes"):
        load_torch(str(folder), Encoding(ENCODING.inputs[:1], ENCODING.outputs))


class Minus(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x - 2 * y


class Twins(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        return {"a": {"u": x}, "b": {"u": -x}}


class Nothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x, None


def _saved(module: torch.nn.Module, folder: Path, count: int) -> str:
    given = tuple(torch.zeros(4, 3) for _ in range(count))
    rows = tuple({0: torch.export.Dim.DYNAMIC} for _ in range(count))
    torch.export.save(torch.export.export(module, given, dynamic_shapes=rows), folder / "model.pt2")
    return str(folder)


def _of(*names: str) -> Encoding:
    made = (TensorSpec(name, "float32", "numeric", (Feature(name),)) for name in names)
    return Encoding(tuple(made), (OutputSpec("p"),))


@pytest.mark.parametrize("load", [load_torch, load_trusted])
def test_tensors_that_have_the_arguments_names_have_their_order(load: Any, tmp_path: Path) -> None:
    folder = _saved(Minus(), tmp_path, 2)
    with pytest.raises(ModelError, match="arguments are x, y, but the tensors .* y, x, in another"):
        load(folder, _of("y", "x"))
    for names in (("x", "y"), ("a", "b"), ("y", "b")):
        [found] = load(folder, _of(*names)).predict([NUMBERS[:, :3], 2 * NUMBERS[:, :3]])
        np.testing.assert_allclose(found, -3 * NUMBERS[:, :3], rtol=1e-6)


def test_outputs_of_one_name_and_those_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    folder = _saved(Twins(), tmp_path, 1)
    with pytest.raises(ModelError, match="more than one output called u"):
        load_torch(folder, _of("x"))
    model = load_torch(_saved(Nothing(), tmp_path, 1), _of("x"))
    with pytest.raises(ModelError, match="returned NoneType among its outputs"):
        model.predict([NUMBERS[:, :3]])


def test_a_program_that_was_exported_for_some_rows_only_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(3, 1), (torch.zeros(4, 3),))
    torch.export.save(program, tmp_path / "model.pt2")
    spec = Encoding(ENCODING.inputs[1:], (OutputSpec("p"),))
    with pytest.raises(ModelError, match="exported for exactly 4 rows.*first dimension"):
        load_torch(str(tmp_path), spec)


class Halves(torch.nn.Module):
    """Takes even numbers of rows only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 2, 3).flip(1).reshape(-1, 3)[:, 0]


class Few(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] if x.shape[0] <= 100 else x[:, 1]


@pytest.mark.parametrize("load", [load_pt2, load_exported])
@pytest.mark.parametrize(
    ("module", "rows", "limit"),
    [
        (torch.nn.Linear(3, 1), torch.export.Dim("rows", min=2, max=100), "at most 100 rows"),
        (torch.nn.Linear(3, 1), torch.export.Dim("rows", min=4), "at least 4 rows"),
        (torch.nn.Linear(3, 1), torch.export.Dim("rows", min=4, max=9), "least 4 and at most 9"),
        (Halves(), 2 * torch.export.Dim("half"), r"exported for (Mul\(2, s\d+\)|2\*s\d+) rows"),
        (Few(), torch.export.Dim.DYNAMIC, "at most 100 rows"),
    ],
)
def test_a_program_that_takes_some_numbers_of_rows_only_is_refused(
    tmp_path: Path, load: Callable[[str], Program], module: torch.nn.Module, rows: Any, limit: str
) -> None:
    """Without the guards of torch.export.load it would give wrong values for the others."""
    program = torch.export.export(module, (torch.zeros(8, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ModelError, match=f"{limit}.*DYNAMIC"):
        load(str(tmp_path))


class Even(torch.nn.Module):
    """Of the traced 8 rows, only that they are even is kept, as a guard."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] if x.shape[0] % 2 == 0 else x[:, 1]


class Unlike(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] if x.shape[0] != 100 else x[:, 1]


@pytest.mark.parametrize("load", [load_pt2, load_exported])
@pytest.mark.parametrize(("module", "guard"), [(Even(), "% 2"), (Unlike(), "!= 100")])
def test_a_branch_that_only_some_numbers_of_rows_take_is_refused(
    tmp_path: Path, load: Callable[[str], Program], module: torch.nn.Module, guard: str
) -> None:
    rows = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(module, (torch.zeros(8, 3),), dynamic_shapes=rows)
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ModelError, match=f"{guard}.* only.*depends on the number of rows"):
        load(str(tmp_path))


@pytest.mark.parametrize("load", [load_pt2, load_exported])
@pytest.mark.parametrize(
    "rows",
    [
        torch.export.Dim("rows"),
        torch.export.Dim("rows", min=1, max=2**31 - 1),
        torch.export.Dim("rows", max=2**63 - 2),
        torch.export.Dim.AUTO,
        torch.export.Dim.DYNAMIC,
    ],
)
def test_a_program_for_any_number_of_rows_loads(
    tmp_path: Path, load: Callable[[str], Program], rows: Any
) -> None:
    module = torch.nn.Linear(3, 1)
    program = torch.export.export(module, (torch.zeros(8, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    given = torch.ones(500, 3)
    assert torch.equal(load(str(tmp_path)).graph(given)[0], module(given))


def test_a_kernel_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match="no kernel 'magic'; there are graph, mkl, onednn"):
        load_torch(str(folder), ENCODING, kernel="magic")


def test_onednn_says_that_a_model_without_linear_layers_is_not_for_it(tmp_path: Path) -> None:
    rows = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        torch.nn.Tanh(), (torch.zeros(4, 3),), dynamic_shapes=({0: rows},)
    )
    torch.export.save(program, tmp_path / "model.pt2")
    spec = Encoding(ENCODING.inputs[1:], (OutputSpec("p"),))
    assert load_torch(str(tmp_path), spec).predict([NUMBERS])
    with pytest.raises(ModelError, match="no linear layer"):
        load_torch(str(tmp_path), spec, kernel="onednn")
