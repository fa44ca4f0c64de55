"""What Great Expectations answered, in a few plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

from nocturne.records.quality import Expectation

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

__all__ = ["raised", "record"]

_SHORT = 40
_LONG = 300
_MOST = 10_000


def record(
    suite: str, expectation: Mapping[str, Any], answer: ExpectationValidationResult
) -> Expectation:
    """The expectation with what was observed and what was asked."""
    message = next(raised(answer.exception_info or {}), None)
    detail = _sentence(answer) or _arguments(expectation["kwargs"])
    if message is not None:
        detail = f"could not be evaluated: {_cut(message, 200)} (asked: {detail})"
    if expectation.get("severity", "critical") != "critical":
        detail += f" Severity: {expectation['severity']}."
    return Expectation(
        suite=suite,
        type=expectation["type"],
        column=_column(expectation["kwargs"]),
        success=bool(answer.success),
        observed="not evaluated" if message is not None else _observed(answer.result or {}),
        detail=_cut(detail, _LONG),
    )


def _column(kwargs: Mapping[str, Any]) -> str | None:
    named = [kwargs[n] for n in ("column", "column_A", "column_B") if n in kwargs]
    named += kwargs.get("column_list") or []
    return ", ".join(map(str, named)) or None


def raised(info: Mapping[str, Any]) -> Iterator[str]:
    """Messages of exceptions: one in ``info`` itself, or one for each metric that failed."""
    if info.get("raised_exception"):
        yield str(info.get("exception_message") or "no reason given")
    for below in info.values():
        if isinstance(below, Mapping):
            yield from raised(below)


_SENTENCES: dict[str, str | None] = {}
"""By what was asked: Great Expectations takes 10 ms for each, and every night asks the same."""


def _sentence(answer: ExpectationValidationResult) -> str | None:
    """What was asked as Great Expectations says it; tables and graphs have no sentence."""
    configuration = answer.expectation_config
    if configuration is None:
        return None
    kwargs = {name: v for name, v in configuration.kwargs.items() if name != "batch_id"}
    asked = json.dumps(
        [configuration.type, configuration.description, kwargs], sort_keys=True, default=str
    )
    if asked not in _SENTENCES:
        if len(_SENTENCES) > _MOST:
            _SENTENCES.clear()
        _SENTENCES[asked] = _rendered(configuration)
    return _SENTENCES[asked]


def _rendered(configuration: ExpectationConfiguration) -> str | None:
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    try:
        contents = InlineRenderer(render_object=configuration).get_rendered_content()
    except Exception:  # a renderer's bug is not worth a night
        return None
    for content in contents:
        if content.name == "atomic.prescriptive.summary" and content.value.template:
            params = content.value.params or {}
            shown = {n: _show(p["value"]) for n, p in params.items() if "value" in p}
            return Template(content.value.template).safe_substitute(shown)
    return None


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_show(value)}" for name, value in kwargs.items())


def _observed(result: Mapping[str, Any]) -> str:
    """For example "3 of 842 values (0.36%) unexpected, such as 17, 22; 58 null"."""
    unexpected, rows = result.get("unexpected_count"), result.get("element_count")
    if unexpected is not None:
        nulls = result.get("missing_count") or 0
        said = f"{unexpected:,}"
        if rows is not None:
            said += f" of {rows - nulls:,}"
            if unexpected and rows > nulls:
                said += f" ({unexpected / (rows - nulls):.2%})"
        said += " values unexpected"
        examples = list(result.get("partial_unexpected_list") or [])
        if examples and not all(_null(e) for e in examples):
            said += f", such as {', '.join(dict.fromkeys(map(_show, examples)))}"
        return f"{said}; {nulls:,} null" if nulls else said
    mismatched = (result.get("details") or {}).get("mismatched") or {}
    if isinstance(mismatched, Mapping) and mismatched:
        return "; ".join(f"{name}: {_show(v)}" for name, v in mismatched.items() if v)
    if mismatched:  # columns that are not where they were expected, one by one
        return _cut("; ".join(map(_show, mismatched)), _LONG)
    if "observed_value" not in result:
        return ""
    observed = result["observed_value"]
    if isinstance(observed, Mapping) and "values" in observed:
        observed = observed["values"]
    return "nothing to measure" if _null(observed) else _cut(_show(observed), _LONG // 2)


def _null(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT, all without importing pandas."""
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _show(value: Any) -> str:
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    if _is_list(value):
        shown = ", ".join(_show(v) for v in value[:5])
        return f"{shown}, and {len(value) - 5} more" if len(value) > 5 else shown
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_show(below)}" for name, below in value.items()) + "}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return _cut(str(value), _SHORT)


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
