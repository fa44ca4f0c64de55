"""What a pyfunc model takes and gives, as the MLflow signature in its MLmodel file says it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nocturne.artifact import mlmodel
from nocturne.encoding import (
    FRAME_TYPES,
    OUTPUT_WORDS,
    Encoding,
    Feature,
    OutputSpec,
    OutputType,
    TensorSpec,
)
from nocturne.errors import ModelError, choices
from nocturne.records import ModelRef

__all__ = ["encoding_of_signature"]


def encoding_of_signature(ref: ModelRef) -> Encoding:
    """A pyfunc model's columns and types, and its outputs as far as they are said.

    Raises:
        ModelError: there is no signature with named columns, or it can't be read.
    """
    what = f"model {ref.name} version {ref.version}"
    try:
        signature = mlmodel(Path(ref.path), what).get("signature") or {}
        inputs = _said(json.loads(signature.get("inputs") or "[]"), "inputs")
        outputs = _said(json.loads(signature.get("outputs") or "[]"), "outputs")
        named = bool(inputs) and all(c.get("name") and "type" in c for c in inputs)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{what}: the signature in its MLmodel file can't be read ({error}); log it again with "
            "signature=mlflow.models.infer_signature(frame, predictions)"
        ) from None
    if not named:
        raise ModelError(
            f"{what} has no signature with named columns, so "
            "nothing says what it takes; log it with signature=mlflow.models.infer_signature("
            "frame, predictions)"
        )
    return Encoding(_inputs(inputs, what), _outputs(outputs))


def _inputs(columns: Sequence[Mapping[str, Any]], what: str) -> tuple[TensorSpec, ...]:
    unknown = sorted({str(c["type"]) for c in columns} - set(FRAME_TYPES))
    if unknown:
        raise ModelError(
            f"{what}: its signature has columns of type "
            f"{', '.join(unknown)}; expected {choices(FRAME_TYPES)}"
        )
    features = tuple(
        Feature(column=c["name"], type=c["type"], required=bool(c.get("required", True)))
        for c in columns
    )
    return (TensorSpec("frame", "frame", "frame", features),)


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> tuple[OutputSpec, ...]:
    """As they are said: without a name, or of the type ``any``, where the signature has none."""
    return tuple(
        OutputSpec(_name(o), type=_output_type(o), length=_output_length(o)) for o in outputs
    )


def _name(column: Mapping[str, Any]) -> str:
    """Columns of a frame that are numbered, not named, have no name."""
    name = column.get("name")
    return name if isinstance(name, str) else ""


def _said(columns: Any, which: str) -> list[dict[str, Any]]:
    """Raises: ValueError if they are no list of columns as MLflow writes them."""
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        raise ValueError(f"its {which} are {str(columns)[:60]}, expected a list of columns")
    names = [c["name"] for c in columns if c.get("name") not in (None, "")]
    odd = [
        n for n in names if not isinstance(n, str) and not (which == "outputs" and type(n) is int)
    ]
    if odd or len(set(names)) < len(names):
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
    known: dict[str, OutputType] = {
        **OUTPUT_WORDS,
        "int32": "int64",
        "int64": "int64",
        "float32": "float32",
        "float64": "float64",
        "bool": "bool",
        "str": "string",
    }
    return known.get(str(name), "any")


def _output_length(output: Mapping[str, Any]) -> int:
    """Of a tensor [rows, n] the n, if that is more than one value."""
    spec = output.get("tensor-spec")
    match spec.get("shape") if isinstance(spec, dict) else None:
        case [-1, int(length)] if length > 1:
            return length
    return 0
