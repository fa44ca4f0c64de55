"""Tables whose log decides which files count: their folders can't be read as they lie."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nocturne.errors import InputError, printable

__all__ = ["acid", "broken_off", "refuse_at", "refuse_lake", "replaced", "uncommitted"]

_MARKS = (
    ("Delta", "_delta_log"),
    ("Hudi", ".hoodie"),
    ("Hudi", ".hoodie_partition_metadata"),
    ("Spark's streams", "_spark_metadata"),
)
_LOG = "whose log decides which files count: some may be removed, or there twice"
_ACID = re.compile(r"(base|delta|delete_delta)_\d{7,}(_\d+)*")
"""Folders of a transactional Hive table."""
_BROKEN_OFF = 86400.0
"""Seconds after which a write that has not ended will not: its marker stays for good."""
_ADVICE = (
    "Have the rows to be scored written as plain files into a folder of their own, by something "
    "that reads the table through its log, and name that folder"
)


def refuse_lake(folder: Path) -> None:
    """Raises: InputError if the folder lies in such a table, or is one."""
    for path in dict.fromkeys((folder, Path(os.path.realpath(folder)))):
        for place in (path, *path.parents):
            refuse_at(place, of=folder)


def refuse_at(place: Path, of: Path | None = None) -> None:
    """Raises: InputError if a lake table's own files lie in ``place``; it names ``of`` then."""
    for name, mark in _marks(place):
        raise InputError(
            f"{of or place} belongs to a table of {name} ({mark}), {_LOG}. {_ADVICE}",
            path=str(of or place),
        )


def _marks(place: Path) -> Iterator[tuple[str, str]]:
    """(format, what shows it) if a lake table's own files lie in ``place``."""
    with suppress(OSError):  # it is not for us to see
        for name, mark in _MARKS:
            if (place / mark).exists():
                yield name, str(place / mark)
    with suppress(OSError):  # most have no such folder
        for path in (place / "metadata").iterdir():
            if ".metadata.json" in path.name:  # v3.metadata.json, 00003-<uuid>.metadata.json, .gz
                yield "Iceberg", printable(path)


def acid(name: str) -> str | None:
    """Why a folder can't be walked, if its name is one of a transactional Hive table."""
    if _ACID.fullmatch(name):
        return f"the folder of a transactional Hive table, {_LOG}. {_ADVICE}"
    return None


def uncommitted(names: Sequence[str]) -> list[str]:
    """``_started_<id>`` without ``_committed_<id>``: a write on Databricks that has not ended."""
    there = set(names)
    return [
        name
        for name in names
        if name.startswith("_started_") and name.replace("_started_", "_committed_", 1) not in there
    ]


def broken_off(folder: Path, started: str, names: Sequence[str]) -> str | None:
    """Why ``started``, one of ``uncommitted``, is not waited for; None if it is."""
    try:
        if time.time() - (folder / started).stat().st_mtime < _BROKEN_OFF:
            return None
    except OSError:  # it is gone since it was listed
        return None
    part = f"tid-{started.removeprefix('_started_')}-"
    return (
        "a write on Databricks that began more than a day ago and has not ended. Unless it is "
        "still at work, VACUUM the table, or remove this marker and the files with "
        f"{printable(part)} in their names ({sum(part in name for name in names)} are there)"
    )


def replaced(folder: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """Files that a ``_committed_<id>`` of Databricks says to be removed, though they are there."""
    found = []
    for name in names:
        if not name.startswith("_committed_"):
            continue
        try:
            removed = json.loads((folder / name).read_bytes() or b"{}").get("removed", ())
            gone = {str(one) for one in removed}
        except (OSError, ValueError, AttributeError, TypeError):
            found.append((name, "can't be read, so it is unknown which files it replaced"))
            continue
        found += [
            (one, f"{name} says that it was replaced; VACUUM the table, or remove the file")
            for one in names
            if one in gone
        ]
    return found
