"""The data files of a lake table, in a folder of a local file system or in an object store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nocturne.objects import Location, ObjectPath, local
from nocturne.objects.store import check_creating
from nocturne.objects.together import TRANSFERS, together
from nocturne.store.files import check_links, children, place, sync_folder
from nocturne.table_formats.protocol import gone

__all__ = ["Files", "files_of"]


class Files(Protocol):
    """What publishing does with data files. Readers see none of them before a commit names them."""

    def check(self) -> None:
        """Test what commits need.

        Raises:
            PublishError: the file system, or the store, lacks it.
            OSError: a folder can't be written.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """

    def put(self, files: Mapping[Location, Location], folder: Location) -> None:
        """Make files with the bytes of others, and keep them through a power failure.

        They have the time of now: VACUUM removes files that are old and in no version.

        Args:
            files: target -> source, all targets in the folder.

        Raises:
            StateError: a source does not exist.
        """

    def existing(self, paths: Sequence[Location]) -> list[Location | None]:
        """The files, objects as they are now (pinned); None for those that do not exist."""

    def inside(self, folder: Location) -> Iterator[Location]:
        """The files directly in a folder, sorted."""

    def half_made(self, folders: Iterable[Location]) -> Iterator[Location]:
        """What a killed publish, or a killed test, left in or beside the table.

        Args:
            folders: those of the partitions.
        """


def files_of(folder: Location) -> Files:
    """The files of the table in a folder."""
    return StoreFiles(folder) if isinstance(folder, ObjectPath) else LocalFiles(folder)


class LocalFiles:
    """Files on a local file system: links to those of the attempts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> None:
        check_links(self._folder)

    def put(self, files: Mapping[Location, Location], folder: Location) -> None:
        local(folder).mkdir(parents=True, exist_ok=True)
        for target, source in files.items():
            if not source.exists():
                raise gone(source)
            place(source, target)
            os.utime(local(target))
        sync_folder(local(folder))

    def existing(self, paths: Sequence[Location]) -> list[Location | None]:
        return [path if path.is_file() else None for path in paths]

    def inside(self, folder: Location) -> Iterator[Location]:
        yield from children(local(folder))

    def half_made(self, folders: Iterable[Location]) -> Iterator[Location]:
        for folder in (self._folder, self._folder.parent):
            yield from sorted(folder.glob(".nocturne-*"))
        for inner in folders:
            for pattern in (".*.tmp", ".garbage-*"):
                yield from sorted(local(inner).glob(pattern))


class StoreFiles:
    """Objects: uploaded, or copied from the attempts, each there whole or not at all."""

    def __init__(self, folder: ObjectPath) -> None:
        self._folder = folder

    def check(self) -> None:
        check_creating(self._folder)

    def put(self, files: Mapping[Location, Location], folder: Location) -> None:
        def put(target: Location, source: Location) -> None:
            try:
                place(source, target)
            except FileNotFoundError:
                raise gone(source) from None

        moved = {target: source for target, source in files.items() if target != source}
        together(put, moved, moved.values(), at_once=TRANSFERS)

    def existing(self, paths: Sequence[Location]) -> list[Location | None]:
        """From one listing of each folder."""
        found: dict[Location, Location] = {}
        for folder in {path.parent for path in paths}:
            found |= {path: path for path in _objects(folder)}
        return [found.get(path) for path in paths]

    def inside(self, folder: Location) -> Iterator[Location]:
        return iter(sorted(path for path in _objects(folder) if path.parent == folder))

    def half_made(self, folders: Iterable[Location]) -> Iterator[Location]:
        return (path for path in self.inside(self._folder) if path.name.startswith(".nocturne-"))


def _objects(folder: Location) -> Iterator[ObjectPath]:
    assert isinstance(folder, ObjectPath)
    return folder.below()
