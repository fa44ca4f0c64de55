"""What a model returns in a query, held against the outputs that it was said to have.

A pipeline tries its model first; a query has no row when its types are fixed. So the first batches
are looked at: columns of nulls, of which nothing says why, are no answer.
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

__all__ = ["Untried", "untried"]


class Untried:
    """A model that keeps what it returned until each output had a value that its column holds.

    Times with a zone are put in UTC for a column of times without one: Spark's have no other.
    """

    def __init__(self, model: Model, outputs: Sequence[OutputSpec]) -> None:
        self.model, self.outputs = model, outputs
        self.padded = getattr(model, "padded", True)
        self._unseen = {output.name for output in outputs}
        self._kept: list[NamedOutputs] = []

    def predict(self, encoded: Any) -> NamedOutputs:
        return self._keep(outputs_by_name(self.model.predict(encoded)))

    def check(self, done: pa.RecordBatch) -> None:
        """Hold the predictions of a batch, the last that was scored, against the columns.

        Raises:
            ModelError: not one value of an output, of all so far, fits its type.
        """
        if not self._unseen:
            return
        why = done.column(REASON)
        sound = why.is_null()
        held = {o.name for o in self.outputs if _any(done.column(o.name).is_valid(), sound)}
        self._unseen -= held
        problem = {reason for reason in pc.unique(why).to_pylist() if reason}
        for output in self.outputs:
            unfit = strange(output.name, "")
            if output.name in self._unseen and any(reason.startswith(unfit) for reason in problem):
                raise self._unfit(output)
        self._kept.clear()

    def explained(self, error: ModelError) -> ModelError:
        """The error, with what to write where there are other outputs than those that are said."""
        try:
            came = concatenated(self._kept)
            own = settle_outputs((), came, firm=False) if came else ()
        except ModelError:  # what it returns has no one form
            return error
        wanted = {o.source or o.name for o in self.outputs}
        if not came or wanted <= came.keys():
            return error
        if len(own) == len(self.outputs) and not wanted & came.keys():  # by their position
            own = tuple(replace(o, name=s.name) for o, s in zip(own, self.outputs, strict=True))
            if [o.length for o in own] == [o.length for o in self.outputs]:
                return error
        return ModelError(f"{error}. {_argument(own)}", **error.values)

    def _keep(self, raw: NamedOutputs) -> NamedOutputs:
        raw = _in_utc(raw, self.outputs)
        if self._unseen:
            self._kept.append(raw)
        return raw

    def _unfit(self, output: OutputSpec) -> ModelError:
        came = concatenated(self._kept) or {}
        found = settle_outputs(self.outputs, came, firm=False)
        [own] = [o for o in found if o.name == output.name]
        start = (
            f"the model returned what is {own.words} for the output {output.name!r}, which is said "
            f"to be {output.words}: not one of the first rows fits"
        )
        if own.words == output.words:
            return ModelError(
                f"{start}, as it has digits beyond microseconds, which Spark has not. Have the "
                "model cut them, or return text"
            )
        changed = [
            replace(o, type=own.type, length=own.length) if o.name == own.name else o
            for o in self.outputs
        ]
        return ModelError(f"{start}. {_argument(changed)}")


class _Begun(Untried):
    """One that works by itself once begun."""

    model: AsyncModel

    def begin(self, encoded: Any, size: int) -> Callable[[], NamedOutputs]:
        begun = self.model.begin(encoded, size)
        return lambda: self._keep(outputs_by_name(begun()))


def untried(model: Any, outputs: Sequence[OutputSpec]) -> Untried:
    """``model``, with its outputs looked at."""
    return (_Begun if hasattr(model, "begin") else Untried)(model, outputs)


def _any(valid: pa.Array, sound: pa.Array) -> bool:
    return bool(pc.any(pc.and_(valid, sound)).as_py())


def _argument(outputs: Sequence[OutputSpec]) -> str:
    types = ", ".join(f"{o.name!r}: {o.words!r}" for o in outputs)
    return (
        "If that is what it is to return, say so (where it has an encoding spec, there) with "
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
    for place, value in np.ndenumerate(values):
        zoned = isinstance(value, dt.datetime) and value.tzinfo is not None
        converted[place] = value.astimezone(dt.UTC).replace(tzinfo=None) if zoned else value
    return converted
