"""The inputs and outputs of a pyfunc model, from the MLflow signature in its MLmodel file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nocturne.encoding import OUTPUT_WORDS, Encoding, OutputSpec, OutputType
from nocturne.errors import ModelError
from nocturne.model.artifact import mlmodel
from nocturne.model.declared_inputs import DeclaredInputs, Inputs, tensors
from nocturne.model.params import checked_params
from nocturne.records.plan import ModelRef

__all__ = ["Signature", "encoding_of_signature", "signature_in", "signature_of"]

Column = dict[str, Any]
"""A column or a tensor, in MLflow's format."""


@dataclass(frozen=True)
class Signature:
    """A model's signature; what it does not declare is empty.

    ``what`` is the name of the model in messages.
    """

    what: str
    inputs: DeclaredInputs
    outputs: tuple[Column, ...]
    params: tuple[Column, ...]

    @property
    def declared_outputs(self) -> tuple[OutputSpec, ...]:
        """The declared outputs. One without a name is named ""; one without a type is ``any``."""
        return _outputs(self.outputs)

    def encoding(self, inputs: Inputs | None, params: Mapping[str, Any]) -> Encoding:
        """The encoding, with ``model.inputs`` and ``model.params`` of the YAML.

        Raises:
            ModelError: neither the signature nor the YAML declares the inputs, or columns can't
                fill them.
            ConfigError: the YAML does not fit the signature.
        """
        checked = checked_params(self.params, params, self.what)
        return Encoding(tensors(self.inputs, inputs, self.what), self.declared_outputs, checked)


def encoding_of_signature(
    ref: ModelRef, inputs: Inputs | None = None, params: Mapping[str, Any] | None = None
) -> Encoding:
    """A pyfunc model's columns and types, and its outputs as far as they are declared.

    Raises:
        ModelError: the signature can't be read.
        ModelError, ConfigError: see ``Signature.encoding``.
    """
    return signature_of(ref).encoding(inputs, params or {})


def signature_of(ref: ModelRef) -> Signature:
    """Raises: ModelError if the signature can't be read."""
    return signature_in(Path(ref.path), f"model {ref.name} version {ref.version}")


def signature_in(folder: Path, what: str) -> Signature:
    """The signature of the model in a folder.

    Args:
        what: the name of the model in messages.

    Raises:
        ModelError: it can't be read.
    """
    metadata = mlmodel(folder, what)
    try:
        signature = metadata.get("signature") or {}
        inputs, outputs, params = (
            json.loads(signature.get(part) or "[]") for part in ("inputs", "outputs", "params")
        )
        if metadata.get("is_signature_from_type_hint"):
            inputs = _fields(inputs)
        inputs = _checked_columns(_unnumbered(inputs), "inputs")
        torch = "pytorch" in metadata["flavors"]
        return Signature(
            what,
            DeclaredInputs.of(inputs, "float32" if torch else "float64"),
            tuple(_checked_columns(outputs, "outputs")),
            tuple(_checked_columns(params, "params")),
        )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"{what}: the signature in its MLmodel file can't be read ({error}); log it again with "
            "signature=mlflow.models.infer_signature(frame, predictions)"
        ) from None


def _unnumbered(columns: Any) -> Any:
    """Removes the names of columns that are named 0, 1, 2 ..."""
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        return columns
    if [c.get("name") for c in columns] != list(range(len(columns))):
        return columns
    return [{key: value for key, value in c.items() if key != "name"} for c in columns]


def _fields(columns: Any) -> Any:
    """The fields of ``list[dict]`` or ``list[SomeModel]``; MLflow converts rows to these."""
    if len(columns) == 1 and columns[0].get("type") == "object" and not columns[0].get("name"):
        return [{**field, "name": name} for name, field in columns[0]["properties"].items()]
    return columns


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> tuple[OutputSpec, ...]:
    """The declared outputs. An output without a name is named ""; one without a type is ``any``."""
    return tuple(
        OutputSpec(_name(o), type=_output_type(o), length=_output_length(o)) for o in outputs
    )


def _name(column: Mapping[str, Any]) -> str:
    """The name of a column; "" if it is a number."""
    name = column.get("name")
    return name if isinstance(name, str) else ""


def _checked_columns(columns: Any, which: str) -> list[dict[str, Any]]:
    """Raises: ValueError if they are not a list of columns in MLflow's format."""
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        raise ValueError(f"its {which} are {str(columns)[:60]}, expected a list of columns")
    names = [c["name"] for c in columns if c.get("name") not in (None, "")]
    wrong = [
        n for n in names if not isinstance(n, str) and not (which == "outputs" and type(n) is int)
    ]
    if wrong or len(set(names)) < len(names):
        raise ValueError(f"its {which} have a name that is no text, or twice: {str(names)[:60]}")
    for column in columns:
        if not isinstance(column.get("required", True), bool):
            raise ValueError(f"`required` of its {which} is {column['required']!r:.60}")
        spec = column.get("tensor-spec")
        if column.get("type") == "tensor" and not (isinstance(spec, dict) and "dtype" in spec):
            raise ValueError(f"its {which} have a tensor without the dtype of its tensor-spec")
    return columns


def _output_type(output: Mapping[str, Any]) -> OutputType:
    name = output.get("type")
    if name == "tensor":
        name = str(output["tensor-spec"]["dtype"])
    if name == "array" and isinstance(output.get("items"), dict):
        name = output["items"].get("type")
    types: dict[str, OutputType] = {
        **OUTPUT_WORDS,
        "int32": "int64",
        "int64": "int64",
        "float32": "float32",
        "float64": "float64",
        "bool": "bool",
        "str": "string",
    }
    return types.get(str(name), "any")


def _output_length(output: Mapping[str, Any]) -> int:
    """The n of a tensor [rows, n] if n is above 1; otherwise 0."""
    spec = output.get("tensor-spec")
    match spec.get("shape") if isinstance(spec, dict) else None:
        case [-1, int(length)] if length > 1:
            return length
    return 0
