"""Rows that a model has no value for: a null where it takes whole numbers, a list too short.

They reach the model with a zero, since it takes all rows of a batch at once, and are not scored.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoders import ENCODERS
from nocturne.encoding import Encoding

__all__ = ["refused"]


def refused(batch: pa.RecordBatch, encoding: Encoding) -> pa.Array | None:
    """Why the model can't take a row [rows], null where it can; None if it can take them all."""
    why: Any = None
    for tensor, feature in encoding.features():
        if batch.schema.get_field_index(feature.column) < 0:  # an optional one
            continue
        column = batch.column(feature.column)
        for bad, reason in ENCODERS[tensor.encoder].refused(column, tensor, feature):
            said = pc.if_else(bad, reason, pa.scalar(None, pa.string()))
            why = said if why is None else pc.coalesce(why, said)
    return why
