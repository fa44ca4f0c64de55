"""Decides from a column's type which roles the column can have.

A column is a *feature* (of an encoder, or of the type in a pyfunc model's signature), a key,
passthrough, a segment, or the input of an expectation. ``feature_cast``, ``publishing`` and
``values.kind`` decide for a type, ``nocturne.fitting`` for a schema;
``nocturne.fitting.role_table`` prints the results.

A loss is refused with advice: mostly a line of ``input.cast``, which changes what the model sees of
a column. Keys, passthrough and expectations keep the original column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import (
    ParquetOnly,
    is_list,
    is_nested,
    normal_type,
    plain_type,
)
from nocturne.columns.types import is_number, is_text, zone_of
from nocturne.encoders import ENCODERS
from nocturne.encoders.spec import Feature, TensorSpec

__all__ = [
    "AS_TEXT",
    "TARGETS",
    "Cast",
    "Part",
    "feature_cast",
    "publishing",
    "remedy",
]

Part = tuple[TensorSpec, Feature]
"""A feature and the tensor that it belongs to."""

AS_TEXT = "cast_text"
"""The cast of ``input.cast_text``: it reads a column of text as the number that the model takes."""


@dataclass(frozen=True)
class Cast:
    """What the model sees of a column: ``type``, and for times with a zone the clock of ``zone``.

    ``by`` is the type that each value is cast to first, if the YAML names another type than the
    model takes.
    """

    type: pa.DataType
    zone: str = ""
    by: pa.DataType | None = None

    def __str__(self) -> str:
        return str(self.type) if self.by is None else f"{self.by}, then {self.type}"


def _exact(part: Part) -> Any:
    """The type that holds a feature's values without a loss."""
    tensor, feature = part
    return ENCODERS[tensor.encoder].exact_type(tensor, feature)


def _whole(parts: Sequence[Part]) -> Any:
    """The integer type that the features take; int64 if they take none, or several."""
    exact = [_exact(part) for part in parts]
    types = {t.value_type if is_list(t) else t for t in exact}
    types = {t for t in types if pa.types.is_integer(t)}
    return types.pop() if len(types) == 1 else pa.int64()


def _vocabulary(parts: Sequence[Part]) -> Any:
    """The type of the values in the features' vocabulary; None if they have no vocabulary."""
    types = [_exact((tensor, feature)) for tensor, feature in parts if feature.vocabulary]
    return types[0] if types else None


def _any_of(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda type_: any(test(type_) for test in tests)


_NUMERIC = _any_of(is_number, pa.types.is_decimal, is_text)


@dataclass(frozen=True)
class Target:
    """A value of ``input.cast``: the types that it takes, and the type that it casts them to."""

    takes: Callable[[Any], bool]
    makes: Callable[[Sequence[Part]], Any]
    description: str


TARGETS: dict[str, Target] = {
    "double": Target(_NUMERIC, lambda _: pa.float64(), "float64, of any number, decimal or text"),
    "integer": Target(
        _NUMERIC,
        _whole,
        "a whole number, of floats (NaN is null), decimals, uint64 or text; in lists too",
    ),
    "boolean": Target(
        _any_of(pa.types.is_boolean, pa.types.is_integer, is_text),
        lambda _: pa.bool_(),
        "0 and 1, or the words true and false",
    ),
    "category": Target(
        _any_of(is_number, is_text),
        _vocabulary,
        "a word or integer as in the model's vocabulary: 3.0 is 3",
    ),
    "text": Target(
        _any_of(
            pa.types.is_integer,
            pa.types.is_boolean,
            is_text,
            pa.types.is_decimal,
            pa.types.is_date,
            pa.types.is_binary,
            pa.types.is_large_binary,
        ),
        lambda _: pa.string(),
        "the value as text",
    ),
}
"""The values of ``input.cast``, besides the clocks ``local``, ``utc`` and time zones."""


def _configured_cast(type_: Any, parts: Sequence[Part], how: str) -> Cast | None:
    """The cast for the value ``how`` of ``input.cast``; None if the column can't be cast so."""
    if is_list(type_) and how == "integer" and is_number(type_.value_type):
        make = pa.large_list if pa.types.is_large_list(type_) else pa.list_
        return Cast(make(_whole(parts)))
    if how in TARGETS:
        target = TARGETS[how]
        type_made = target.makes(parts) if target.takes(type_) else None
        return None if type_made is None else Cast(type_made)
    if not pa.types.is_timestamp(type_) or (type_.tz is None and how not in ("local", "utc")):
        return None
    clock = {"local": zone_of(type_) or "UTC", "utc": "UTC"}.get(how, how)
    return Cast(pa.timestamp(type_.unit), clock if type_.tz else "")


def feature_cast(parts: Sequence[Part], type_: Any, how: str = "") -> Cast | str | None:
    """What the model sees of a column that ``parts`` read.

    Args:
        type_: the type in the footer.
        how: the value of ``input.cast`` for the column; "" if there is none.

    Returns:
        None if the model takes the column without a cast; a cast; or a text that says why the
        column is refused.
    """
    fit = _fit(parts, type_, how)
    if isinstance(fit, str) and how in ("", AS_TEXT):
        return fit + _advice(parts, type_)
    return fit


def _fit(parts: Sequence[Part], type_: Any, how: str) -> Cast | str | None:
    """``feature_cast`` without advice."""
    actual = plain_type(normal_type(type_))
    if pa.types.is_null(actual):
        return Cast(_exact(parts[0]))
    seen_type = actual
    configured: Cast | None = None
    if how == AS_TEXT:
        numbers = {_number(*part) for part in parts}
        number = numbers.pop() if len(numbers) == 1 else None
        configured = Cast(number) if number is not None and is_text(actual) else None
    elif how:
        configured = _configured_cast(actual, parts, how)
        if configured is None:
            return f"is {plain_type(type_)}, which can't be cast to {how} (input.cast)"
    if configured is not None:
        seen_type = configured.type
    for tensor, feature in parts:
        encoder = ENCODERS[tensor.encoder]
        if not encoder.accepts(tensor, feature, seen_type):
            after_cast = f", cast to {seen_type} (input.cast)" if configured is not None else ""
            expected = encoder.wants(tensor, feature)
            return f"is {plain_type(type_)}{after_cast}, the model wants {expected}"
    input_types = (
        ENCODERS[tensor.encoder].input_type(tensor, feature) for tensor, feature in parts
    )
    final = next((type_ for type_ in input_types if type_ is not None), seen_type)
    if pa.types.is_uint64(final) and all(ENCODERS[tensor.encoder].signed for tensor, _ in parts):
        final = pa.int64()
    if configured is None:
        return None if final == actual else Cast(final)
    by = (
        None
        if configured.type == final or pa.types.is_timestamp(configured.type)
        else configured.type
    )
    cast = Cast(final, configured.zone, by)
    return None if cast == Cast(actual) else cast


def _advice(parts: Sequence[Part], type_: Any) -> str:
    """What to write into the YAML so that the model takes the column."""
    column, actual = parts[0][1].column, plain_type(normal_type(type_))
    zone = zone_of(actual)
    if zone and not isinstance(_fit(parts, type_, "local"), str):
        return (
            f" in no time zone (input.cast: {{{column}: local}} takes the clock of {zone}, "
            f"{{{column}: utc}} that of UTC)"
        )
    numbers = [_number(*part) for part in parts]
    if is_text(actual) and None not in numbers:
        return " (input.cast_text: true reads text as numbers)"
    how = remedy(parts, type_)
    return f" (input.cast: {{{column}: {how}}} makes it one)" if how else ""


def remedy(parts: Sequence[Part], type_: Any) -> str:
    """The value of ``input.cast`` with which the model takes a column; "" if there is none.

    There is none for times with a zone, since a person has to choose the clock.
    """
    targets = (how for how in TARGETS if not isinstance(_fit(parts, type_, how), str))
    return next(targets, "")


def _number(tensor: TensorSpec, feature: Feature) -> Any:
    """The type as which text is read for a feature; None if the feature is not a number."""
    exact = _exact((tensor, feature))
    return exact if pa.types.is_integer(exact) or pa.types.is_floating(exact) else None


def publishing(type_: Any, *, unique: bool = False) -> str:
    """Why a column can't be a key or passthrough, as text; "" if it can.

    Args:
        unique: whether it is a key that is checked for duplicates.
    """
    if isinstance(type_, ParquetOnly):
        return (
            f"is {type_.logical}, which would be written without that type; leave it out and "
            "join it by the keys"
        )
    if unique and is_nested(plain_type(normal_type(type_))):
        return (
            "is nested, and quality.unique_keys compares plain values only; take another key, "
            "or drop quality.unique_keys"
        )
    return ""
