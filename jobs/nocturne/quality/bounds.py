"""Converts dates in a suite to moments if their column holds timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

__all__ = ["with_moments"]


def with_moments(expectation: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The expectation with ``min_value`` and ``max_value`` made comparable with its column.

    pandas can't compare a timestamp with a date, nor a timestamp with a zone with a moment
    without one. So a date becomes its midnight, and a moment without a zone gets the column's
    zone.
    """
    kwargs = dict(expectation["kwargs"])
    position = schema.get_field_index(str(kwargs.get("column")))
    type_ = schema.field(position).type if position >= 0 else None
    if type_ is not None and pa.types.is_timestamp(type_):
        for name in ("min_value", "max_value"):
            if isinstance(kwargs.get(name), str):
                kwargs[name] = _moment(kwargs[name], type_.tz)
    return {**expectation, "kwargs": kwargs}


def _moment(text: str, zone: str | None) -> str:
    import pandas as pd

    moment = datetime.fromisoformat(text)
    if zone is not None and moment.tzinfo is None:
        return str(pd.Timestamp(moment, tz=zone).isoformat())
    return moment.isoformat()
