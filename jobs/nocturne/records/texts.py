"""Types of texts in records: a time, a partition's key, a manifest's id.

A text is checked when its record is read, so that the code that uses it can rely on its form.
"""

from __future__ import annotations

import datetime as dt
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Annotated, Any

__all__ = ["MANIFEST_ID", "Key", "ManifestId", "Sketch", "Time", "in_utc"]

MANIFEST_ID = re.compile(r"\d{6,12}-[0-9a-f]{16}")
"""Commit number and run key."""


def in_utc(moment: dt.datetime | str) -> str:
    """A time with its zone for people: "2013-04-01 05:00 UTC"."""
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


class _Checked:
    """The check of a type; Pydantic, which asks for it, is imported when a record is read."""

    def __init__(self, is_valid: Callable[[str], bool], expected: str) -> None:
        self.is_valid, self.expected = is_valid, expected

    def check(self, text: str) -> str:
        if not self.is_valid(text):
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
    """Whether the text is base64; the code that merges sketches checks its content."""
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


Time = Annotated[str, _Checked(_is_time, "a time with its zone, as 2013-04-01T05:00:00+00:00")]
Key = Annotated[str, _Checked(_is_key, "a partition's key, as 2013-04-01, 2013-04-01T05 or all")]
Sketch = Annotated[str, _Checked(_is_sketch, "a sketch as base64")]
ManifestId = Annotated[
    str, _Checked(lambda text: MANIFEST_ID.fullmatch(text) is not None, "an id, as 000002-1f0c...")
]
