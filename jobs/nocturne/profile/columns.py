"""The columns of a batch for profile and expectations; values that several need are cached."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.legible import legible
from nocturne.columns.loops import present
from nocturne.columns.normal import plain, plain_type
from nocturne.columns.types import is_text
from nocturne.columns.values import missing, python_values
from nocturne.profile.conditions import matches
from nocturne.records.quality import Measured

__all__ = ["Column", "Rows", "distances", "floats", "type_of"]

_EXACT = 1 << 53
"""Up to here float64 holds every integer."""


class Rows:
    """A batch, and its parts for which conditions hold."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.columns: dict[str, Column] = {
            name: Column(array)
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
        }
        self._parts: dict[str, Rows] = {}

    @staticmethod
    def of(rows: pa.RecordBatch | Rows) -> Rows:
        """A batch as ``Rows``; ``Rows`` are returned as they are."""
        return rows if isinstance(rows, Rows) else Rows(rows)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def with_columns(self, more: Mapping[str, pa.Array]) -> Rows:
        """The rows with ``more`` columns added or replaced; the other columns are shared."""
        arrays = {name: column.array for name, column in self.columns.items()} | dict(more)
        rows = Rows(pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays)))
        rows.columns |= {n: column for n, column in self.columns.items() if n not in more}
        return rows

    def legible(self, names: Iterable[str]) -> Rows:
        """The rows with nulls for text of these columns that is not UTF-8."""
        read, _ = legible(self.batch, names)
        return self if read is self.batch else Rows(read)

    def by_value(self, name: str, values: Collection[str]) -> Iterator[tuple[str, Rows]]:
        """For each of ``values`` (as text), the rows that have it in column ``name``, if any."""
        array = self.columns[name].array
        words = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        for index, word in enumerate(words.dictionary.to_pylist()):
            if str(word) in values:
                yield str(word), Rows(self.batch.filter(pc.equal(words.indices, index)))

    def where(self, condition: Mapping[str, Any] | None) -> Rows:
        """The rows for which ``condition`` holds; all rows if it is None."""
        if condition is None:
            return self
        key = json.dumps(condition, sort_keys=True, default=str)
        if key not in self._parts:
            self._parts[key] = Rows(self.batch.filter(matches(self.batch, condition)))
        return self._parts[key]


class Column:
    """A column [n]. As in Great Expectations' pandas engine, NaN is missing, like null."""

    def __init__(self, array: pa.Array) -> None:
        words = pa.types.is_dictionary(array.type) and is_text(array.type.value_type)
        self.array = array if words else plain(array)

    @cached_property
    def counted(self) -> Measured:
        """Rows, missing values and type: every measure of the column starts from these."""
        return Measured(rows=len(self.array), missing=self.missing, type=type_of(self.array))

    @cached_property
    def missing(self) -> int:
        """How many values are null or NaN."""
        return len(self.array) - len(self.present)

    @cached_property
    def present(self) -> pa.Array:
        """The values that are not missing, in order."""
        array = self._not_null
        if pa.types.is_floating(array.type) and len(array) and self._least != self._least:
            array = array.filter(pc.invert(pc.is_nan(array)))
        return array

    @cached_property
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest present value; None if there is none."""
        present = self.present
        if not len(present) or not _is_number(present.type):
            least, most = python_values(self.ends)
            return least, most
        values = self._numbers
        if len(present) == len(values):
            return self._least, values.max().item()
        values = present.to_numpy(zero_copy_only=False)
        return values.min().item(), values.max().item()

    @cached_property
    def ends(self) -> pa.Array:
        """The least and the greatest present value [2]; null if there is none.

        For numbers this takes twenty times as long as ``bounds``.
        """
        extremes = pc.min_max(self.present)
        return pa.array([extremes["min"], extremes["max"]], self.present.type)

    @cached_property
    def floats(self) -> NDArray[np.floating]:
        """The numbers that are not null [m], with NaN; float32 stays, others become float64."""
        return floats(self._not_null)

    def around(self, center: float | int) -> tuple[NDArray[np.floating], float]:
        """``floats`` and the centre to count them around.

        If the centre is an integer and float64 can't hold the integers, the centre is subtracted
        exactly: the result is then the distances [m], to be counted around 0.
        """
        if isinstance(center, int) and pa.types.is_integer(self._not_null.type) and self._is_wide:
            return distances(self._numbers, center), 0.0
        return self.floats, float(center)

    @property
    def spreading(self) -> NDArray[np.floating]:
        """The present numbers [m]; integers that float64 can't hold are moved by the least."""
        if pa.types.is_integer(self._not_null.type) and self._is_wide:
            return distances(self._numbers, self.bounds[0])
        return floats(self.present)

    @property
    def _is_wide(self) -> bool:
        """Whether float64 can't hold some of the integers exactly."""
        least, most = self.bounds
        return least is not None and max(-least, most) > _EXACT

    @cached_property
    def is_missing(self) -> pa.Array:
        """[n]: whether the value is null or NaN."""
        return missing(self.array)

    @cached_property
    def _not_null(self) -> pa.Array:
        return present(self.array)

    @cached_property
    def _numbers(self) -> NDArray[Any]:
        """The values that are not null [m], with NaN."""
        return np.asarray(self._not_null.to_numpy(zero_copy_only=False))

    @cached_property
    def _least(self) -> Any:
        """The least value that is not null (there must be one); NaN if there is a NaN."""
        return self._numbers.min().item()


def distances(integers: NDArray[np.integer], center: int) -> NDArray[np.float64]:
    """``integers - center`` [n], rounded once: halves of 64 bits are exact in float64."""
    high = (integers >> 32).astype(np.int64) - (center >> 32)
    low = (integers & 0xFFFFFFFF).astype(np.int64) - (center & 0xFFFFFFFF)
    return np.asarray(high * 2.0**32 + low)


def floats(numbers: pa.Array) -> NDArray[np.floating]:
    """Numbers [n] without nulls; float32 stays, all other types become float64."""
    if numbers.type != pa.float32():
        numbers = numbers.cast(pa.float64(), safe=False)
    return np.asarray(numbers.to_numpy())


def type_of(array: pa.Array) -> str:
    """The type of the values, also if they are in a dictionary."""
    return str(plain_type(array.type))


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))
