"""Which of a table's columns a model takes whose signature names none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from nocturne.columns.types import is_text
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, ModelError, choices, did_you_mean
from nocturne.fitting import check_columns
from nocturne.model.declared_inputs import DeclaredInputs, Inputs, Slot, tensors

__all__ = ["find_inputs"]


def find_inputs(
    takes: DeclaredInputs,
    rows: pa.Table,
    features: Sequence[str],
    left_out: Collection[str],
    what: str,
) -> Inputs | None:
    """``model.inputs`` for a table; None where the signature names the columns itself.

    Without ``features`` they are the columns that are called as the tensors are, or the table's in
    their order, if exactly as many fit as the model takes.

    Args:
        rows: a sample of the table.
        features: columns as the user gives them, in order.
        left_out: keys and partition keys.
        what: the model, as messages name it.

    Raises:
        ConfigError: a feature is no column, or they are not as many as the model takes.
        ModelError: it can't be told which columns are meant.
    """
    if takes.columns:
        return None
    _check_names(features, rows.schema.names)
    if not takes.slots and features:
        return _typed(rows, features)
    schema, slots = rows.schema, takes.slots
    if slots and not features and all(_fits(s, [s.name], schema, what) for s in slots):
        return {slot.name: [slot.name] for slot in slots}
    columns = list(features) or [
        name
        for name in schema.names
        if name not in left_out and any(_alone(slot, name, schema, what) for slot in slots)
    ]
    dealt = _dealt(takes, columns, schema, bool(features), what)
    if dealt is None:
        there = f"got {len(columns)}" if features else f"the table has {len(columns)} that fit"
        shown = f": {there} ({choices(columns, 20)})" if columns else ""
        raise ModelError(
            f"{what} {takes.shortcoming()}, and nothing says which columns it takes{shown}. Name "
            "them with --feature COLUMN, once for each, in the order of the training data"
        )
    if takes.tensors and len(slots) > 1:
        return {slot.name: names for slot, names in zip(slots, dealt, strict=True)}
    return [name for names in dealt for name in names]


def _check_names(features: Sequence[str], there: Sequence[str]) -> None:
    for name in features:
        if name not in there:
            raise ConfigError(
                f"feature: got {name!r}{did_you_mean(name, there)}, which is no column of the "
                f"table. It has {choices(there, 40)}",
                feature=name,
            )


def _dealt(
    takes: DeclaredInputs, columns: Sequence[str], schema: pa.Schema, asked: bool, what: str
) -> list[list[str]] | None:
    """The columns of each slot, in order; None if they are not as many, or don't fit.

    Args:
        asked: the user has named them, so that any number may do.
    """
    left, dealt = list(columns), []
    for slot in takes.slots:
        width, several = slot.width(what)
        lists = width > 1 and bool(left) and _fits(slot, left[:1], schema, what)
        count = 1 if lists else len(left) if several and asked else width
        dealt.append(left[:count])
        left = left[count:]
        if not _fits(slot, dealt[-1], schema, what) or (several and not asked):
            return None
    return None if left or not dealt else dealt


def _alone(slot: Slot, column: str, schema: pa.Schema, what: str) -> bool:
    """Whether a column fits a slot as one of its values, or as a list of them all."""
    value = replace(slot, shape=(-1, 1)) if slot.shape else slot
    return any(_fits(one, [column], schema, what) for one in (value, slot))


def _fits(slot: Slot, columns: Sequence[str], schema: pa.Schema, what: str) -> bool:
    try:
        made = tensors(DeclaredInputs(slots=(slot,)), columns, what) if columns else ()
    except ConfigError:
        return False
    return bool(made) and not check_columns(Encoding(made, ()), schema)


def _typed(rows: pa.Table, features: Sequence[str]) -> Inputs:
    """For a model without a signature: a matrix of numbers, or a frame where there are words."""
    types = {name: _type(rows[name]) for name in features}
    return types if "string" in types.values() else list(features)


def _type(column: pa.ChunkedArray) -> str:
    """As pandas has the values, so that a signature would say it."""
    if is_text(column.type):
        return "string"
    if pa.types.is_boolean(column.type) and not column.null_count:
        return "boolean"
    return "long" if pa.types.is_integer(column.type) and not column.null_count else "double"
