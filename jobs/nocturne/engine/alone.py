"""Checks that a graph gives a row the same outputs in each call, whatever rows come with it.

The engine relies on it: it decides how many rows a call has, repeats a row to fill one up, and
gives rows once more if a call raised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nocturne.engine.agree import agree, in_order
from nocturne.engine.encode import Encoded
from nocturne.engine.model import Array, Model
from nocturne.errors import ModelError, NocturneError

__all__ = ["require_rows_alone"]


def require_rows_alone(model: Model, encoded: Encoded) -> None:
    """Call the model four times, each row always in the same place: rounding makes no difference.

    A model that is given only real rows (``padded`` is false), or raises, is not checked.

    Raises:
        ModelError: the outputs of a row differ.
    """
    if not getattr(model, "padded", True):
        return
    try:
        why = _difference(model, encoded)
    except NocturneError:
        raise
    except Exception:  # which of the rows are at fault is found when they are scored
        return
    if why:
        raise ModelError(
            f"the model {why}. So what is published would depend on how many rows are scored at "
            "once, and in which order. Export it after module.eval(), which ends dropout and batch "
            "normalization over the rows; a module that still does so must be written so that a "
            "row's outputs follow from this row alone"
        )


def _difference(model: Model, encoded: Encoded) -> str:
    """What makes the outputs of a row differ; "" if nothing does."""
    count = len(encoded[0])
    places = np.arange(count)

    def called(rows: NDArray[np.intp]) -> list[Array]:
        return in_order(model.predict([item[rows] for item in encoded]))

    first = called(places)
    if any(len(output) != count for output in first):
        return ""  # its shape is refused
    if not agree(first, called(places)):
        return (
            "gives the same rows other outputs when it is called again: it draws random numbers, "
            "or changes a tensor that it keeps"
        )
    for kept in (0, 1):  # every other row is replaced by the one beside it
        found = called(np.minimum(places // 2 * 2 + kept, count - 1))
        if not agree([o[kept::2] for o in first], [o[kept::2] for o in found]):
            return "gives a row other outputs if the rows that come with it are others"
    return ""
