"""Finds the columns of a table for a model whose signature names no columns."""

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
    declared: DeclaredInputs,
    rows: pa.Table,
    features: Sequence[str],
    excluded: Collection[str],
    model: str,
) -> Inputs | None:
    """``model.inputs`` for a table; None if the signature names the columns itself.

    Without ``features``, it is the columns with the names of the tensors, or the fitting columns of
    the table in their order, if their number is the number that the model takes.

    Args:
        rows: a sample of the table.
        features: the columns that the user lists, in order.
        excluded: keys and partition keys.
        model: the name of the model in messages.

    Raises:
        ConfigError: a feature is not a column, or the model takes another number of columns.
        ModelError: it is unknown which columns the model takes.
    """
    if declared.columns:
        return None
    _check_names(features, rows.schema.names)
    if not declared.slots and features:
        return _typed(rows, features)
    schema, slots = rows.schema, declared.slots
    if slots and not features and all(_fits(s, [s.name], schema, model) for s in slots):
        return {slot.name: [slot.name] for slot in slots}
    columns = list(features) or [
        name
        for name in schema.names
        if name not in excluded and any(_fits_alone(slot, name, schema, model) for slot in slots)
    ]
    assigned = _assigned(declared, columns, schema, bool(features), model)
    if assigned is None:
        counted = f"got {len(columns)}" if features else f"the table has {len(columns)} that fit"
        listed = f": {counted} ({choices(columns, 20)})" if columns else ""
        raise ModelError(
            f"{model} {declared.shortcoming()}, and nothing says which columns it takes{listed}. "
            "Name them with --feature COLUMN, once for each, in the order of the training data"
        )
    if declared.tensors and len(slots) > 1:
        return {slot.name: names for slot, names in zip(slots, assigned, strict=True)}
    return [name for names in assigned for name in names]


def _check_names(features: Sequence[str], available: Sequence[str]) -> None:
    for name in features:
        if name not in available:
            raise ConfigError(
                f"feature: got {name!r}{did_you_mean(name, available)}, which is no column of the "
                f"table. It has {choices(available, 40)}",
                feature=name,
            )


def _assigned(
    declared: DeclaredInputs, columns: Sequence[str], schema: pa.Schema, by_user: bool, model: str
) -> list[list[str]] | None:
    """The columns of each slot, in order; None if their number is wrong or they don't fit.

    Args:
        by_user: the user listed them, so a slot of variable width takes any number.
    """
    remaining, assigned = list(columns), []
    for slot in declared.slots:
        width, variable = slot.width(model)
        is_list = width > 1 and bool(remaining) and _fits(slot, remaining[:1], schema, model)
        count = 1 if is_list else len(remaining) if variable and by_user else width
        assigned.append(remaining[:count])
        remaining = remaining[count:]
        if not _fits(slot, assigned[-1], schema, model) or (variable and not by_user):
            return None
    return None if remaining or not assigned else assigned


def _fits_alone(slot: Slot, column: str, schema: pa.Schema, model: str) -> bool:
    """Whether a column fits a slot as one of its values, or as a list of all its values."""
    value = replace(slot, shape=(-1, 1)) if slot.shape else slot
    return any(_fits(candidate, [column], schema, model) for candidate in (value, slot))


def _fits(slot: Slot, columns: Sequence[str], schema: pa.Schema, model: str) -> bool:
    try:
        specs = tensors(DeclaredInputs(slots=(slot,)), columns, model) if columns else ()
    except ConfigError:
        return False
    return bool(specs) and not check_columns(Encoding(specs, ()), schema)


def _typed(rows: pa.Table, features: Sequence[str]) -> Inputs:
    """Inputs for a model without a signature: a matrix of numbers, or a frame if there is text."""
    types = {name: _type(rows[name]) for name in features}
    return types if "string" in types.values() else list(features)


def _type(column: pa.ChunkedArray) -> str:
    """The type of the values in pandas, as a signature would name it."""
    if is_text(column.type):
        return "string"
    if pa.types.is_boolean(column.type) and not column.null_count:
        return "boolean"
    return "long" if pa.types.is_integer(column.type) and not column.null_count else "double"
