"""Recognizes tables whose log decides which files count; their files can't be read without it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from nocturne.errors import InputError, StoreRefused, printable
from nocturne.objects import Location, ObjectPath

__all__ = [
    "abandoned",
    "hive_acid",
    "refuse_at",
    "refuse_lake",
    "refuse_names",
    "replaced_files",
    "uncommitted",
]

_MARKS = (
    ("Delta", "_delta_log"),
    ("Hudi", ".hoodie"),
    ("Hudi", ".hoodie_partition_metadata"),
    ("Spark's streams", "_spark_metadata"),
)
_LOG = "whose log decides which files count: some may be removed, or there twice"
_ACID = re.compile(r"(base|delta|delete_delta)_\d{7,}(_\d+)*")
"""Folders of a transactional Hive table."""
_ABANDONED = 86400.0
"""Seconds after which a write that has not ended counts as abandoned."""
_READ = {"Delta": "delta", "Iceberg": "iceberg"}
"""The formats of lake tables that are read through their log -> ``input.format``."""
_ADVICE = (
    "Have the rows to be scored written as plain files into a folder of their own, by something "
    "that reads the table through its log, and name that folder"
)


def refuse_lake(folder: Location) -> None:
    """Raises: InputError if the folder is such a table or lies in one."""
    real = Path(os.path.realpath(folder)) if isinstance(folder, Path) else folder
    for path in dict.fromkeys((folder, real)):
        for parent in (path, *path.parents):
            refuse_at(parent, of=folder)


def refuse_at(folder: Location, of: Location | None = None) -> None:
    """Raises: InputError if ``folder`` contains a lake table's own files."""
    names, metadata = set[str](), list[str]()
    with suppress(OSError, StoreRefused):  # no permission to look
        names = {mark for _, mark in _MARKS if _is_there(folder / mark)}
    with suppress(OSError, StoreRefused):  # most folders have no metadata/
        metadata = [path.name for path in (folder / "metadata").iterdir()]
    refuse_names(folder, names, metadata, of)


def _is_there(mark: Location) -> bool:
    """Of objects, those of a table's root are folders, and the others are in a listing."""
    return mark.is_dir() if isinstance(mark, ObjectPath) else mark.exists()


def refuse_names(
    folder: Location, names: Container[str], metadata: Iterable[str], of: Location | None = None
) -> None:
    """Refuse a folder with the names of a lake table's own files.

    Args:
        names: those of the folder's entries.
        metadata: those of the entries of the folder ``metadata`` in it, if there is one.
        of: the folder that the message is about.

    Raises:
        InputError: it has such names.
    """
    found = [(name, folder / mark) for name, mark in _MARKS if mark in names]
    for name in () if found else metadata:
        if ".metadata.json" in name:  # v3.metadata.json, 00003-<uuid>.metadata.json, .gz
            found.append(("Iceberg", folder / "metadata" / name))
            break
    for name, mark in found:
        advice = _ADVICE
        if name in _READ:
            advice = f"To score one version of it, say input.format: {_READ[name]} (docs/lakes.md)"
        raise InputError(
            f"{of or folder} belongs to a table of {name} ({printable(mark)}), {_LOG}. {advice}",
            path=str(of or folder),
        )


def hive_acid(name: str) -> str | None:
    """Why a folder can't be read, if its name is that of a transactional Hive table's folder."""
    if _ACID.fullmatch(name):
        return f"the folder of a transactional Hive table, {_LOG}. {_ADVICE}"
    return None


def uncommitted(names: Sequence[str]) -> list[str]:
    """Every ``_started_<id>`` without ``_committed_<id>``: unfinished writes on Databricks."""
    known = set(names)
    return [
        name
        for name in names
        if name.startswith("_started_") and name.replace("_started_", "_committed_", 1) not in known
    ]


def abandoned(folder: Location, started: str, names: Sequence[str]) -> str | None:
    """Why it makes no sense to wait for ``started``, one of ``uncommitted``; None if it does."""
    try:
        if time.time() - (folder / started).stat().st_mtime < _ABANDONED:
            return None
    except OSError:  # it has disappeared since it was listed
        return None
    part = f"tid-{started.removeprefix('_started_')}-"
    return (
        "a write on Databricks that began more than a day ago and has not ended. Unless it is "
        "still at work, VACUUM the table, or remove this marker and the files with "
        f"{printable(part)} in their names ({sum(part in name for name in names)} are there)"
    )


def replaced_files(folder: Location, names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, problem) of files that exist although a ``_committed_<id>`` removed them."""
    problems = []
    for name in names:
        if not name.startswith("_committed_"):
            continue
        try:
            removed = json.loads((folder / name).read_bytes() or b"{}").get("removed", ())
            removed = {str(name) for name in removed}
        except (OSError, ValueError, AttributeError, TypeError):
            problems.append((name, "can't be read, so it is unknown which files it replaced"))
            continue
        problems += [
            (file, f"{name} says that it was replaced; VACUUM the table, or remove the file")
            for file in names
            if file in removed
        ]
    return problems
