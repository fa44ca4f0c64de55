"""Estimates the number of distinct values with HyperLogLog sketches of Apache DataSketches.

Union and estimate are those of Flajolet, Fusy, Gandouet and Meunier (2007) with the library's
corrections: 95% of estimates are within 3.3% of the number.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nocturne.errors import StateError

if TYPE_CHECKING:
    from datasketches import hll_sketch

__all__ = ["estimate", "union"]

_LG_K = 12
"""4096 registers, 2 kB: a relative standard error of 1.04 / sqrt(4096)."""


def union(sketches: Iterable[str], values: Iterable[str] = ()) -> str:
    """The sketch, as base64, of ``values`` and all values in ``sketches`` ("" is an empty one)."""
    from datasketches import hll_union, tgt_hll_type

    merged = hll_union(_LG_K)
    for sketch in filter(None, sketches):
        merged.update(_sketch(sketch))
    for value in values:
        merged.update(value)
    return b64encode(merged.get_result(tgt_hll_type.HLL_4).serialize_compact()).decode()


def estimate(sketch: str) -> int:
    """An estimate of the number of distinct values in ``sketch``."""
    number: float = _sketch(sketch).get_estimate()
    return round(number)


def _sketch(text: str) -> hll_sketch:
    from datasketches import hll_sketch

    try:
        return hll_sketch.deserialize(b64decode(text))
    except Exception as error:  # the library has no type for this error
        raise StateError(
            f"a sketch of distinct values ({text[:20]}...) can't be read: {error}. The result that "
            "holds it is damaged; score the partition again"
        ) from None
