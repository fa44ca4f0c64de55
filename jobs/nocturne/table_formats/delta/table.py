"""A Delta table in a local folder, or in an object store.

The number of a publish is the version of the application transaction ``nocturne/<partition>``.
Replaced files are promised to readers for the table's ``delta.deletedFileRetentionDuration``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from nocturne.objects import Location, ObjectPath, local
from nocturne.records.partition import Partition
from nocturne.store.files import sync_folder
from nocturne.table_formats.delta.compatible import delta_type, new_schema
from nocturne.table_formats.delta.library import address, library
from nocturne.table_formats.delta.mirror import LOG, Mirror, last_commit
from nocturne.table_formats.delta.snapshot import DeltaSnapshot
from nocturne.table_formats.lake import LakeTable, Snapshot

__all__ = ["DeltaLakeTable"]


@dataclass
class _Remembered:
    """A table in a store as a thread has last seen it, with the copy of its log."""

    mirror: Mirror = field(default_factory=Mirror)
    now: object = None
    snapshot: DeltaSnapshot | None = None


class _OfThread(threading.local):
    """What a thread knows of tables, whoever in it asks: a log is not fetched again."""

    def __init__(self) -> None:
        self.table = lru_cache(maxsize=8)(_remembered)


def _remembered(folder: ObjectPath) -> _Remembered:
    return _Remembered()


_of_thread = _OfThread()


class DeltaLakeTable(LakeTable):
    """A Delta table in a folder."""

    format = "Delta"

    def __init__(self, folder: Location, state: Location | None = None) -> None:
        super().__init__(folder, state)
        self._known: tuple[object, DeltaSnapshot] | None = None

    def ready(self) -> None:
        """Raises: ConfigError, PublishError."""
        library()
        address(self.folder)

    @property
    def fresh_s(self) -> float:
        """None on a disk, where a look at the log takes no time."""
        return super().fresh_s if isinstance(self.folder, ObjectPath) else 0.0

    def _loaded(self) -> DeltaSnapshot | None:
        if isinstance(self.folder, ObjectPath):
            return self._loaded_from(self.folder)
        if (now := _log(self.folder / LOG)) is None:
            return None
        if self._known is None or self._known[0] != now:
            found = DeltaSnapshot.of(self.folder)
            if found is None:
                return None
            self._known = now, found
        return self._known[1]

    def _loaded_from(self, folder: ObjectPath) -> DeltaSnapshot | None:
        log = {path.relative_to(folder / LOG).as_posix(): path for path in (folder / LOG).below()}
        last = last_commit(log)
        if last is None:
            return None
        now = last, len(log), log[f"{last:020d}.json"].stat_
        remembered = _of_thread.table(folder)
        if remembered.now != now:
            remembered.snapshot = DeltaSnapshot.of(folder, remembered.mirror.update(log))
            remembered.now = now
        return remembered.snapshot

    def create(self, schema: pa.Schema, partition: Partition) -> None:
        """Make a table without files. Raises: Conflict, OSError."""
        made = new_schema(schema, partition)
        DeltaSnapshot.create(self.folder, made, [name for name, _ in partition.keys])

    def has_type(self, type_: pa.DataType) -> bool:
        """Whether Delta has such a type, or one whose values look alike in a Parquet file."""
        return delta_type(type_) is not None

    def foreign(self) -> str | None:
        """What is in the folder. A log without a version counts as nothing."""
        if isinstance(self.folder, ObjectPath):
            below = (path.relative_to(self.folder).parts[0] for path in self.folder.below())
            return self._foreign(below)
        if not self.folder.is_dir():
            return f"{self.folder.name} is a file" if self.folder.exists() else None
        return self._foreign(path.name for path in self.folder.iterdir())

    def _foreign(self, names: Iterable[str]) -> str | None:
        is_used = any(name != LOG and not name.startswith(".") for name in names)
        return f"{LOG} is missing" if is_used else None

    def sync(self, before: Snapshot) -> None:
        """Write the log of later versions to the disk."""
        if isinstance(self.folder, ObjectPath) or (snapshot := self._loaded()) is None:
            return
        for later in range(before.version, snapshot.version + 1):
            with suppress(FileNotFoundError), open(local(snapshot.log_file(later)), "rb") as file:
                os.fsync(file.fileno())
        for folder in (self.folder / LOG, self.folder):
            sync_folder(folder)


def _log(folder: Path) -> tuple[object, ...] | None:
    """What tells the present log from an earlier one; None if there is none."""
    try:
        log = folder.stat()
        names = [path.name for path in folder.glob("*.json")]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return log.st_ino, log.st_mtime_ns, len(names), max(names, default="")
