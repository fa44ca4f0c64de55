"""Loads a Great Expectations 1.x suite from YAML or JSON, and checks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from nocturne.errors import ConfigError, choices, did_you_mean
from nocturne.quality.arguments import problems
from nocturne.quality.catalog import known_types, unsupported
from nocturne.safe_yaml import load_yaml

__all__ = ["Suite", "load_suite"]

Suite: TypeAlias = dict[str, Any]
"""``{"name": ..., "expectations": [{"type": ..., "kwargs": {...}, ...}]}``, all of it JSON."""

_SUITE_KEYS = ("expectations", "id", "meta", "name", "notes", "suite_parameters")
_KEYS = (
    "description",
    "expectation_context",
    "id",
    "kwargs",
    "meta",
    "notes",
    "rendered_content",
    "severity",
    "success_on_last_run",
    "type",
)
_KEPT = ("type", "kwargs", "meta", "notes", "description", "severity")
_SEVERITIES = ("critical", "info", "warning")
_RUNTIME = ("batch_id", "catch_exceptions", "result_format")
"""Arguments that GX's own tools may leave in ``kwargs``; they don't belong to a suite."""


def load_suite(path: Path) -> Suite:
    """The suite in ``path``, with its dates as ISO text.

    Raises:
        ConfigError: the file can't be read, or its content is wrong. The message has the file
            and, for each problem, its place, what was found and what was expected.
    """
    try:
        stat = path.stat()
    except OSError:
        return _load(path)
    return deepcopy(_loaded(path, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=32)
def _loaded(path: Path, written: int, size: int) -> Suite:
    """Reads a file once in each process, and again if it has changed."""
    return _load(path)


def _load(path: Path) -> Suite:
    content, lines = _read(path)
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{path}: got {_kind(content)}, expected a suite: `name:` and `expectations:`"
        )
    problems_found = list(_suite_problems(content))
    checks = content.get("expectations")
    expectations: list[dict[str, Any]] = []
    if isinstance(checks, list):
        for index, check in enumerate(checks):
            line = f" (line {lines[index]})" if index < len(lines) else ""
            place = f"expectations[{index}]{line}"
            wrong = list(_expectation_problems(check))
            problems_found += [f"{place}: {problem}" for problem in wrong]
            if not wrong:
                kwargs = {k: v for k, v in check["kwargs"].items() if k not in _RUNTIME}
                kept = {k: check[k] for k in _KEPT if check.get(k) is not None}
                expectations.append({**kept, "kwargs": kwargs})
    if problems_found:
        raise ConfigError(
            "\n".join(f"{path}: {problem}" for problem in problems_found), path=str(path)
        )
    return {"name": content["name"], "expectations": expectations}


def _read(path: Path) -> tuple[Any, list[int]]:
    """The content, and for YAML the line of each expectation."""
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise ConfigError(
            f"{path}: got a {path.suffix or 'nameless'} file, expected a suite in "
            ".yaml, .yml or .json"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_without_duplicates), []
        content = _plain(load_yaml(text, str(path)))
        return content, _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; `nocturne init` writes a starter suite"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ConfigError(f"{path} is not valid {kind}: {error}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError if a key occurs twice."""
    mapping = dict(pairs)
    for key in mapping:
        if sum(key == name for name, _ in pairs) > 1:
            raise ValueError(f"the key {key!r} is there twice; keep one of them")
    return mapping


def _plain(value: Any) -> Any:
    """YAML has dates, but the JSON of Great Expectations needs them as text."""
    if isinstance(value, dict):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, set)):
        raise yaml.YAMLError(f"{value!r} has no JSON form; write a text or a list")
    return value


def _lines(node: yaml.Node | None) -> list[int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "expectations" and isinstance(value, yaml.SequenceNode):
                return [item.start_mark.line + 1 for item in value.value]
    return []


def _suite_problems(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown_keys(content, _SUITE_KEYS)
    name = content.get("name")
    if not isinstance(name, str) or not name:
        yield f"name: got {name!r}, expected a text, the suite's name"
    checks = content.get("expectations")
    if not isinstance(checks, list) or not checks:
        yield (
            f"expectations: got {checks!r}, expected a list with at least one "
            "`{type: ..., kwargs: {...}}`"
        )


def _expectation_problems(check: Any) -> Iterator[str]:
    if not isinstance(check, Mapping):
        yield f"got {check!r}, expected `{{type: ..., kwargs: {{...}}}}`"
        return
    if "type" not in check and "expectation_type" in check:
        yield "expectation_type: Great Expectations 1.x calls this key `type`; rename it"
        return
    yield from _unknown_keys(check, _KEYS)
    severity = check.get("severity")
    if severity is not None and severity not in _SEVERITIES:
        yield f"severity: got {severity!r}, expected one of {choices(_SEVERITIES)}"
    type_, kwargs = check.get("type"), check.get("kwargs")
    if type_ not in known_types():
        near = did_you_mean(type_, known_types(), 3)
        has = "" if near else f"; it has {choices(known_types(), 8)}"
        yield f"type: got {type_!r}{near}, which Great Expectations 1.24 does not have{has}"
    elif unsupported(str(type_)):
        yield f"type: {type_} does not run on files, only on databases; use another expectation"
    elif not isinstance(kwargs, Mapping):
        yield f"kwargs: got {kwargs!r}, expected a mapping with the arguments of {type_}"
    else:
        arguments = {k: v for k, v in kwargs.items() if k not in _RUNTIME}
        yield from (f"{type_}: kwargs.{problem}" for problem in problems(str(type_), arguments))


def _unknown_keys(content: Mapping[str, Any], valid: tuple[str, ...]) -> Iterator[str]:
    for key in content:
        if key not in valid:
            near = did_you_mean(key, valid)
            yield f"{key}: unknown key{near}; expected some of {choices(valid)}"


def _kind(content: Any) -> str:
    return "an empty file" if content is None else f"a {type(content).__name__}"
