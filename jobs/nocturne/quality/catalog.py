"""Lists the expectations and their arguments without importing Great Expectations.

The import takes 4 to 8 seconds. The package contains a JSON schema of every expectation and an
index of them; reading these takes milliseconds.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError

__all__ = ["argument_schema", "known_types", "unsupported"]

_SHARED = frozenset(
    (
        "batch_id",
        "catch_exceptions",
        "description",
        "id",
        "meta",
        "metadata",
        "notes",
        "rendered_content",
        "result_format",
        "severity",
        "windows",
    )
)
"""Properties of every expectation that are not arguments of a check."""


@cache
def _schemas() -> Path:
    spec = importlib.util.find_spec("great_expectations")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        schemas = Path(folder) / "expectations" / "core" / "schemas"
        if (schemas / "index.json").is_file():
            return schemas
    raise ConfigError(
        "quality suites need Great Expectations 1.24, which this environment lacks; install "
        "great-expectations==1.24.1, or remove quality.input_suite and quality.output_suite"
    )


@cache
def _index() -> dict[str, Any]:
    content = json.loads((_schemas() / "index.json").read_text(encoding="utf-8"))
    return dict(content)


def known_types() -> list[str]:
    """The names that ``type`` of an expectation can have, sorted."""
    index = _index()
    return sorted([*index["expectations"], *index["documented_absent"]])


def unsupported(type_: str) -> bool:
    """Whether a known expectation needs a database, so that it can't run on files."""
    known = _index()["expectations"].get(type_)
    return known is not None and "Pandas" not in known["supported_data_sources"]


@cache
def argument_schema(type_: str) -> dict[str, Any] | None:
    """JSON schema of an expectation's ``kwargs``; None for the few that have no schema."""
    known = _index()["expectations"].get(type_)
    if known is None:
        return None
    path = _schemas() / known["schema_file"]
    schema = dict(json.loads(path.read_text(encoding="utf-8")))
    schema["properties"] = {k: v for k, v in schema["properties"].items() if k not in _SHARED}
    return schema
