"""Checks the arguments of an expectation against Great Expectations' own schema of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from nocturne.columns.values import OPERATORS
from nocturne.errors import choices, did_you_mean
from nocturne.quality.catalog import argument_schema

__all__ = ["problems"]

_LOOSE = {"value_set": {"type": "array"}}
"""Arguments whose published schema is narrower than what the check takes (no booleans)."""

_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
}


def problems(type_: str, kwargs: Mapping[str, Any]) -> Iterator[str]:
    """The problems of ``kwargs``; each message starts with the name of the argument."""
    yield from _parameters(kwargs)
    schema = argument_schema(type_)
    if schema is None:
        if not isinstance(kwargs.get("column"), str):
            yield "column: missing; it names the column to check"
        return
    properties = schema["properties"]
    for name in sorted(set(kwargs) - set(properties)):
        near = did_you_mean(name, properties)
        yield f"{name}: unknown argument{near}; expected some of {choices(properties, 20)}"
    for name in schema.get("required", ()):
        if name not in kwargs:
            yield f"{name}: missing; {type_} needs it"
    if (
        "min_value" in properties
        and type_.endswith("_between")
        and all(kwargs.get(name) is None for name in ("min_value", "max_value"))
    ):
        yield "min_value and max_value: both missing; give at least one"
    for name in properties:
        if kwargs.get(name) is not None:
            yield from _value(name, kwargs[name], schema)
    yield from _condition(kwargs.get("row_condition"))


def _value(name: str, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    from jsonschema import Draft7Validator  # type: ignore[import-untyped]

    expected = _LOOSE.get(
        name, {k: v for k, v in schema["properties"][name].items() if k != "multipleOf"}
    )
    validator = Draft7Validator({**expected, "definitions": schema.get("definitions", {})})
    wants_date = isinstance(value, str) and "'date'" in str(expected.get("anyOf"))
    valid = name == "row_condition" or validator.is_valid(value)  # conditions: see _condition
    if not valid or (wants_date and not _is_date(str(value))):
        yield f"{name}: got {value!r}, expected {_describe(expected)}"
    for pattern in [value] if name == "regex" else value if name == "regex_list" else ():
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"{name}: got {pattern!r}, which is no regular expression: {error}"


def _describe(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        # A mapping stands for a suite parameter there, which we refuse anyway.
        options = [_describe(s) for s in schema["anyOf"] if s.get("type") != "object"]
        return " or ".join(dict.fromkeys(options)) or "a mapping"
    if "$ref" in schema:
        return f"a {str(schema['$ref']).rsplit('/', 1)[-1]} as Great Expectations documents it"
    if "enum" in schema:
        return f"one of {choices(schema['enum'])}"
    if str(schema.get("format", "")).startswith("date"):
        return "a date such as 2013-04-01T00:00:00+00:00"
    text = _NAMES.get(str(schema.get("type")), "another kind of value")
    if "minimum" in schema and "maximum" in schema:
        text += f" from {schema['minimum']:g} to {schema['maximum']:g}"
    if schema.get("type") == "array" and "type" in schema.get("items", {}):
        text += f" whose items are each {_describe(schema['items'])}"
    return text


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _parameters(value: Any, path: str = "") -> Iterator[str]:
    """Finds suite parameters at any depth; a night has no values for them."""
    if isinstance(value, Mapping):
        if "$PARAMETER" in value:
            yield f"{path}: a suite parameter ($PARAMETER) gets no value here; write the value"
            return
        for key, below in value.items():
            yield from _parameters(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _parameters(below, path)


def _condition(condition: Any) -> Iterator[str]:
    """Accepts only conditions that name their column: a free expression would run as code."""
    if condition is None:
        return
    kinds = ("comparison", "nullity", "and", "or")
    if not isinstance(condition, Mapping) or condition.get("type") not in kinds:
        yield (
            f"row_condition: got {condition!r}, expected a mapping whose type is one of "
            f"{choices(kinds)}, e.g. {{type: nullity, column: {{name: x}}, is_null: false}}"
        )
        return
    if condition["type"] in ("and", "or"):
        parts = condition.get("conditions")
        if not isinstance(parts, list) or not parts:
            yield f"row_condition: got conditions {parts!r}, expected a list of conditions"
            return
        for part in parts:
            yield from _condition(part)
        return
    column = condition.get("column")
    if not isinstance(column, Mapping) or not isinstance(column.get("name"), str):
        yield f"row_condition: got column {column!r}, expected a mapping such as {{name: x}}"
    elif condition["type"] == "comparison":
        yield from _comparison(condition)
    elif not isinstance(condition.get("is_null"), bool):
        yield f"row_condition: got is_null {condition.get('is_null')!r}, expected true or false"


def _comparison(condition: Mapping[str, Any]) -> Iterator[str]:
    operator, parameter = condition.get("operator"), condition.get("parameter")
    if operator not in OPERATORS:
        yield f"row_condition: got operator {operator!r}, expected one of {choices(OPERATORS)}"
    elif operator in ("IN", "NOT_IN"):
        numbers = isinstance(parameter, list) and all(type(v) in (int, float) for v in parameter)
        if not numbers and not (
            isinstance(parameter, list) and all(type(v) is str for v in parameter)
        ):
            yield (
                f"row_condition: got parameter {parameter!r} for {operator}, expected a list of "
                "numbers or a list of texts"
            )
    elif not isinstance(parameter, (bool, int, float, str)):
        yield (
            f"row_condition: got parameter {parameter!r} for {operator}, expected a number, a "
            "text, true or false (for missing values use {type: nullity, column: {name: x}, "
            "is_null: true})"
        )
