"""Loops over the numbers of a column and its nulls, compiled by Numba.

Arrow and numpy need a pass through memory for each step, and there Arrow's bits are bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Floats", "compile_loops", "compiled", "present"]

Numbers = NDArray[Any]
Bits = NDArray[np.uint8]

_LOOPED: dict[pa.DataType, Any] = {
    pa.float32(): np.float32,
    pa.float64(): np.float64,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
}
"""The types that have a loop of their own: to compile one takes a fraction of a second, once."""
_NO_BITS = np.zeros(0, np.uint8)

F = TypeVar("F", bound=Callable[..., object])


def compiled(**options: Any) -> Callable[[F], F]:
    """Compiles a function at its first call, and caches it next to its file or in the user's
    cache, like bytecode."""

    def decorated(function: F) -> F:
        @cache
        def loop() -> Callable[..., object]:
            import numba  # takes 0.14 s, and a plan or a verdict does not need it

            try:
                return cast(F, numba.njit(cache=True, nogil=True, **options)(function))
            except RuntimeError:  # no place for a cache: this takes 0.5 s in each process
                return cast(F, numba.njit(nogil=True, **options)(function))

        @wraps(function)
        def call(*args: object) -> object:
            return loop()(*args)

        return cast(F, call)

    return decorated


def present(column: pa.Array) -> pa.Array:
    """The values that are not null [m], in order; NaN is no null."""
    if not column.null_count:
        return column
    if column.type not in _LOOPED:
        return column.drop_null()
    values, bits = _buffers(column)
    kept = np.empty(len(column) + 1, values.dtype)  # a null is written, and then written over
    return pa.array(kept[: _compact(values, bits, column.offset, len(column), kept)])


@compiled()
def _compact(values: Numbers, bits: Bits, offset: int, rows: int, kept: Numbers) -> int:
    found = 0
    for at in range(offset, offset + rows):
        kept[found] = values[at]
        found += (bits[at >> 3] >> (at & 7)) & 1
    return found


class Floats:
    """A column of float32 or float64 as (x - center) / scale, with ``fill`` for null and NaN.

    It is computed in the column's own type, as numpy does, when it is written.
    """

    def __init__(self, column: pa.Array, fill: float, center: float, scale: float) -> None:
        self._values, self._bits = _buffers(column)
        self._offset = column.offset
        kind = self._values.dtype.type
        with np.errstate(over="ignore"):
            self._scaling = kind(fill), kind(center), kind(scale)

    def write(self, out: Numbers, place: int, start: int) -> None:
        """Rows from ``start`` on into a column of ``out`` [n, columns], as many as it has rows."""
        _scaled(self._values, self._bits, self._offset + start, *self._scaling, out, place)


@compiled(error_model="numpy")
def _scaled(
    values: Numbers,
    bits: Bits,
    offset: int,
    fill: float,
    center: float,
    scale: float,
    out: Numbers,
    place: int,
) -> None:
    """Write a column of ``out`` [n, columns]; without ``bits`` no value is null."""
    if len(bits):
        for row in range(len(out)):
            at = offset + row
            value = values[at]
            if not (bits[at >> 3] >> (at & 7)) & 1 or value != value:
                value = fill
            out[row, place] = (value - center) / scale
    else:
        for row in range(len(out)):
            value = values[offset + row]
            if value != value:
                value = fill
            out[row, place] = (value - center) / scale


def _buffers(column: pa.Array) -> tuple[Numbers, Bits]:
    """The values from the first of the column's memory on, and the bits of those that are there."""
    valid, values = column.buffers()
    count = column.offset + len(column) if values else 0
    numbers = np.frombuffer(values or b"", _LOOPED[column.type], count)
    bits = np.frombuffer(valid, np.uint8) if column.null_count else _NO_BITS
    return numbers, bits


def compile_loops() -> None:
    """Compile for float32, the type of most columns, so that forked processes need not compile."""
    for column in (pa.array([1.0], pa.float32()), pa.array([1.0, None], pa.float32())):
        present(column)
        Floats(column, 0.0, 0.0, 1.0).write(np.empty((1, 1), np.float32), 0, 0)
