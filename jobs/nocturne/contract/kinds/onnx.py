"""An ONNX file, with the packages onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import mlflow.onnx
import numpy as np
import pyarrow as pa
from mlflow.entities import LoggedModel
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from nocturne.contract.encodings import tensors
from nocturne.contract.handed_in import HandedIn
from nocturne.contract.kinds.shapes import check_shapes
from nocturne.encoding import Encoding
from nocturne.engine.model import Raw
from nocturne.errors import InputError, ModelError, choices
from nocturne.model.declared_inputs import DeclaredInputs, Slot
from nocturne.pyfunc.returned import arrays

__all__ = ["of_onnx"]


def of_onnx(path: Path) -> HandedIn:
    """An ONNX file, with the files beside it that it names for large tensors.

    Raises:
        ModelError: onnx or onnxruntime is not installed, or they can't read it.
    """
    onnx, onnxruntime = _installed("onnx"), _installed("onnxruntime")
    kind = f"the ONNX file {path}"
    try:
        model = onnx.load(path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # each has a tree of its own
        line = str(error).strip().split("\n", 1)[0]
        raise ModelError(
            f"{path} is no ONNX file that can be read: {type(error).__name__}: {line}",
            path=str(path),
        ) from error
    slots = tuple(_slot(onnx, value, kind) for value in _inputs(model))

    def check(encoding: Encoding, data: pa.Table) -> None:
        made = [spec.name for spec in encoding.inputs]
        if sorted(made) != sorted(slot.name for slot in slots):
            raise InputError(
                f"the encoding makes the tensors {choices(made)}; {kind} takes "
                f"{choices(slot.description() for slot in slots)}"
            )
        tensor = dict(zip(made, tensors(data.slice(0, 2), encoding), strict=True))
        order = [slot.name for slot in slots]
        check_shapes(kind, slots, order, [tensor[name].numpy() for name in order])

    def log(encoding: Encoding, data: pa.Table, made: LoggedModel) -> None:
        specs = [TensorSpec(np.dtype(slot.type), slot.shape, slot.name) for slot in slots]
        mlflow.onnx.log_model(
            model,
            name=made.name,
            model_id=made.model_id,
            signature=ModelSignature(inputs=Schema(specs)),
            pip_requirements=[
                f"{package.__name__}=={package.__version__}"
                for package in (onnx, onnxruntime, mlflow)
            ],
        )

    def load(encoding: Encoding) -> _Session:
        return _Session(session, [tensor.name for tensor in encoding.inputs])

    return HandedIn(kind, DeclaredInputs(slots=slots), load, log, check)


class _Session:
    """The file in ONNX Runtime; ``names`` are those of the tensors that it is given."""

    def __init__(self, session: Any, names: Sequence[str]) -> None:
        self.session, self.names = session, names
        self.outputs = [output.name for output in session.get_outputs()]

    def predict(self, encoded: Any) -> Raw:
        given = dict(zip(self.names, map(np.asarray, encoded), strict=True))
        result = self.session.run(None, given)
        return arrays(dict(zip(self.outputs, result, strict=True)), len(encoded[0]))


def _installed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"an ONNX file needs the packages onnx and onnxruntime, and {name} is not installed "
            f"here ({error}): pip install onnx onnxruntime"
        ) from None


def _inputs(model: Any) -> list[Any]:
    """The graph's inputs. Old files list the weights among them."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _slot(onnx: Any, value: Any, kind: str) -> Slot:
    tensor = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    if not sizes or sizes[0] > 0:
        raise ModelError(
            f"{kind} takes {value.name} of the shape {sizes}: not any number of rows. Export it "
            "with a first dimension that is dynamic"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return Slot(value.name, str(np.dtype(dtype)), (-1, *sizes[1:]))
