"""Turns the results of Great Expectations into records with a short text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from string import Template
from typing import TYPE_CHECKING, Any

from nocturne.records.quality import Expectation

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

__all__ = ["exception_messages", "expectation_record"]

_SHORT = 40
_LONG = 300
_LONGEST = 1000
_MOST = 10_000


def expectation_record(
    suite: str, expectation: Mapping[str, Any], result: ExpectationValidationResult
) -> Expectation:
    """The record of an expectation: its result, what was observed and what was expected."""
    message = next(exception_messages(result.exception_info or {}), None)
    detail = _sentence(result) or _arguments(expectation["kwargs"])
    if message is not None:
        detail = f"could not be evaluated: {_cut(message, 200)} (expected: {detail})"
    if expectation.get("severity", "critical") != "critical":
        detail += f" Severity: {expectation['severity']}."
    return Expectation(
        suite=suite,
        type=expectation["type"],
        column=_column(expectation["kwargs"]),
        success=bool(result.success),
        observed="not evaluated" if message is not None else _observed(result.result or {}),
        detail=_cut(detail, _LONG),
        value=None if message is not None else _value(result.result or {}),
        notes=_notes(expectation),
    )


def _value(result: Mapping[str, Any]) -> float | None:
    """The observed number, else the share of unexpected values among those that are not null."""
    observed = result.get("observed_value")
    if isinstance(observed, Real) and not isinstance(observed, bool):  # numpy's are such too
        with suppress(OverflowError):
            return float(observed) if math.isfinite(observed) else None
        return None
    unexpected, rows = result.get("unexpected_count"), result.get("element_count")
    if unexpected is None or rows is None:
        return None
    return float(unexpected / max(rows - (result.get("missing_count") or 0), 1))


def _notes(expectation: Mapping[str, Any]) -> str:
    """What the suite's author wrote: ``notes``, or ``meta.notes`` as Great Expectations has it."""
    notes = expectation.get("notes") or (expectation.get("meta") or {}).get("notes") or ""
    if isinstance(notes, Mapping):
        notes = notes.get("content") or ""
    lines = notes if _is_list(notes) else [notes]
    return _cut(" ".join(map(str, lines)), _LONGEST)


def _column(kwargs: Mapping[str, Any]) -> str | None:
    names = [kwargs[n] for n in ("column", "column_A", "column_B") if n in kwargs]
    names += kwargs.get("column_list") or []
    return ", ".join(map(str, names)) or None


def exception_messages(info: Mapping[str, Any]) -> Iterator[str]:
    """The messages of exceptions: one in ``info`` itself, or one for each metric that failed."""
    if info.get("raised_exception"):
        yield str(info.get("exception_message") or "no reason given")
    for below in info.values():
        if isinstance(below, Mapping):
            yield from exception_messages(below)


_SENTENCES: dict[str, str | None] = {}
"""Expectation as JSON -> its sentence: Great Expectations takes 10 ms for each, every night."""


def _sentence(result: ExpectationValidationResult) -> str | None:
    """The sentence of Great Expectations for the expectation; tables and graphs have none."""
    configuration = result.expectation_config
    if configuration is None:
        return None
    kwargs = {name: v for name, v in configuration.kwargs.items() if name != "batch_id"}
    key = json.dumps(
        [configuration.type, configuration.description, kwargs], sort_keys=True, default=str
    )
    if key not in _SENTENCES:
        if len(_SENTENCES) > _MOST:
            _SENTENCES.clear()
        _SENTENCES[key] = _rendered(configuration)
    return _SENTENCES[key]


def _rendered(configuration: ExpectationConfiguration) -> str | None:
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    try:
        contents = InlineRenderer(render_object=configuration).get_rendered_content()
    except Exception:  # a renderer's bug is not worth a night
        return None
    for content in contents:
        if content.name == "atomic.prescriptive.summary" and content.value.template:
            params = content.value.params or {}
            texts = {n: _text(p["value"]) for n, p in params.items() if "value" in p}
            return Template(content.value.template).safe_substitute(texts)
    return None


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in kwargs.items())


def _observed(result: Mapping[str, Any]) -> str:
    """For example "3 of 842 values (0.36%) unexpected, such as 17, 22; 58 null"."""
    unexpected, rows = result.get("unexpected_count"), result.get("element_count")
    if unexpected is not None:
        nulls = result.get("missing_count") or 0
        text = f"{unexpected:,}"
        if rows is not None:
            text += f" of {rows - nulls:,}"
            if unexpected and rows > nulls:
                text += f" ({unexpected / (rows - nulls):.2%})"
        text += " values unexpected"
        examples = list(result.get("partial_unexpected_list") or [])
        if examples and not all(_null(e) for e in examples):
            text += f", such as {', '.join(dict.fromkeys(map(_text, examples)))}"
        return f"{text}; {nulls:,} null" if nulls else text
    mismatched = (result.get("details") or {}).get("mismatched") or {}
    if isinstance(mismatched, Mapping) and mismatched:
        return "; ".join(f"{name}: {_text(v)}" for name, v in mismatched.items() if v)
    if mismatched:  # a list of columns that are not at their expected position
        return _cut("; ".join(map(_text, mismatched)), _LONG)
    if "observed_value" not in result:
        return ""
    observed = result["observed_value"]
    if isinstance(observed, Mapping) and "values" in observed:
        observed = observed["values"]
    return "nothing to measure" if _null(observed) else _cut(_text(observed), _LONG // 2)


def _null(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT, all without importing pandas."""
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _text(value: Any) -> str:
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    if _is_list(value):
        shown = ", ".join(_text(v) for v in value[:5])
        return f"{shown}, and {len(value) - 5} more" if len(value) > 5 else shown
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_text(below)}" for name, below in value.items()) + "}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return _cut(str(value), _SHORT)


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
