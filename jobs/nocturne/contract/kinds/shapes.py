"""Whether the tensors that an encoding makes are those that a model says it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nocturne.errors import InputError, choices
from nocturne.model.declared_inputs import Slot

__all__ = ["check_shapes"]


def check_shapes(
    kind: str, slots: Sequence[Slot], names: Sequence[str], example: Sequence[NDArray[np.generic]]
) -> None:
    """Compare the tensors [rows, ...], in the order of the slots, with what the model takes.

    Args:
        kind: the model, in words.
        names: those of the tensors.

    Raises:
        InputError: one has another type or another shape than the model's.
    """
    wrong = [
        f"{name} {_words(str(array.dtype), array.shape[1:])} for "
        f"{slot.name or 'its input'} {_words(slot.type, slot.shape[1:])}"
        for slot, name, array in zip(slots, names, example, strict=True)
        if not _fits(slot, array)
    ]
    if wrong:
        raise InputError(
            f"the encoding does not fit {kind}: it makes {choices(wrong)}. Name the columns that "
            "the model was trained on, in their order",
            problems=wrong,
        )


def _fits(slot: Slot, array: NDArray[np.generic]) -> bool:
    shape = slot.shape[1:]
    return (
        slot.type == str(array.dtype)
        and len(shape) == array.ndim - 1
        and all(size in (-1, found) for size, found in zip(shape, array.shape[1:], strict=True))
    )


def _words(type_: str, shape: Sequence[int]) -> str:
    sizes = ", ".join("any" if size == -1 else str(size) for size in shape)
    return f"{type_}[rows{', ' if sizes else ''}{sizes}]"
