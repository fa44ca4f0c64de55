"""A batch's columns as the expectations see them: what several of them ask is worked out once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.profile.conditions import matches
from nocturne.values import missing

__all__ = ["Column", "Rows"]


class Rows:
    """A batch, and the parts of it that conditions leave."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._columns: dict[str, Column] = {}
        self._parts: dict[str, Rows] = {}

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def column(self, name: str) -> Column:
        if name not in self._columns:
            self._columns[name] = Column(self.batch.column(name))
        return self._columns[name]

    def where(self, condition: Mapping[str, Any] | None) -> Rows:
        """The rows for which ``condition`` holds; all of them without one."""
        if condition is None:
            return self
        key = json.dumps(condition, sort_keys=True, default=str)
        if key not in self._parts:
            self._parts[key] = Rows(self.batch.filter(matches(self.batch, condition)))
        return self._parts[key]


class Column:
    """One column [n]. As in Great Expectations' pandas engine, NaN is missing like null."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    @cached_property
    def missing(self) -> int:
        """How many values are null or NaN."""
        return len(self.array) - len(self.present)

    @cached_property
    def present(self) -> pa.Array:
        """The values that are not missing, in order."""
        array = self.array.drop_null() if self.array.null_count else self.array
        if pa.types.is_floating(array.type) and self._may_hold_nan(array):
            array = array.filter(pc.invert(pc.is_nan(array)))
        return array

    @staticmethod
    def _may_hold_nan(array: pa.Array) -> bool:
        """A sum is NaN if a value is; where infinities make it so, the filter finds nothing."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = array.to_numpy(zero_copy_only=False).sum()
        return bool(total != total)

    @cached_property
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest present value, as Arrow scalars; null if there is none."""
        found = pc.min_max(self.present)
        return found["min"], found["max"]

    @cached_property
    def is_missing(self) -> pa.Array:
        """[n]: whether the value is null or NaN."""
        return missing(self.array)
