"""Compares what a model returns in a query with its declared outputs.

A pipeline tries its model first, but the types of a query are fixed before it has a row. So the
first batches are checked: the query must not return columns of nulls without a reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.encoding import OutputSpec
from nocturne.engine import (
    REASON,
    AsyncModel,
    Model,
    NamedOutputs,
    concatenated,
    outputs_by_name,
    settle_outputs,
)
from nocturne.engine.outputs import by_name
from nocturne.errors import ModelError
from nocturne.records.result import strange

__all__ = ["CheckedModel", "with_checked_outputs"]


class CheckedModel:
    """A model that keeps its results until each output had a value that fits its column.

    Times with a zone are converted to UTC for columns without a zone, as Spark needs it.
    """

    def __init__(self, model: Model, outputs: Sequence[OutputSpec]) -> None:
        self.model, self.outputs = model, outputs
        self.padded = getattr(model, "padded", True)
        self._unseen = {output.name for output in outputs}
        self._kept: list[NamedOutputs] = []

    def predict(self, encoded: Any) -> NamedOutputs:
        return self._keep(outputs_by_name(self.model.predict(encoded)))

    def check(self, predictions: pa.RecordBatch) -> None:
        """Compare the predictions of the last scored batch with the declared types.

        Raises:
            ModelError: no value of an output so far fits its type.
        """
        if not self._unseen:
            return
        reasons = predictions.column(REASON)
        valid = reasons.is_null()
        filled = {
            o.name for o in self.outputs if _any_true(predictions.column(o.name).is_valid(), valid)
        }
        self._unseen -= filled
        distinct_reasons = {reason for reason in pc.unique(reasons).to_pylist() if reason}
        for output in self.outputs:
            prefix = strange(output.name, "")
            if output.name in self._unseen and any(
                reason.startswith(prefix) for reason in distinct_reasons
            ):
                raise self._unfit(output)
        self._kept.clear()

    def explained(self, error: ModelError) -> ModelError:
        """The error, with advice if the model returns other outputs than it declares."""
        try:
            returned = concatenated(self._kept)
            settled = settle_outputs((), returned, firm=False) if returned else ()
        except ModelError:  # the results have different forms
            return error
        declared = {o.source or o.name for o in self.outputs}
        if not returned or declared <= returned.keys():
            return error
        by_position = len(settled) == len(self.outputs) and not declared & returned.keys()
        if by_position:
            settled = tuple(
                replace(o, name=s.name) for o, s in zip(settled, self.outputs, strict=True)
            )
            if [o.length for o in settled] == [o.length for o in self.outputs]:
                return error
        return ModelError(f"{error}. {_advice(settled)}", **error.values)

    def _keep(self, raw: NamedOutputs) -> NamedOutputs:
        raw = _in_utc(raw, self.outputs)
        if self._unseen:
            self._kept.append(raw)
        return raw

    def _unfit(self, output: OutputSpec) -> ModelError:
        returned = concatenated(self._kept) or {}
        settled = settle_outputs(self.outputs, returned, firm=False)
        [actual] = [o for o in settled if o.name == output.name]
        start = (
            f"the model returned what is {actual.words} for the output {output.name!r}, which is "
            f"said to be {output.words}: not one of the first rows fits"
        )
        if actual.words == output.words:
            return ModelError(
                f"{start}, since it has digits beyond microseconds, which Spark does not support. "
                "Have the model cut them off, or return text"
            )
        changed = [
            replace(o, type=actual.type, length=actual.length) if o.name == actual.name else o
            for o in self.outputs
        ]
        return ModelError(f"{start}. {_advice(changed)}")


class _CheckedAsyncModel(CheckedModel):
    """The same for a model that computes in the background."""

    model: AsyncModel

    def begin(self, encoded: Any, size: int) -> Callable[[], NamedOutputs]:
        result = self.model.begin(encoded, size)
        return lambda: self._keep(outputs_by_name(result()))


def with_checked_outputs(model: Any, outputs: Sequence[OutputSpec]) -> CheckedModel:
    """The model with a check of its outputs."""
    return (_CheckedAsyncModel if hasattr(model, "begin") else CheckedModel)(model, outputs)


def _any_true(valid: pa.Array, sound: pa.Array) -> bool:
    return bool(pc.any(pc.and_(valid, sound)).as_py())


def _advice(outputs: Sequence[OutputSpec]) -> str:
    types = ", ".join(f"{o.name!r}: {o.words!r}" for o in outputs)
    return (
        "If it should return this, declare it in the encoding spec, or without one with "
        f"score_udf's argument outputs={{{types}}}"
    )


def _in_utc(raw: NamedOutputs, outputs: Sequence[OutputSpec]) -> NamedOutputs:
    if not any(output.type == "timestamp[us]" for output in outputs):
        return raw
    names = [o.source or o.name for o in outputs] if by_name(raw, outputs) else list(raw)
    times = {n for n, o in zip(names, outputs, strict=False) if o.type == "timestamp[us]"}
    return {name: _utc(v) if name in times else v for name, v in raw.items()}


def _utc(values: Any) -> Any:
    if values.dtype != object:
        return values
    converted = np.empty_like(values)
    for position, value in np.ndenumerate(values):
        has_zone = isinstance(value, dt.datetime) and value.tzinfo is not None
        converted[position] = value.astimezone(dt.UTC).replace(tzinfo=None) if has_zone else value
    return converted
