"""Post-processing: converts the model's raw output to a prediction column.

Each entry of ``POST`` is a post-processing: what it takes and returns, what it checks in its spec,
and the computation. To add one, add its entry. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["POST", "Post"]

Values = NDArray[Any]
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Post:
    """A post-processing.

    Args:
        apply: raw values [rows] or [rows, classes], the output's length and its labels -> values
            [rows] or [rows, length].
        classes: if not empty, it takes [rows, classes], even for a single class. ``all``: the
            result has all ``length`` classes; ``some``: it picks from ``length`` or more classes.
        length: whether the output is a vector: ``open`` (0 for one value a row), ``needed``, or
            ``none``.
        gives: values of ``any`` type, ``floats``, or a ``class`` (its index, or its name in
            ``labels``).
    """

    apply: Callable[[Values, int, Labels], Values]
    classes: Literal["", "all", "some"] = ""
    length: Literal["open", "needed", "none"] = "open"
    gives: Literal["any", "floats", "class"] = "floats"

    def problem(self, name: str, type_: str, length: int, labels: Labels) -> str:
        """The contradiction in an output's spec, as text; "" if there is none."""
        if self.length == "needed" and length < 1:
            return f"{name} needs a length of at least 1"
        if self.length == "none" and length:
            return f"{name} gives one value a row, so it takes no length"
        if self.gives != "class" and labels:
            class_posts = " or ".join(
                other for other, post in POST.items() if post.gives == "class"
            )
            return f"labels belong to {class_posts}, not to {name}"
        if self.gives == "class" and type_ != ("string" if labels else "int64"):
            expected = "string, the labels'" if labels else "int64, an index"
            return f"{name} has the type {type_}, expected {expected}"
        if self.gives == "floats" and type_ not in ("float32", "float64"):
            return f"{name} has the type {type_}, expected float32 or float64"
        return ""


def _none(values: Values, length: int, labels: Labels) -> Values:
    return values


def _wide(values: Values) -> Values:
    """As float32, or float64 for large integers: NumPy's ``-`` and ``exp`` would wrap in unsigned
    integers, and compute with three digits in those of 8 bits."""
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)


def _sigmoid(values: Values, length: int, labels: Labels) -> Values:
    """1 / (1 + exp(-x)), without overflow warnings at the far ends."""
    values = _wide(values)
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)))


def _softmax(values: Values, length: int, labels: Labels) -> Values:
    """exp(x - max) / sum: the largest value of a row is subtracted first to avoid overflow."""
    values = _wide(values)
    with np.errstate(invalid="ignore"):
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _argmax(values: Values, length: int, labels: Labels) -> Values:
    return _labelled(values.argmax(axis=1), labels)


def _top_k(values: Values, length: int, labels: Labels) -> Values:
    return _labelled(_best(values, length), labels)


def _top_k_values(values: Values, length: int, labels: Labels) -> Values:
    best = _best(values, length)
    return np.asarray(np.take_along_axis(_softmax(values, length, labels), best, axis=1))


def _best(values: Values, k: int) -> Values:
    """Positions of the k largest values, best first; equal values keep their order."""
    return np.asarray(np.argsort(-_wide(values), axis=1, kind="stable")[:, :k])


def _labelled(index: Values, labels: Labels) -> Values:
    return np.array(labels, dtype=object)[index] if labels else index


POST: dict[str, Post] = {
    # Value by value; with a length, a vector of so many.
    "none": Post(_none, gives="any"),
    "sigmoid": Post(_sigmoid),
    # The probabilities of all classes.
    "softmax": Post(_softmax, classes="all", length="needed"),
    # The largest of the classes; the k largest, best first; and their softmax probabilities.
    "argmax": Post(_argmax, classes="some", length="none", gives="class"),
    "top_k": Post(_top_k, classes="some", length="needed", gives="class"),
    "top_k_values": Post(_top_k_values, classes="some", length="needed"),
}
