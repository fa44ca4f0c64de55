"""Finds rows that a model can't take: a null for a whole number, a list that is too short.

The model is given a zero for them, since it takes all rows of a batch at once; they get no score.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding

__all__ = ["refusal_reasons"]


def refusal_reasons(batch: pa.RecordBatch, encoding: Encoding) -> pa.Array | None:
    """Why the model can't take a row [rows], null if it can; None if it can take all rows."""
    reasons: Any = None
    for tensor, feature in encoding.features():
        if batch.schema.get_field_index(feature.column) < 0:  # an optional one
            continue
        column = batch.column(feature.column)
        for bad, reason in ENCODERS[tensor.encoder].refused(column, tensor, feature):
            own = pc.if_else(bad, reason, pa.scalar(None, pa.string()))
            reasons = own if reasons is None else pc.coalesce(reasons, own)
    return reasons
