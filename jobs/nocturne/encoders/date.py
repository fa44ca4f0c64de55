"""``date``: a part of a date or a time, as a number; then as ``numeric``.

Times with a zone are read in UTC only: what day it is elsewhere depends on that zone's history.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.columns.normal import plain
from nocturne.columns.types import Kind, zone_of
from nocturne.encoders.numeric import Numeric
from nocturne.encoders.spec import Feature, TensorSpec
from nocturne.errors import choices

__all__ = ["PARTS", "Date"]

PARTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "days": lambda dates: dates.cast(pa.date32(), safe=False).cast(pa.int32()),
    "year": pc.year,
    "month": pc.month,
    "day": pc.day,
    "day_of_year": pc.day_of_year,
    "day_of_week": pc.day_of_week,
    "hour": pc.hour,
}
"""Part -> whole numbers: ``days`` since 1970-01-01, ``day_of_week`` from 0 for Monday, ``month``,
``day`` and ``day_of_year`` from 1."""


class Date(Numeric):
    kind = None

    def accepts(self, tensor: TensorSpec, feature: Feature, type_: pa.DataType) -> bool:
        if pa.types.is_timestamp(type_):
            return not zone_of(type_)
        return bool(pa.types.is_date(type_)) and feature.part != "hour"

    def wants(self, tensor: TensorSpec, feature: Feature) -> str:
        return "a time (of no zone, or UTC)" if feature.part == "hour" else "a date or a time"

    def exact_type(self, tensor: TensorSpec, feature: Feature) -> pa.DataType:
        return pa.timestamp("us") if feature.part == "hour" else pa.date32()

    def profiled(self, feature: Feature) -> Kind | None:
        return None  # dates move on from night to night

    def problem(self, tensor: TensorSpec) -> str:
        wrong = [feature for feature in tensor.features if feature.part not in PARTS]
        if not wrong:
            return super().problem(tensor)
        return f"column {wrong[0].column!r}: part {wrong[0].part!r}, expected {choices(PARTS)}"

    def numbers(self, column: pa.Array, feature: Feature) -> pa.Array:
        dates = plain(column)
        if pa.types.is_timestamp(dates.type) and dates.type.tz is not None:
            dates = dates.cast(pa.timestamp(dates.type.unit))
        return PARTS[feature.part](dates)
