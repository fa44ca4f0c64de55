"""Checks the content of a ``pt2`` file (torch.export) before anything is built from it.

``torch.export.load`` runs code from the file: it unpickles the sample inputs and every weight that
the configuration declares to be a pickle, passes the expressions of ``models/model.json`` to
``sympy.sympify`` (which calls ``eval``), calls any function below ``torch`` that a node names, and
writes names from the file into Python source. Here the file is read as a ZIP archive of raw tensors
and one JSON text. Unknown entries are refused, entries that may contain pickles are never read, and
a graph may call only torch's own tensor operators. This module does not need torch.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py of torch 2.13.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nocturne.errors import ModelError, choices

__all__ = ["CONTROL_FLOW", "SYMBOLIC", "Archive", "Payload", "check_pt2", "is_argument", "open_pt2"]

_SCHEMA = 8
"""The major version of the schema that torch 2.8 to 2.13 write."""
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.+"  # in every file, or a user's notes: never read
)
_PARTS = {"weights": "weight", "constants": "tensor"}
"""Folder below ``data/`` -> the beginning of the names of the raw tensors in it."""
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.(\w+)\.(\w+)")
_REFUSED = {"from_file", "segment_reduce"}
"""``aten`` operators that reach beyond their tensors: the first maps (and creates) any file, the
second reads and writes at any address, since it does not check its lengths."""
_INTERNAL = re.compile(
    r"_(adaptive_avg_pool[23]d|add_relu|addmm_activation|aminmax|assert_(async|scalar)"
    r"|assert_tensor_metadata|batch_norm_(impl_index|no_update|with_update(_functional)?)"
    r"|cast_[A-Z][a-z]+|cdist_forward|chunk_cat|conj(_copy|_physical)?|convolution(_mode)?"
    r"|dim_arange|embedding_bag(_forward_only)?|euclidean_dist|fft_(c2c|c2r|r2c)"
    r"|functional_(assert_(async|scalar)|sym_constrain_range(_for_size)?)|fused_rms_norm"
    r"|histogramdd_(bin_edges|from_bin_cts|from_bin_tensors)|int_mm|is_(all|any)_true"
    r"|linalg_(check_errors|det|eigh|eigvals|slogdet|solve_ex|svd)|local_scalar_dense"
    r"|log_softmax|logcumsumexp|lu_with_info|masked_softmax"
    r"|native_batch_norm_legit(_functional|_no_training)?|native_multi_head_attention"
    r"|neg_view(_copy)?|pad_(circular|enum)|pdist_forward|prelu_kernel|safe_softmax|scaled_mm"
    r"|scaled_dot_product_(attention_math|(cudnn|efficient|flash)_attention)"
    r"|scaled_dot_product_flash_attention_for_cpu|shape_as_tensor|softmax"
    r"|sparse_(log_softmax|mm|softmax|sum)|stack|thnn_fused_(gru|lstm)_cell"
    r"|to_(copy|dense|sparse)|transformer_encoder_layer_fwd|trilinear|unique2?"
    r"|unsafe_(index(_put)?|masked_index|view)"
    r"|upsample_((bicubic|bilinear|lanczos)2d_aa|nearest_exact[123]d)"
    r"|weight_norm(_interface)?|_(and|or|xor|lshift|rshift)__)"
)
"""``aten`` operators with a leading underscore that occur in the graphs of models. Others do not
check their arguments: ``_reshape_alias`` and ``_sparse_coo_tensor_unsafe`` would read and write
outside of the tensor."""
SYMBOLIC = {
    *(
        f"_operator.{name}"
        for name in (
            "eq",
            "ne",
            "le",
            "ge",
            "lt",
            "gt",
            "neg",
            "pos",
            "mul",
            "add",
            "sub",
            "floordiv",
            "mod",
            "pow",
            "truediv",
            "and_",
            "or_",
            "lshift",
            "rshift",
            "getitem",
        )
    ),
    *(
        f"torch.{name}"
        for name in (
            "sym_not",
            "sym_int",
            "sym_float",
            "sym_ite",
            "sym_max",
            "sym_min",
            "sym_sqrt",
            "_sym_sqrt",
        )
    ),
    "math.trunc",
}
"""Functions on sizes that torch's serializer writes (``_SYM_OPS``)."""
CONTROL_FLOW = {
    "cond",
    "while_loop",
    "map_impl",
    "scan",
    "associative_scan",
    "wrap_with_set_grad_enabled",
    "wrap_with_autocast",
}
"""Operators of ``torch.ops.higher_order`` that call graphs of the same file."""
_VALUES = {
    "as_none",
    "as_tensor",
    "as_tensors",
    "as_int",
    "as_ints",
    "as_float",
    "as_floats",
    "as_string",
    "as_strings",
    "as_sym_int",
    "as_sym_ints",
    "as_scalar_type",
    "as_memory_format",
    "as_layout",
    "as_device",
    "as_bool",
    "as_bools",
    "as_sym_bool",
    "as_sym_bools",
    "as_graph",
    "as_optional_tensors",
    "as_sym_float",
    "as_sym_floats",
    "as_optional_tensor",
    "as_complex",
    "as_nested_tensors",
    "as_int_lists",
    "as_float_lists",
    "as_name",
    "as_expr",
}
"""Kinds of values in a graph. ``as_custom_obj`` and ``as_operator`` are not among them."""
_WRONG = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,  # of the Python that torch.fx makes of a graph
    EOFError,
    IsADirectoryError,
    struct.error,
)


@dataclass(frozen=True)
class Payload:
    """A tensor in the archive: the entry with its storage, and torch's ``TensorMeta`` as JSON."""

    entry: str
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Archive:
    """A checked archive. ``weights`` and ``constants`` map the names of tensors to the tensors."""

    program: Mapping[str, Any]
    weights: Mapping[str, Payload]
    constants: Mapping[str, Payload]
    file: zipfile.ZipFile

    def read(self, payload: Payload) -> bytes:
        return self.file.read(payload.entry)


def check_pt2(path: Path) -> None:
    """Raises: ModelError if the file contains anything other than a graph and tensors."""
    with open_pt2(path):
        pass


@contextmanager
def open_pt2(path: Path) -> Iterator[Archive]:
    """The archive, open so that its tensors can be read.

    Raises:
        ModelError: the file is damaged, contains anything other than tensors and a graph of
            torch's own operators, or was written by a version of torch that is not known.
    """
    try:
        with zipfile.ZipFile(path) as file:
            yield _checked(file, path)
    except _WRONG as error:
        raise ModelError(
            f"{path} is not a pt2 file that can be read: {type(error).__name__}: {error}. Export "
            "the model again with this torch (nocturne.contract.log_torch_model)",
            path=str(path),
        ) from error


def _checked(file: zipfile.ZipFile, path: Path) -> Archive:
    root = _check_entries(file, path)
    if file.read(f"{root}archive_format") != b"pt2" or file.read(f"{root}byteorder") != b"little":
        raise ValueError("its archive_format is not pt2, or its byteorder not little")
    program = json.loads(file.read(f"{root}models/model.json"))
    version = program["schema_version"]
    if version["major"] != _SCHEMA:
        raise ModelError(
            f"{path} has schema version {version['major']} of torch {program.get('torch_version')},"
            f" expected {_SCHEMA} (torch 2.8 to 2.13); export the model again",
            path=str(path),
        )
    _check_program(program, path)
    weights, constants = (_payloads(file, root, part, path) for part in _PARTS)
    return Archive(program, weights, constants, file)


def _check_entries(file: zipfile.ZipFile, path: Path) -> str:
    """The folder that contains all entries.

    Entries are neither compressed nor repeated, so what is read can't be larger than the file.
    """
    entries = file.infolist()
    names = [entry.filename for entry in entries]
    root = names[0].partition("/")[0] + "/"
    unknown = [n for n in names if not n.startswith(root) or not _KNOWN.fullmatch(n[len(root) :])]
    if unknown:
        raise _refused(path, f"entries that are no tensors and no graph: {choices(unknown, 6)}")
    if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
        raise _refused(path, "entries that are compressed or encrypted")
    if len(set(names)) < len(names) or sum(e.file_size for e in entries) > path.stat().st_size:
        raise _refused(path, "entries that are there twice or overlap")
    return root


def _payloads(file: zipfile.ZipFile, root: str, part: str, path: Path) -> dict[str, Payload]:
    config = json.loads(file.read(f"{root}data/{part}/model_{part}_config.json"))["config"]
    payloads = {}
    for name, entry_config in config.items():
        entry = entry_config["path_name"]
        if entry_config["use_pickle"] or not re.fullmatch(rf"{_PARTS[part]}_\d+", entry):
            raise _refused(path, f"a pickle in place of the tensor {name!r} ({part}/{entry})")
        file.getinfo(f"{root}data/{part}/{entry}")
        payloads[name] = Payload(f"{root}data/{part}/{entry}", entry_config["tensor_meta"])
    return payloads


def _check_program(program: Any, path: Path) -> None:
    """Checks functions, kinds of values and expressions at any place in the JSON."""
    pending = [program["graph_module"], program["range_constraints"]]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        if not isinstance(value, dict):
            continue
        for key, item in value.items():
            if key.startswith("as_") and key not in _VALUES and len(value) == 1:
                raise _refused(path, f"a value of kind {key} in its graph")
            if key == "expr_str" and not _is_arithmetic(item):
                raise _refused(path, f"the expression {str(item)[:80]!r}, which is no arithmetic")
        if {"target", "inputs", "outputs"} <= value.keys():
            called = str(value["target"])[:80]
            if not _is_operator(value["target"]):
                raise _refused(
                    path, f"a call of {called}, which is none of torch's tensor operators"
                )
            wrong = [name for i in value["inputs"] if not is_argument(name := i["name"])]
            if wrong:
                raise _refused(path, f"a call of {called} with an argument named {wrong[0]!r:.80}")
        pending += value.values()


def is_argument(name: Any) -> bool:
    """Whether a node's input has a valid name for an argument: torch.fx writes it into Python."""
    if name is None or name == "":
        return True
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) is not None
        and not keyword.iskeyword(name)
    )


def _is_operator(target: str) -> bool:
    if target in SYMBOLIC or target.removeprefix("torch.ops.higher_order.") in CONTROL_FLOW:
        return True
    match = _OPERATOR.fullmatch(target)
    if match is None or match[2] in _REFUSED:
        return False
    return not match[2].startswith("_") or _INTERNAL.fullmatch(match[2]) is not None


_FUNCTIONS = {"floor", "ceiling", "sqrt", "log", "exp", "sin", "cos", "tan", "true", "false"}
"""Functions that sympy writes in lower case; classes of sympy and torch begin with a capital."""


def _is_arithmetic(text: Any) -> bool:
    """Whether an expression from sympy's ``srepr`` consists of symbols, numbers and arithmetic.

    Nocturne does not evaluate it (the nodes of the graph compute sizes). It is checked because
    other programs that read the same file evaluate it.
    """
    if not isinstance(text, str) or len(text) > 10_000:
        return False
    try:
        tree = ast.parse(text, mode="eval")
        return all(_is_plain(node) for node in ast.walk(tree))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and not _is_tower(node)
    if isinstance(node, ast.Name):
        is_known = node.id[:1].isupper() or node.id in _FUNCTIONS
        return is_known or re.fullmatch(r"[a-z]+\d+", node.id) is not None
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, str):  # the name in Symbol('s77'), the digits in Float('0.5')
            return re.fullmatch(r"[\w.+-]{1,60}", value) is not None
        return isinstance(value, (bool, int, float)) and abs(value) < 2**65
    if isinstance(node, ast.Pow | ast.LShift):  # srepr writes Pow(a, b)
        return False
    return isinstance(
        node,
        (
            ast.Expression,
            ast.keyword,
            ast.BinOp,
            ast.UnaryOp,
            ast.Compare,
            ast.Load,
            ast.operator,
            ast.unaryop,
            ast.cmpop,
            ast.Tuple,
        ),
    )


def _is_tower(node: ast.Call) -> bool:
    """Whether it is a power of a power, or has a number above 999: 9**9**9 never ends."""

    def powers(tree: ast.AST) -> list[ast.Call]:
        calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call))
        return [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Pow"]

    if node not in powers(node):
        return False
    numbers = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return len(powers(node)) > 1 or any(isinstance(n, int) and abs(n) > 999 for n in numbers)


def _refused(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path} holds {what}. A pt2 file is read as tensors and a graph of torch's operators only",
        path=str(path),
    )
