"""What a pt2 archive may hold, asked of small ones made here; torch has no part in it."""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.errors import ModelError
from nocturne.model.pt2 import check_pt2

EMPTY: dict[str, Any] = {
    "schema_version": {"major": 8},
    "graph_module": {},
    "range_constraints": {},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "target",
                    "inputs",
                    "outputs",
                    "expr_str",
                    "as_int",
                    "as_graph",
                    "config",
                    "graph_module",
                    "schema_version",
                    "major",
                    "path_name",
                    "use_pickle",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def checked(
    folder: Path, program: Any = EMPTY, compress: int = zipfile.ZIP_STORED, **entries: Any
) -> None:
    config = {"config": {}}
    content = {
        "archive_format": "pt2",
        "byteorder": "little",
        "models/model.json": json.dumps(program),
        "data/weights/model_weights_config.json": json.dumps(entries.pop("weights", config)),
        "data/constants/model_constants_config.json": json.dumps(config),
        **entries,
    }
    path = folder / "model.pt2"
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, text in content.items():
            archive.writestr(f"model/{name}", text)
    check_pt2(path)


def _sized(expression: str) -> dict[str, Any]:
    return {**EMPTY, "graph_module": {"sizes": [{"as_expr": {"expr_str": expression}}]}}


@pytest.mark.parametrize(
    "expression",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s77', positive=True, integer=True))",
        "Max(Integer(1), FloorDiv(Add(Symbol('s0'), Integer(-3)), Integer(4)))",
        "Pow(Symbol('s0'), Integer(2))",
        "Ne(Mod(Symbol('u0'), Integer(2)), Integer(0))",
        "ToFloat(Float('0.5', precision=53))",
        "2*s0 + s1//3 - 1",
    ],
)
def test_sizes_as_torch_writes_them_are_arithmetic(tmp_path: Path, expression: str) -> None:
    checked(tmp_path, _sized(expression))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "eval('1')",
        "exec('1')",
        "open('x')",
        "s0.__class__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "S('exit(1)')",
        "9**9**9",
        "Pow(Integer(2), Integer(10000))",
        "Pow(Pow(Integer(9), Integer(9)), Integer(9))",
        "1 << 100000",
        "9" * 5000,
        "(" * 5000,
        "-" * 9000 + "1",
        "Symbol('a b')",
        "f'{s0}'",
        "",
        "s0 = 1",
        "getattr(s0, 'x')",
        "x" * 20_000,
    ],
)
def test_what_is_no_arithmetic_is_refused_at_once(tmp_path: Path, expression: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match="which is no arithmetic"):
        checked(tmp_path, _sized(expression))
    assert time.monotonic() - started < 2


def test_the_archive_can_not_be_larger_than_its_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compressed or encrypted"):
        checked(tmp_path, compress=zipfile.ZIP_DEFLATED)
    checked(tmp_path)
    with (
        zipfile.ZipFile(tmp_path / "model.pt2", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("model/byteorder", "little")
    with pytest.raises(ModelError, match="there twice"):
        check_pt2(tmp_path / "model.pt2")


def test_a_file_of_another_schema_says_which_torch_wrote_it(tmp_path: Path) -> None:
    program = {**EMPTY, "schema_version": {"major": 9}, "torch_version": "3.0"}
    with pytest.raises(ModelError, match="schema version 9 of torch 3.0, expected 8"):
        checked(tmp_path, program)


@given(program=JSON, weights=JSON)
def test_any_json_is_taken_or_refused_by_our_error(program: Any, weights: Any) -> None:
    said = {**EMPTY, "graph_module": program}
    with tempfile.TemporaryDirectory() as folder:
        for one in (program, said):
            with suppress(ModelError):
                checked(Path(folder), one, weights=weights)


def _call(target: str, name: object) -> dict[str, Any]:
    node = {"target": target, "inputs": [{"name": name, "arg": {"as_int": 1}}], "outputs": []}
    return {**EMPTY, "graph_module": {"graph": {"nodes": [node]}}}


@pytest.mark.parametrize("target", ["torch.sym_max", "torch.ops.aten.add.Tensor"])
def test_arguments_are_called_as_python_calls_them(tmp_path: Path, target: str) -> None:
    """torch.fx writes the names of keywords into Python source as they are."""
    for name in ("", None, "self", "_x1"):
        checked(tmp_path, _call(target, name))
    for name in ("a=print(), b", "a b", "a\n", "é", "1", "lambda", "None", "x" * 65, 5, ["a"], {}):
        with pytest.raises(ModelError, match="with an argument named"):
            checked(tmp_path, _call(target, name))


@pytest.mark.parametrize(
    "name",
    [
        "_softmax",
        "_native_batch_norm_legit_no_training",
        "_to_copy",
        "_weight_norm",
        "add",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_fft_r2c",
        "_assert_scalar",
        "__and__",
    ],
)
def test_internal_operators_that_models_have_are_taken(tmp_path: Path, name: str) -> None:
    checked(tmp_path, _call(f"torch.ops.aten.{name}.default", "self"))


@pytest.mark.parametrize(
    "name",
    [
        "aten._sparse_coo_tensor_unsafe",
        "aten._reshape_alias",
        "aten._nested_view_from_buffer",
        "aten._cummax_helper",
        "aten._print",
        "aten._softmaxed",
        "aten.segment_reduce",
        "aten.from_file",
        "prims._sink_tokens",
    ],
)
def test_operators_that_do_not_check_their_arguments_are_refused(tmp_path: Path, name: str) -> None:
    """An index beyond the tensor: they would read and write there."""
    with pytest.raises(ModelError, match="none of torch's tensor operators"):
        checked(tmp_path, _call(f"torch.ops.{name}.default", "self"))
