"""What the labels of a night are: of two classes, of several, or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.types import is_text
from nocturne.config.labels import Labels
from nocturne.errors import InputError

__all__ = [
    "Kind",
    "are_two",
    "is_number",
    "kind_of",
    "known",
    "refuse_unlike",
    "values_of",
    "words",
]

Kind = Literal["classes", "numbers", "multiclass"]


def known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether there is a value [n]: neither a null nor NaN."""
    if not pa.types.is_floating(column.type):
        return column.is_valid()
    return pc.and_(column.is_valid(), pc.invert(pc.is_nan(column)).fill_null(False))


def are_two(column: pa.ChunkedArray) -> bool:
    """Whether all known values of a column of numbers are 0 or 1."""
    if not is_number(column.type):
        return False
    values = column.filter(known(column))
    two = pa.array([0, 1]).cast(pa.float64())
    return bool(pc.all(pc.is_in(values.cast(pa.float64(), safe=False), two)).as_py() is not False)


def kind_of(labels: Labels, type_: pa.DataType, two: bool) -> Kind:
    """The kind of labels of a type.

    Args:
        two: whether all of them are 0 or 1, as ``are_two`` says.

    Raises:
        InputError: they are none that can be compared, or not of the type of ``labels.positive``.
    """
    if labels.kind == "multiclass":
        return "multiclass"
    if (positive := labels.positive) is not None:
        of_type = {bool: pa.types.is_boolean(type_), int: is_number(type_), str: is_text(type_)}
        if not of_type[type(positive)]:
            raise InputError(
                f"labels.positive is {positive!r}, and the label {labels.column!r} is {type_}: say "
                "a value of that type"
            )
        return "classes"
    if pa.types.is_boolean(type_) or pa.types.is_null(type_):
        return labels.kind or "classes"
    if not is_number(type_):
        raise InputError(
            f"the label {labels.column!r} is {type_}: say which value is the positive one "
            "(labels.positive), or that it is compared with a predicted class (labels.kind: "
            "multiclass)"
        )
    if labels.kind == "classes" and not two:
        raise InputError(
            f"the label {labels.column!r} has other values than 0 and 1: say which one is the "
            "positive one (labels.positive)"
        )
    if labels.kind == "classes" or (labels.kind is None and pa.types.is_integer(type_) and two):
        return "classes"
    return "numbers"


def values_of(labels: Labels, kind: Kind, column: pa.ChunkedArray) -> Any:
    """Labels without nulls, [n]: booleans, float64, or text of several classes.

    Raises:
        InputError: a number is not finite.
    """
    if kind == "multiclass":
        return words(column, labels.column)
    if kind == "classes" and labels.positive is not None:
        same = pc.equal(column, pa.scalar(labels.positive).cast(column.type))
        return same.to_numpy().astype(bool)
    if kind == "classes":
        return column.cast(pa.int64()).to_numpy().astype(bool)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    if not np.isfinite(values).all():
        raise InputError(f"the label {labels.column!r} has values that are not finite")
    return values


def words(column: pa.ChunkedArray, name: str) -> pa.Array:
    """The classes of a column [n] as text: 3, 3.0 and "3" are the same one.

    Raises:
        InputError: it holds something else.
    """
    type_ = column.type
    try:
        if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
            column = column.cast(pa.int64())
        if not (is_text(type_) or is_number(type_) or pa.types.is_boolean(type_)):
            raise pa.ArrowInvalid("neither a word nor a whole number")
        return _joined(column.cast(pa.string()).chunks)
    except pa.ArrowInvalid:
        raise InputError(
            f"{name} is {type_}, expected classes: words, booleans or whole numbers"
        ) from None


def refuse_unlike(label: pa.DataType, predicted: pa.DataType, name: str) -> None:
    """Refuse labels of which no class can be one of the predicted ones.

    Raises:
        InputError: one side is true or false, and the other is not.
    """
    if pa.types.is_null(label):
        return
    if pa.types.is_boolean(label) != pa.types.is_boolean(predicted):
        raise InputError(
            f"the label {name!r} is {label}, the predicted class {predicted}: one is true or false "
            "and the other is not, so no class is the same"
        )


def _joined(chunks: Iterable[pa.Array]) -> pa.Array:
    return pa.concat_arrays([pa.array([], pa.string()), *chunks])


def is_number(type_: pa.DataType) -> bool:
    """Whether values of a type are numbers."""
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    )
