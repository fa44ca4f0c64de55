"""A model's folder as anybody could have written it: taken, or refused by one of our errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nocturne.errors import ModelError
from nocturne.model.artifact import code_in, mlmodel, require_plain_files
from nocturne.model.copies import tree_digest
from nocturne.model.registry import Resolved, require_loadable
from nocturne.records.plan import ModelRef

_INPUTS = json.dumps([{"name": "a", "type": "double"}])


def _folder(path: Path, *, data: str = "model.xgb", **said: Any) -> Path:
    """An artifact of XGBoost."""
    path.mkdir(exist_ok=True)
    flavors = {
        "python_function": {"loader_module": "mlflow.xgboost", "data": data},
        "xgboost": {"data": data},
    }
    (path / "MLmodel").write_text(json.dumps({"flavors": flavors, **said}))
    (path / "model.xgb").write_text("{}")
    return path


def _ref(folder: Path, backend: Any = "pyfunc") -> ModelRef:
    return ModelRef("m", 1, "version 1", backend, tree_digest(folder), str(folder))


@pytest.mark.parametrize(
    "signature",
    [
        "x",
        {"inputs": 5},
        {"inputs": "5"},
        {"inputs": "{}"},
        {"inputs": "[1]"},
        {"inputs": json.dumps([{"name": 5, "type": "double"}])},
        {"inputs": json.dumps([{"name": ["a"], "type": "double"}])},
        {"inputs": json.dumps([{"name": "a", "type": "double"}] * 2)},
        {"inputs": json.dumps([{"name": "a", "type": {}}])},
        {"inputs": json.dumps([{"name": "a", "type": "double", "required": "no"}])},
        {"inputs": json.dumps([{"name": "", "type": "double"}])},
        *(
            {"inputs": _INPUTS, "outputs": outputs}
            for outputs in (
                "5",
                "true",
                "[1]",
                '[{"type": "tensor"}]',
                '"ab"',
                '[{"type": "tensor", "tensor-spec": {}}]',
                '[{"name": 5.5, "type": "double"}]',
                '{"a": 1}',
                json.dumps([{"name": "p", "type": "double"}] * 2),
            )
        ),
    ],
)
def test_a_signature_that_mlflow_would_not_write_is_refused(tmp_path: Path, signature: Any) -> None:
    ref = _ref(_folder(tmp_path / "m", signature=signature))
    with pytest.raises(ModelError, match="signature"):
        _ = Resolved(ref).encoding


def test_a_signature_says_columns_and_outputs(tmp_path: Path) -> None:
    outputs = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}])
    ref = _ref(_folder(tmp_path / "m", signature={"inputs": _INPUTS, "outputs": outputs}))
    encoding = Resolved(ref).encoding
    assert [f.column for tensor in encoding.inputs for f in tensor.features] == ["a"]
    assert [(o.name, o.type) for o in encoding.outputs] == [("prediction", "float32")]


@pytest.mark.parametrize("data", ["a" * 300, "x" * 5000, "..", ".", "../m/model.xgb", "no", "m\0"])
def test_a_file_that_can_not_be_is_named_as_such(tmp_path: Path, data: str) -> None:
    folder = _folder(tmp_path / "m", data=data)
    with pytest.raises(ModelError, match="as its data, expected one file beside it"):
        require_loadable(_ref(folder), False)


def test_a_folder_that_is_called_like_a_model_is_none(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "m")
    said = {"flavors": {"pytorch": {}}}
    (folder / "MLmodel").write_text(json.dumps(said))
    (folder / "data" / "x.pt2").mkdir(parents=True)
    (folder / "model.xgb").unlink()
    (folder / "model.pt2").write_bytes(b"no archive")
    assert list(code_in(folder, said)) == ["model.pt2"]


def test_what_no_loader_reads_may_lie_in_the_folder(tmp_path: Path) -> None:
    """MLflow writes constraints for requirements with -c; notes are the author's."""
    folder = _folder(tmp_path / "m")
    (folder / "constraints.txt").write_text("numpy<9\n")
    (folder / "extra_files").mkdir()
    (folder / "extra_files" / "train.py").write_text("print()\n")
    require_loadable(_ref(folder), False)
    (folder / "train.py").write_text("print()\n")
    assert code_in(folder, mlmodel(folder, "m")) == {"train.py": "Python or a library"}


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "m")
    Path(folder, os.fsdecode(b"bad\xff.txt")).write_text("x")
    with pytest.raises(ModelError, match=r"not UTF-8, b'bad\\xff.txt'"):
        require_plain_files(folder, "m")
