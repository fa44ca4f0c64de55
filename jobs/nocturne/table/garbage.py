"""Garbage: files that no manifest in force, kept version, held or running night needs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from nocturne.objects import Location, ObjectPath
from nocturne.records.manifest import Manifest
from nocturne.records.texts import MANIFEST_ID
from nocturne.store.failpoints import reach
from nocturne.store.files import children
from nocturne.store.files import remove as remove_all
from nocturne.table_formats.protocol import Table, TablePartition

__all__ = ["Garbage", "garbage", "half_made", "remove", "scratch", "unused"]

_SCRATCH = (".*.tmp", ".nocturne-*", ".replay-*", ".moving", ".download-*", ".garbage-*")
"""Names of temporary files and folders, which stay only if the process is killed."""
_REPLACED = "working files of a run that another one took the place of"
_HALF_MADE = "half made by a process that was killed"


@dataclass(frozen=True)
class Garbage:
    """A file or folder of the state, its size, and why nothing needs it."""

    path: Location
    bytes: int
    why: str
    changed: float = 0.0
    """When the newest of its files was written, in seconds since 1970."""


def garbage(
    table: TablePartition,
    now: Manifest | None,
    keep: int,
    busy: Collection[str],
    seconds: float,
    kept: Collection[str] = (),
) -> list[Garbage]:
    """The garbage in the state of a partition.

    Args:
        now: the manifest in force. None: nothing is published, and all manifests are needed.
        keep: the number of replaced versions that stay.
        busy: run keys of held and running runs.
        seconds: files that were changed within this time are left alone.
        kept: run keys of runs of which the folder stays, without its working files.

    Raises:
        StateError: a manifest is damaged, so it is unknown what is needed.
    """
    state = table.state
    # Without a manifest in force, somebody may have moved the folder away.
    lineage = state.lineage(now) if now else state.history()
    keys, ids = {m.run_key[:16] for m in lineage}, {m.id for m in lineage}
    busy_keys, kept_keys = ({key[:16] for key in each} for each in (busy, kept))
    named = {state.stored(file) for m in lineage for file in (m.run, m.judgement)}

    def candidates() -> Iterator[tuple[Location, str]]:
        published = []
        for run in state.runs():
            if run.name in busy_keys or run.name.startswith("."):
                continue
            if run.name not in keys and run.name in kept_keys:
                yield from ((path, _REPLACED) for path in run.working)
                continue
            if run.name not in keys:
                yield run.path, "of a run that was not published"
                continue
            published.append(run)
            yield from ((p, "of a publish that was killed") for p in run.copies() if p not in named)
            yield from ((path, "working files of a published run") for path in run.working)
        if now is not None:
            yield from table.unneeded(now, keep, published)
        for path in state.manifest_files():
            is_manifest = path.suffix == ".json" and MANIFEST_ID.fullmatch(path.stem)
            if is_manifest and path.stem not in ids and path.stem[-16:] not in busy_keys:
                yield path, "a manifest that never came into force"
        for folder in state.quarantines():
            if folder.name not in keys | busy_keys:
                yield folder, "quarantine of a run that was not published"

    return _older_than(candidates(), seconds)


def scratch(folder: Location, seconds: float) -> list[Garbage]:
    """Temporary files of killed processes, anywhere in the state of a table; a store has none."""
    if isinstance(folder, ObjectPath):
        return []
    paths = [path for pattern in _SCRATCH for path in sorted(folder.rglob(pattern))]
    return _older_than(((path, _HALF_MADE) for path in paths), seconds)


def half_made(table: Table, partitions: Iterable[TablePartition], seconds: float) -> list[Garbage]:
    """Temporary folders of killed processes, beside or in the table."""
    return _older_than(((path, _HALF_MADE) for path in table.half_made(partitions)), seconds)


def unused(models: Location, needed: Collection[str], seconds: float) -> list[Garbage]:
    """Stored models whose folder is not in ``needed``.

    Also the folders ``<model>.flat``, which earlier versions made beside ``<model>``.
    """
    stored = [p for p in children(models) if p.name[0] != "." and p.name not in needed]
    return _older_than(((path, "a model that no run needs") for path in stored), seconds)


def _older_than(candidates: Iterable[tuple[Location, str]], seconds: float) -> list[Garbage]:
    garbage_found = []
    for path, why in candidates:
        files = [*_files(path)]
        if not files and isinstance(path, ObjectPath):  # some stores keep the names of folders
            continue
        newest = max((changed for _, changed in files), default=0.0)
        if time.time() - newest >= seconds:
            garbage_found.append(Garbage(path, sum(size for size, _ in files), why, newest))
    return garbage_found


def remove(item: Garbage, check: Callable[[], None] = lambda: None) -> bool:
    """Remove a piece of garbage. It is renamed first, so its name never stands for a part.

    What was written again since it was listed stays: a run needs it.

    Args:
        check: called last; raises if this process may remove nothing any more, which matters in a
            store, where nothing is locked and a process that was stopped may go on late.

    Returns:
        Whether it is gone.
    """
    if isinstance(item.path, ObjectPath):
        reach("gc.moved")
        if _was_written_since(item):
            return False
        check()
        remove_all(item.path)
        return True
    if _was_written_since(item):
        return False
    renamed = item.path.with_name(f".garbage-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        item.path.rename(renamed)
    except FileNotFoundError:  # it was in a folder that was removed already
        return True
    reach("gc.moved")
    if renamed.is_dir():
        shutil.rmtree(renamed)
    else:
        renamed.unlink()
    return True


def _was_written_since(item: Garbage) -> bool:
    """Whether something of it was written since it was listed, so a run needs it again."""
    path = item.path
    if isinstance(path, ObjectPath) and (listed := path.stat_) is not None:
        with suppress(FileNotFoundError):
            now = path.stat()
            is_later = int(now.st_mtime) > int(listed.st_mtime)  # HEAD says whole seconds
            return is_later or (now.tag, now.st_size) != (listed.tag, listed.st_size)
        return False
    return any(changed > item.changed for _, changed in _files(path))


def _files(path: Location) -> Iterator[tuple[int, float]]:
    """Size and time of a file, or of everything in a folder."""
    if isinstance(path, ObjectPath):
        for found in (path,) if path.stat_ else path.below():
            if found.stat_:
                yield found.stat_.st_size, found.stat_.st_mtime
        return
    for inner in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            stat = inner.lstat()
            yield stat.st_size, stat.st_mtime
