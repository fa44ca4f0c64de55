"""Records as JSON and back; unknown or missing fields are refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from nocturne.errors import StateError
from nocturne.records.manifest import Manifest
from nocturne.records.plan import Run

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["STATE_FORMAT", "Format", "damaged", "dump", "load"]

STATE_FORMAT = 2
"""Raised whenever a stored record changes shape."""


@dataclass(frozen=True)
class Format:
    """The format of a pipeline's state: ``format.json``."""

    mend: ClassVar[str] = "Put back a copy of it, or use another output.path"

    format: int


T = TypeVar("T")


_MEND = "Move it away and run the partition again"


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Building one takes milliseconds, and a worker reads records for every split.

    Imported here, so that the engine runs where there is no pydantic.
    """
    from pydantic import ConfigDict, TypeAdapter, with_config

    if is_dataclass(kind) and not hasattr(kind, "__pydantic_config__"):
        with_config(ConfigDict(extra="forbid", allow_inf_nan=False))(kind)
    return TypeAdapter(kind)


def dump(record: Any) -> str:
    """JSON with sorted keys, so that equal records are equal bytes. NaN is refused.

    Records with a profile, thousands of numbers, go on one line.
    """
    indent = None if getattr(record, "on_one_line", False) else 1
    return (
        json.dumps(
            record,
            sort_keys=True,
            indent=indent,
            allow_nan=False,
            ensure_ascii=False,
            default=_stored,
        )
        + "\n"
    )


def _stored(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else vars(value)


def load(kind: type[T], text: str | bytes, source: str = "text") -> T:
    """The record that ``dump`` wrote.

    Raises:
        StateError: the JSON is not such a record; names ``source``, the field and what to do.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Any, kind)).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        said = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise damaged(kind, source, said) from None
    if isinstance(found, (Run, Manifest)) and found.format != STATE_FORMAT:
        raise damaged(kind, source, f"format: it says {found.format}")
    return found


def damaged(kind: type[Any], source: str, why: str) -> StateError:
    return StateError(
        f"{source} is not a {kind.__name__} of state format {STATE_FORMAT}: {why}. It was written "
        f"by another version or is damaged. {getattr(kind, 'mend', _MEND)}",
        source=source,
    )
