"""The spec of an encoder: the tensor that it makes, and the features of the tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from nocturne.errors import choices

__all__ = ["ARRAY_OF", "FRAME_TYPES", "WHOLE", "WHOLE_NUMBERS", "Dtype", "Feature", "TensorSpec"]

Dtype = Literal[
    "float32",
    "float64",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
    "str",
    "object",
    "frame",
]

WHOLE = frozenset(name for name in get_args(Dtype) if name.startswith(("int", "uint", "bool")))
"""The dtypes of tensors that have no value for a missing one."""

FRAME_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("ns"),
}
"""Type name in an MLflow signature -> Arrow type."""

ARRAY_OF = "array of "
"""The beginning of a list type in a signature."""

FRAME_TYPES |= {f"{ARRAY_OF}{name}": pa.list_(type_) for name, type_ in FRAME_TYPES.items()}

WHOLE_NUMBERS = ("long", "integer", "boolean")
"""Types in a signature that have no null, neither in pandas nor in MLflow."""


@dataclass(frozen=True)
class Feature:
    """One input column and how its values are encoded."""

    column: str
    fill: float | None = 0.0
    center: float = 0.0
    scale: float = 1.0
    vocabulary: tuple[str | int, ...] = ()
    unknown: int = 0
    length: int = 0
    pad: float | None = 0.0
    type: str = ""
    required: bool = True
    part: str = ""


@dataclass(frozen=True)
class TensorSpec:
    """One argument of the model: [rows, features], or [rows, length] for a list.

    ``encoder`` is a name in ``ENCODERS``. ``shape``, if it is not None, is the shape of a row:
    (28, 28), or () for [rows].
    """

    name: str
    dtype: Dtype
    encoder: str
    features: tuple[Feature, ...]
    shape: tuple[int, ...] | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Called by pydantic to make its adapter, which checks the name of the encoder."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_check_encoder, handler(source))


def _check_encoder(tensor: TensorSpec) -> TensorSpec:
    """Raises: ValueError if there is no such encoder."""
    from nocturne.encoders import ENCODERS  # the encoders import this module

    if tensor.encoder not in ENCODERS:
        raise ValueError(f"encoder: got {tensor.encoder!r}, expected {choices(ENCODERS)}")
    return tensor
