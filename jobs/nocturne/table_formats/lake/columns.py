"""Whether the columns of scores and of a lake table fit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

__all__ = ["Column", "column_problems", "dotted_problems", "is_date", "name_problems"]


@dataclass(frozen=True)
class Column:
    """The type of a column as the format calls it, and whether it may be null."""

    type: str
    nullable: bool


def name_problems(names: Iterable[str]) -> Iterator[str]:
    """Columns that readers take for one: most ignore case."""
    known: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if (other := known.setdefault(name.lower(), name)) != name:
            yield f"columns {other!r} and {name!r} are one to readers, which ignore case"


def dotted_problems(fields: Iterable[pa.Field]) -> Iterator[str]:
    """Columns, also within others, whose names readers take for paths to columns within others."""
    for field in fields:
        if "." in field.name:
            yield (
                f"column {field.name!r} has a dot in its name, which readers take for a column "
                "within another (rename it in the input, or drop it)"
            )
        type_ = field.type
        yield from dotted_problems(type_.field(i) for i in range(type_.num_fields))


def column_problems(
    there: Mapping[str, Column],
    ours: Mapping[str, Column],
    keys: Collection[str] = (),
    *,
    whole: bool,
) -> Iterator[str]:
    """Differences between the columns of a table and those of the scores.

    Args:
        keys: columns that readers have from the table, whatever is in the files.
        whole: whether both need the same columns; else the types of those are compared that both
            have.
    """
    for name, column in ours.items():
        if name in keys:
            continue
        found = there.get(name)
        if found is None:
            same = next((other for other in there if other.lower() == name.lower()), None)
            if same is not None:
                yield f"its column {same!r} is called {name!r} in the scores"
            elif whole:
                add = f"ALTER TABLE ... ADD COLUMNS ({name} {column.type})"
                yield f"it has no column {name!r} ({add})"
        elif found.type != column.type:
            yield f"its column {name!r} is {found.type}, that of the scores is {column.type}"
        elif not found.nullable and column.nullable:
            yield f"its column {name!r} is NOT NULL, that of the scores may be null"
    for name, column in there.items() if whole else ():
        if name not in ours and name not in keys and not column.nullable:
            yield f"its column {name!r} is NOT NULL, and the scores have no such column"


def is_date(value: str) -> bool:
    """Whether a new table's partition column is a date, by its first value: 2013-04-01."""
    try:
        return dt.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
