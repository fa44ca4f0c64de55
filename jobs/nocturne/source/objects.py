"""An input of folders in an object store, whose files are what a listing has below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from nocturne.errors import InputError
from nocturne.objects import ObjectPath
from nocturne.objects.store import check_conditions, check_reading
from nocturne.records.partition import Partition
from nocturne.source.lakes import hive_acid, refuse_lake, refuse_names
from nocturne.source.protocol import Listing
from nocturne.source.walk import hidden, judge

__all__ = ["InputObjects"]


@dataclass(frozen=True)
class InputObjects:
    """The folders below ``root``, as ``InputFolders`` has them on a file system.

    Each object is pinned to the version that the listing had.
    """

    root: ObjectPath
    _plain: set[ObjectPath] = field(default_factory=set, repr=False, compare=False)

    def exists(self) -> bool:
        """Whether there is an object. Raises: StoreUnavailable, ConfigError."""
        check_reading(self.root)
        return self.root.is_dir()

    def folder(self, partition: Partition) -> ObjectPath:
        """The folder of a partition."""
        return self.root / partition.path if partition.keys else self.root

    def has(self, partition: Partition) -> bool:
        """Whether an object is in its folder. Raises: InputError, StoreUnavailable, ConfigError."""
        folder = self.folder(partition)
        self._refuse_lake(folder)
        return folder.is_dir()

    def _refuse_lake(self, folder: ObjectPath) -> None:
        """``refuse_lake``, which takes some requests, once for a folder."""
        if folder not in self._plain:
            refuse_lake(folder)
            self._plain.add(folder)

    def listing(self, partition: Partition) -> Listing:
        """The data files of its folder, from one listing.

        Raises:
            InputError, NotReady: as ``walk.data_files``.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        folder = self.folder(partition)
        self._refuse_lake(folder)
        found = list(folder.below())
        if not found:
            raise InputError(f"{folder} is not there; check input.path", path=str(folder))
        counts = Counter(path.key for path in found)
        if twice := [key for key, count in counts.items() if count > 1]:
            raise InputError(
                f"{folder.root}/{twice[0]} is there {counts[twice[0]]} times, under keys with "
                "several slashes. Remove one of them"
            )
        files = sorted(_data(folder, found))
        check_conditions(files)
        return Listing(folder, files)

    def is_marked(self, partition: Partition) -> bool:
        """Whether its folder has an object ``_SUCCESS``. Raises: StoreUnavailable, ConfigError."""
        return (self.folder(partition) / "_SUCCESS").is_file()

    def neighbours(self, partition: Partition) -> Iterator[str]:
        """Names of the folders beside it."""
        return (p.name for p in self.folder(partition).parent.folders() if "=" in p.name)

    def partitions(self, key_formats: Mapping[str, str]) -> Iterator[str]:
        """The folders of partitions, the last first. Raises: StoreUnavailable, ConfigError."""
        return _partitions(self.root, list(key_formats))


def _partitions(folder: ObjectPath, names: list[str]) -> Iterator[str]:
    if not names:
        return
    for inner in reversed(folder.folders()):
        if inner.name.startswith(f"{names[0]}="):
            if len(names) == 1:
                yield inner.name
            else:
                yield from (f"{inner.name}/{rest}" for rest in _partitions(inner, names[1:]))


def _data(folder: ObjectPath, found: list[ObjectPath]) -> list[ObjectPath]:
    """The data files among the objects below a folder. Raises: InputError, NotReady."""
    objects: dict[ObjectPath, dict[str, ObjectPath]] = {}
    folders: dict[ObjectPath, set[str]] = {}
    for path in found:
        objects.setdefault(path.parent, {})[path.name] = path
        inner = path.parent
        while inner != folder and inner.name not in folders.setdefault(inner.parent, set()):
            folders[inner.parent].add(inner.name)
            inner = inner.parent
    data, pending = list[ObjectPath](), [folder]
    while pending:
        inner = pending.pop()
        here, inside = objects.get(inner, {}), folders.get(inner, set())
        here = _without_markers(inner, here, inside)
        refuse_names(inner, {*here, *inside}, objects.get(inner / "metadata", ()))
        files, below = _entries(inner, here, inside)
        data += files
        pending += [inner / name for name in below]
    return data


def _without_markers(
    folder: ObjectPath, objects: Mapping[str, ObjectPath], folders: Collection[str]
) -> dict[str, ObjectPath]:
    """The objects without those that only say that there is a folder, as consoles make them.

    Their keys end with a slash, which a listing of all that is below has not. The store is asked
    again only if a name may be theirs.

    Raises:
        InputError: such an object has bytes.
    """
    may_be = {
        name
        for name, path in objects.items()
        if name not in folders and not hidden(name) and (_is_empty(path) or "." not in name)
    }
    marked = may_be & {path.name for path in folder.folders()} if may_be else set()
    for name in sorted(marked):
        if not _is_empty(objects[name]):
            raise InputError(
                f"{objects[name]}/ is an object with bytes whose key ends with a slash, so it "
                "can't be read. Rename it, or remove it"
            )
    return {name: path for name, path in objects.items() if name not in marked}


def _entries(
    folder: ObjectPath, objects: Mapping[str, ObjectPath], folders: Collection[str]
) -> tuple[list[ObjectPath], list[str]]:
    """The data files directly in a folder, and the names of the folders that may have some."""
    files, below = list[ObjectPath](), list[str]()

    def problem(name: str) -> str | None:
        if name in folders:
            below.append(name)
        path = objects.get(name)
        if path is not None and not _is_marker(path, name in folders):
            files.append(path)
        return hive_acid(name) if name in folders else None

    judge(folder, sorted({*folders, *objects}), folders.__contains__, problem)
    return files, below


def _is_marker(path: ObjectPath, is_folder: bool) -> bool:
    """Whether an object only says that there is a folder, as consoles and Hadoop make them."""
    return _is_empty(path) and (is_folder or path.name.endswith("_$folder$"))


def _is_empty(path: ObjectPath) -> bool:
    return path.stat_ is not None and not path.stat_.st_size
