"""Texts of records that mean something: a time, a partition's key, a manifest's id.

The types say so; what a file holds is looked at when it is read, so that nobody who uses it has
to be ready for a time that is none.
"""

from __future__ import annotations

import datetime as dt
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Annotated, Any

__all__ = ["MANIFEST_ID", "Key", "ManifestId", "Sketch", "Time"]

MANIFEST_ID = re.compile(r"\d{6,12}-[0-9a-f]{16}")
"""Commit number and run key."""


class _Must:
    """Pydantic asks it for its check when a record is read; there may be no pydantic before."""

    def __init__(self, holds: Callable[[str], bool], expected: str) -> None:
        self.holds, self.expected = holds, expected

    def check(self, text: str) -> str:
        if not self.holds(text):
            raise ValueError(f"got {text[:60]!r}, expected {self.expected}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))


def _is_time(text: str) -> bool:
    try:
        return dt.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _is_sketch(text: str) -> bool:
    """That it is base64 is checked here; what it holds, by whoever merges it."""
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _is_key(text: str) -> bool:
    if text == "all":
        return True
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%dT%H" if "T" in text else "%Y-%m-%d")
    except ValueError:
        return False
    return moment.isoformat().startswith(text)


Time = Annotated[str, _Must(_is_time, "a time with its zone, as 2013-04-01T05:00:00+00:00")]
Key = Annotated[str, _Must(_is_key, "a partition's key, as 2013-04-01, 2013-04-01T05 or all")]
Sketch = Annotated[str, _Must(_is_sketch, "a sketch as base64")]
ManifestId = Annotated[
    str, _Must(lambda text: MANIFEST_ID.fullmatch(text) is not None, "an id, as 000002-1f0c...")
]
