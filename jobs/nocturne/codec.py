"""Writes records as JSON and reads them, each with the version of its fields.

A record with a file of its own is ``Stored``. Its JSON contains its ``version``; the record's own
``UPGRADES`` convert an older version to the current one, one version at a time. A version or a
field that this Nocturne does not know was written by a newer one, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, get_args, get_type_hints

from nocturne.errors import StateError, WrittenByNewer

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["STATE_FORMAT", "Format", "Stored", "damaged", "dump", "load"]

STATE_FORMAT = 3
"""The format of the folders of a pipeline's state; their records have versions of their own."""

Fields = dict[str, Any]


class Stored:
    """A record with a file of its own.

    ``VERSION`` is raised with every change of the fields. ``UPGRADES[n]`` then converts the fields
    of version n to those of version n + 1. A file without a version has version 1.
    """

    VERSION: ClassVar[int] = 1
    UPGRADES: ClassVar[Mapping[int, Callable[[Fields], Fields]]] = {}
    ON_ONE_LINE: ClassVar[bool] = False
    """Whether the JSON is one line: the record has thousands of numbers, too many to read."""
    mend: ClassVar[str] = "Move it away and run the partition again"
    """What to do if the file is damaged."""


@dataclass(frozen=True)
class Format(Stored):
    """The format of a pipeline's state: ``format.json``."""

    mend: ClassVar[str] = "Put back a copy of it, or use another output.path"

    format: int


T = TypeVar("T")


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Cached, since building one takes milliseconds and a worker reads records for every split.

    pydantic is imported here, so that the engine runs without it.
    """
    from pydantic import TypeAdapter

    _forbid_unknown(kind)
    return TypeAdapter(kind)


def _forbid_unknown(kind: Any) -> None:
    """Forbid unknown fields in a record and in all records that it contains."""
    pending, seen = [kind], set[type]()
    while pending:
        type_ = pending.pop()
        pending += get_args(type_)
        if not (isinstance(type_, type) and is_dataclass(type_)) or type_ in seen:
            continue
        seen.add(type_)
        if "__pydantic_config__" not in vars(type_):
            config = {"extra": "forbid", "allow_inf_nan": False}
            type_.__pydantic_config__ = config  # type: ignore[attr-defined]
        pending += get_type_hints(type_).values()


def dump(record: Any) -> str:
    """JSON with sorted keys, so that equal records are equal bytes. NaN is refused."""
    indent = None if getattr(record, "ON_ONE_LINE", False) else 1
    fields = record
    if isinstance(record, Stored):
        fields = {"version": record.VERSION, **_fields(record)}
    text = json.dumps(
        fields,
        sort_keys=True,
        indent=indent,
        allow_nan=False,
        ensure_ascii=False,
        default=lambda value: str(value) if isinstance(value, Path) else _fields(value),
    )
    return text + "\n"


def _fields(record: Any) -> Fields:
    """What a record is made of, without what was derived from it and kept (``_name``)."""
    return {name: value for name, value in vars(record).items() if not name.startswith("_")}


def load(kind: type[T], text: str | bytes, source: str = "text") -> T:
    """The record that ``dump`` of this or an earlier Nocturne wrote.

    Raises:
        WrittenByNewer: a newer Nocturne wrote it.
        StateError: the JSON is not such a record; the message names ``source``, the field and what
            to do.
    """
    from pydantic import ValidationError
    from pydantic_core import from_json

    try:
        fields = from_json(text)
    except ValueError as error:
        raise damaged(kind, source, f"the file: Invalid JSON: {error}") from None
    if issubclass(kind, Stored):
        fields = _of_this_version(kind, fields, source)
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise _newer(kind, source, f"the field {where!r}") from None
        problem = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise damaged(kind, source, problem) from None


def _of_this_version(kind: type[Stored], fields: Any, source: str) -> Fields:
    if not isinstance(fields, dict):
        raise damaged(kind, source, "the file: expected a JSON object")
    version = fields.pop("version", 1)
    if not isinstance(version, int) or version < 1:
        raise damaged(kind, source, f"version: got {version!r}, expected a number from 1")
    if version > kind.VERSION:
        raise _newer(kind, source, f"version {version}")
    for step in range(version, kind.VERSION):
        try:
            fields = kind.UPGRADES[step](fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"version {step}: {type(error).__name__}: {error}"
            raise damaged(kind, source, problem) from None
    return dict(fields)


def _newer(kind: type[Any], source: str, what: str) -> WrittenByNewer:
    return WrittenByNewer(
        f"{source} has {what}, which this Nocturne does not know of a {kind.__name__}: it was "
        "written by a newer Nocturne, or edited. Install that version here too",
        source=source,
    )


def damaged(kind: type[Any], source: str, why: str) -> StateError:
    """The error for a file that is not such a record."""
    mend = getattr(kind, "mend", Stored.mend)
    return StateError(
        f"{source} is not a {kind.__name__}: {why}. It was written by another version or is "
        f"damaged. {mend}",
        source=source,
    )
