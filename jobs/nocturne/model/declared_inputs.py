"""The inputs of a pyfunc model: the columns that its signature names, or those of the YAML.

A signature may name no columns: it has tensors or columns without names, or the model has no
signature. ``model.inputs`` then lists the columns that fill the inputs, in order:

    [a, b, c]            the tensor, or the columns by position; without a signature, a matrix
    {x: [a, b], y: [c]}  several tensors with names
    {a: double, b: string}   a frame, for a model without a signature: columns and their types

A single column of lists may fill a tensor; the shape of the tensor is then the length of the lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

from nocturne.encoding import FRAME_TYPES, WHOLE, Dtype, Feature, TensorSpec
from nocturne.errors import ConfigError, ModelError, choices

__all__ = ["DeclaredInputs", "Inputs", "Slot", "tensors"]

Inputs = Sequence[str] | Mapping[str, Sequence[str] | str]
"""``model.inputs`` of a pipeline."""

_TEXT = ("object", "str")
"""Dtypes of arrays of text."""

_TYPES = f"{choices(t for t in FRAME_TYPES if ' ' not in t)}, or an array of one of these"


@dataclass(frozen=True)
class Slot:
    """A column or a tensor. ``shape`` is the shape of the tensor, rows first; () for a column."""

    name: str
    type: str
    shape: tuple[int, ...] = ()
    required: bool = True

    def description(self) -> str:
        """The name, type and shape, for messages."""
        name = f"{self.name}: " if self.name else ""
        return f"{name}{self.type}" + (f" {list(self.shape)}" if self.shape else "")

    def width(self, what: str) -> tuple[int, bool]:
        """The number of values in a row, and whether a multiple of it is accepted too.

        Raises:
            ModelError: columns can't fill rows of this shape.
        """
        if not self.shape:
            return 1, False
        row_shape = self.shape[1:]
        if self.shape[0] != -1 or row_shape.count(-1) > 1:
            raise ModelError(
                f"{what}: its signature has a tensor of shape {list(self.shape)}; expected "
                "[-1, ...], any number of rows of one shape. Log it with such a signature"
            )
        return prod(n for n in row_shape if n != -1), -1 in row_shape

    def tensor(self, columns: Sequence[str], what: str) -> TensorSpec:
        """The tensor, filled with columns by position or with one column of lists.

        Raises:
            ConfigError: the number of columns is wrong.
            ModelError: columns can't fill a tensor of this type or shape.
        """
        width, accepts_multiple = self.width(what)
        is_text = self.type in _TEXT
        if not is_text and self.type not in (*WHOLE, "float32", "float64"):
            raise ModelError(
                f"{what}: its signature has a tensor of {self.type}; expected float32, float64, "
                f"{choices(sorted(WHOLE))}, or text"
            )
        dtype, shape = cast(Dtype, self.type), None if len(self.shape) == 2 else self.shape[1:]
        if len(columns) == 1 and width > 1 and not accepts_multiple and not is_text:
            feature = Feature(columns[0], length=width, pad=None)
            return TensorSpec(self.name, dtype, "list", (feature,), shape)
        if len(columns) % width if accepts_multiple else len(columns) != width:
            raise ConfigError(
                f"model.inputs has {len(columns)} columns for {self.description()}; {what} takes "
                f"{'a multiple of ' if accepts_multiple else ''}{width} there, or one column of "
                "lists"
            )
        features = tuple(Feature(name, fill=None) for name in columns)
        return TensorSpec(self.name, dtype, "text" if is_text else "numeric", features, shape)


@dataclass(frozen=True)
class DeclaredInputs:
    """The inputs that a signature declares: ``columns`` with names, or ``slots`` to be filled.

    Without a signature, both are empty, and a matrix has the type ``dtype``.
    """

    columns: tuple[Slot, ...] = ()
    slots: tuple[Slot, ...] = ()
    dtype: str = "float64"

    @property
    def tensors(self) -> bool:
        return bool(self.slots) and bool(self.slots[0].shape)

    @staticmethod
    def of(columns: Sequence[Mapping[str, Any]], dtype: str) -> DeclaredInputs:
        """From the inputs of a signature, in MLflow's format.

        Raises:
            ValueError, TypeError, KeyError: they are not in MLflow's format.
        """
        slots = tuple(_slot(column) for column in columns)
        tensors = {bool(slot.shape) for slot in slots}
        if len(tensors) > 1:
            raise ValueError("its inputs are columns and tensors, expected one of the two")
        if slots and tensors == {False} and all(slot.name for slot in slots):
            return DeclaredInputs(columns=slots, dtype=dtype)
        return DeclaredInputs(slots=slots, dtype=dtype)

    def shortcoming(self) -> str:
        """What the signature lacks, for messages."""
        if not self.slots:
            return "has no signature"
        shown = choices(slot.description() for slot in self.slots)
        kind = "tensors" if self.tensors else "columns without names"
        return f"has a signature with no named columns, but {kind} ({shown})"


def _slot(column: Mapping[str, Any]) -> Slot:
    name, type_ = column.get("name") or "", column["type"]
    if type_ == "tensor":
        spec = column["tensor-spec"]
        shape = tuple(spec.get("shape") or (-1,))
        if not all(isinstance(n, int) and (n == -1 or n > 0) for n in shape):
            raise ValueError(f"the shape of a tensor is {str(shape)[:60]}")
        return Slot(name, str(spec["dtype"]), shape)
    if type_ == "array" and isinstance(column["items"], Mapping):
        type_ = f"array of {column['items'].get('type')}"
    return Slot(name, str(type_), required=bool(column.get("required", True)))


def tensors(takes: DeclaredInputs, inputs: Inputs | None, what: str) -> tuple[TensorSpec, ...]:
    """The tensors, or the single frame, that a model takes.

    Args:
        what: the name of the model in messages.

    Raises:
        ModelError: neither the signature nor ``inputs`` declare the inputs, or columns can't fill
            them.
        ConfigError: ``inputs`` do not fit the model.
    """
    if takes.columns:
        if inputs is not None:
            raise ConfigError(
                f"model.inputs: the signature of {what} names its columns itself: "
                f"{choices(slot.name for slot in takes.columns)}. Take model.inputs out"
            )
        return (_frame("frame", takes.columns, [slot.name for slot in takes.columns], what),)
    if not inputs:
        raise ModelError(
            f"{what} {takes.shortcoming()}, so nothing says which columns it takes. Name them in "
            "the YAML, in order, as model.inputs: [COLUMN, ...] (`nocturne init --feature COLUMN` "
            "writes it), or log the model with signature=mlflow.models.infer_signature(frame, "
            "predictions)"
        )
    if not takes.slots:
        return _without_signature(inputs, takes.dtype, what)
    if takes.tensors:
        filled = _by_name(takes.slots, inputs, what)
        return tuple(slot.tensor(filled[slot.name], what) for slot in takes.slots)
    columns = [] if isinstance(inputs, Mapping) else list(inputs)
    if len(columns) != len(takes.slots):
        raise ConfigError(
            f"model.inputs: {what} takes {len(takes.slots)} columns by position "
            f"({choices(slot.description() for slot in takes.slots)}); expected a list of as many"
        )
    return (_frame("", takes.slots, columns, what),)


def _frame(name: str, slots: Sequence[Slot], columns: Sequence[str], what: str) -> TensorSpec:
    if unknown := sorted({slot.type for slot in slots} - set(FRAME_TYPES)):
        raise ModelError(
            f"{what}: its signature has columns of type {', '.join(unknown)}; expected {_TYPES}"
        )
    features = tuple(
        Feature(column, type=slot.type, required=slot.required)
        for slot, column in zip(slots, columns, strict=True)
    )
    return TensorSpec(name, "frame", "frame", features)


def _by_name(slots: Sequence[Slot], inputs: Inputs, what: str) -> dict[str, Sequence[str]]:
    """The columns of each tensor; a list is enough if there is a single tensor."""
    if not isinstance(inputs, Mapping) and len(slots) == 1:
        return {slots[0].name: inputs}
    names = {slot.name for slot in slots}
    by_name = dict(inputs) if isinstance(inputs, Mapping) else {}
    if by_name.keys() != names or any(isinstance(columns, str) for columns in by_name.values()):
        shown = ", ".join(f"{slot.name or 'COLUMN'}: [...]" for slot in slots)
        expected = "[COLUMN, ...]" if names == {""} else f"{{{shown}}}"
        raise ConfigError(
            f"model.inputs: {what} takes {choices(slot.description() for slot in slots)}; expected "
            f"{expected}, columns in order"
        )
    return by_name


def _without_signature(inputs: Inputs, dtype: str, what: str) -> tuple[TensorSpec, ...]:
    if not isinstance(inputs, Mapping):
        return (Slot("", dtype, (-1, -1)).tensor(inputs, what),)
    types = {name: type_ for name, type_ in inputs.items() if isinstance(type_, str)}
    if not types:
        return tuple(Slot(name, dtype, (-1, -1)).tensor(c, what) for name, c in inputs.items())
    wrong = {name: value for name, value in inputs.items() if value not in list(FRAME_TYPES)}
    if wrong:
        name, value = next(iter(wrong.items()))
        raise ConfigError(
            f"model.inputs: {name} is {value!r}; expected the type of a column, one of "
            f"{_TYPES}; or for all of them lists of columns"
        )
    slots = [Slot(name, type_) for name, type_ in types.items()]
    return (_frame("frame", slots, list(types), what),)
