"""Garbage: what no manifest in force, kept version, held or running night needs any more."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nocturne.records.manifest import Manifest
from nocturne.records.texts import MANIFEST_ID
from nocturne.store.failpoints import reach
from nocturne.store.partition_state import children
from nocturne.table_formats.protocol import Table, TablePartition

__all__ = ["Garbage", "garbage", "half_made", "remove", "scratch", "unused"]

_SCRATCH = (".*.tmp", ".nocturne-*", ".replay-*", ".download-*", ".garbage-*")
"""Names that are only there for a moment, unless the process was killed in it."""
_HALF_MADE = "half made by a process that was killed"


@dataclass(frozen=True)
class Garbage:
    """A file or folder of the state, its size, and why it is not needed."""

    path: Path
    bytes: int
    why: str


def garbage(
    table: TablePartition, now: Manifest | None, keep: int, busy: Collection[str], seconds: float
) -> list[Garbage]:
    """What can go from one partition's state.

    Args:
        now: the manifest in force; None: nothing is published, and every manifest counts.
        keep: replaced versions that stay.
        busy: run keys that are held or running.
        seconds: what was changed within so many is left alone.

    Raises:
        StateError: a manifest is damaged, so that it can't be told what is needed.
    """
    state = table.state
    line = state.lineage(now) if now else state.history()  # a folder that somebody moved away
    keys, ids = {m.run_key[:16] for m in line}, {m.id for m in line}
    working = {key[:16] for key in busy}

    def found() -> Iterator[tuple[Path, str]]:
        published = []
        for run in state.runs():
            if run.name in working or run.name.startswith("."):
                continue
            if run.name not in keys:
                yield run.path, "of a run that was not published"
                continue
            published.append(run)
            yield from ((path, "working files of a published run") for path in run.working)
        if now is not None:
            yield from table.unneeded(now, keep, published)
        for path in state.manifest_files():
            named = path.suffix == ".json" and MANIFEST_ID.fullmatch(path.stem)
            if named and path.stem not in ids and path.stem[-16:] not in working:
                yield path, "a manifest that never came into force"
        for folder in state.quarantines():
            if folder.name not in keys | working:
                yield folder, "quarantine of a run that was not published"

    return _old(found(), seconds)


def scratch(folder: Path, seconds: float) -> list[Garbage]:
    """What processes that were killed left half made, anywhere in a table's state."""
    found = [path for pattern in _SCRATCH for path in sorted(folder.rglob(pattern))]
    return _old(((path, _HALF_MADE) for path in found), seconds)


def half_made(table: Table, partitions: Iterable[TablePartition], seconds: float) -> list[Garbage]:
    """What such processes have left beside the table."""
    return _old(((path, _HALF_MADE) for path in table.half_made(partitions)), seconds)


def unused(models: Path, used: Collection[str], seconds: float) -> list[Garbage]:
    """Stored models whose folder's name is not in ``used``, and what earlier versions made of them.

    (Those kept ``<model>.flat`` beside ``<model>``.)
    """
    stored = [p for p in children(models) if p.name[0] != "." and p.name not in used]
    return _old(((path, "a model that no run needs") for path in stored), seconds)


def _old(found: Iterable[tuple[Path, str]], seconds: float) -> list[Garbage]:
    return [
        Garbage(path, _size(path), why)
        for path, why in found
        if time.time() - _changed(path) >= seconds
    ]


def remove(found: Garbage) -> None:
    """Remove a piece of garbage; it loses its name first, so that it is whole or gone."""
    gone = found.path.with_name(f".garbage-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        found.path.rename(gone)
    except FileNotFoundError:  # it lay in something that is gone already
        return
    reach("gc.moved")
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()


def _walk(path: Path) -> Iterator[os.stat_result]:
    for inner in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            yield inner.lstat()


def _size(path: Path) -> int:
    return sum(stat.st_size for stat in _walk(path))


def _changed(path: Path) -> float:
    return max((stat.st_mtime for stat in _walk(path)), default=0.0)
