"""Paths of objects, with those methods of ``pathlib.Path`` that make sense in a store.

An ``ObjectPath`` is no ``os.PathLike``, so ``open`` and ``Path`` refuse it: ``Path("s3://b/x")``
would be the relative path ``s3:/b/x``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from nocturne.errors import ConfigError, InputChanged

if TYPE_CHECKING:
    from nocturne.objects.reading import ObjectFile

__all__ = [
    "SCHEMES",
    "Location",
    "ObjectPath",
    "Stat",
    "is_uri",
    "is_within",
    "joined",
    "leading",
    "local",
    "location",
    "relative",
    "size_of",
]

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_URI = re.compile(rf"({'|'.join(SCHEMES)})://")
_NAME = r"[^/?#@:\s]+"
_PARTS = re.compile(
    rf"(?P<root>({'|'.join(SCHEMES[:3])})://{_NAME}|abfss?://{_NAME}@{_NAME})(/(?P<key>.*))?",
    re.DOTALL,
)


class Stat(NamedTuple):
    """What a store says of an object. ``tag`` is its ETag: another one for other bytes."""

    st_size: int
    st_mtime_ns: int
    tag: str

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9


@dataclass(frozen=True)
class ObjectPath:
    """The path of an object, or a prefix of paths that is used like a folder.

    Attributes:
        root: the bucket or container, ``s3://bucket``.
        key: the names below it, without a slash at either end; "" for the bucket.
        stat_: size, time and tag of the object that is meant. Then reads give that object's bytes,
            or raise InputChanged.
    """

    root: str
    key: str = ""
    stat_: Stat | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, uri: str) -> ObjectPath:
        """Raises: ValueError if it is no URI of an object store, or has an empty name in it."""
        parts = _PARTS.fullmatch(uri)
        if parts is None:
            raise ValueError(
                "expected s3://bucket/folder, gs://bucket/folder, az://container/folder, or "
                "abfs://container@account.dfs.core.windows.net/folder; credentials belong in the "
                "environment"
            )
        key = (parts["key"] or "").rstrip("/")
        if any(name in ("", ".", "..") for name in key.split("/")) and key:
            raise ValueError("it has an empty name, '.' or '..', which stores take as they are")
        return cls(parts["root"], key)

    def pinned(self, stat: Stat) -> ObjectPath:
        """The path of this very object."""
        return replace(self, stat_=stat)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, name: str) -> ObjectPath:
        """The path of a name in it; ``..`` leads up, since no object is called so."""
        parts = self.key.split("/") if self.key else []
        for part in name.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        return ObjectPath(self.root, "/".join(parts))

    def __lt__(self, other: ObjectPath) -> bool:
        return self.parts < other.parts

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket and the names, by which paths are sorted, as those of files are."""
        return self.root, *self.key.split("/")

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> ObjectPath:
        """The path of another name beside it."""
        return self.parent / name

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.root, self.key.rpartition("/")[0])

    @property
    def parents(self) -> list[ObjectPath]:
        """The prefixes above it, the bucket last."""
        found, path = [], self
        while path.key:
            path = path.parent
            found.append(path)
        return found

    def is_relative_to(self, other: Location) -> bool:
        return other == self or other in self.parents

    def relative_to(self, other: Location) -> PurePosixPath:
        """Raises: ValueError if it is not below the other."""
        if not (isinstance(other, ObjectPath) and self.is_relative_to(other)):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self.key[len(other.key) :].lstrip("/"))

    # What the store says

    def stat(self) -> Stat:
        """Raises: FileNotFoundError, StoreUnavailable, ConfigError."""
        from nocturne.objects.store import stat

        return stat(self)

    def is_file(self) -> bool:
        """Whether there is such an object. Raises: StoreUnavailable, ConfigError."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is an object below it. Raises: StoreUnavailable, ConfigError."""
        return next(self.below(), None) is not None

    def exists(self) -> bool:
        """Whether it is an object, or one is below it. Raises: StoreUnavailable, ConfigError."""
        return self.is_file() or self.is_dir()

    def below(self) -> Iterator[ObjectPath]:
        """Every object below it, pinned, in any order. Raises: StoreUnavailable, ConfigError."""
        from nocturne.objects.store import below

        return below(self)

    def iterdir(self) -> Iterator[ObjectPath]:
        """The objects directly in it, pinned. Raises: StoreUnavailable, ConfigError."""
        from nocturne.objects.store import entries

        return iter(entries(self)[1])

    def folders(self) -> list[ObjectPath]:
        """The folders directly in it, sorted. Raises: StoreUnavailable, ConfigError."""
        from nocturne.objects.store import entries

        return entries(self)[0]

    def open(self, *, whole: bool = False) -> ObjectFile:
        """The object, to read parts of it, or all from its start to its end (``whole``).

        Raises: as ``read_bytes``.
        """
        from nocturne.objects.reading import ObjectFile

        file = ObjectFile(self if self.stat_ else self.pinned(self.stat()))
        if whole:
            file.will_need([(0, file.size)])
        return file

    def read_bytes(self) -> bytes:
        """Its bytes.

        Raises:
            FileNotFoundError: there is no such object.
            InputChanged: it is pinned, and another one or none is there.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        from nocturne.objects.store import content

        return content(self)

    # Writing

    def write_bytes(self, data: bytes, *, exclusive: bool = False) -> bool:
        """Write an object, whole or not at all.

        Args:
            exclusive: the first writer wins; otherwise the last writer wins.

        Returns:
            False if ``exclusive`` and another object was there already (it is not changed).

        Raises:
            StoreUnavailable: the store does not answer; the object may be there.
            ConfigError: the store refuses.
        """
        from nocturne.objects.store import write

        return write(self, data, exclusive=exclusive)

    def copy(self, source: ObjectPath) -> None:
        """Write an object with the bytes of another, within a bucket without reading it.

        Raises:
            FileNotFoundError: there is no such object.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        from nocturne.objects.store import copy

        copy(source, self)

    def upload(self, source: Path) -> None:
        """Write an object with the bytes of a file; it is there whole, or not at all.

        An object that is there already is replaced.

        Raises:
            FileNotFoundError: there is no such file.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        from nocturne.objects.store import upload

        upload(self, source)

    def unlink(self) -> None:
        """Remove the object, if there is one. Raises: StoreUnavailable, ConfigError."""
        from nocturne.objects.store import remove

        remove(self)

    def remove_tree(self) -> None:
        """Remove every object below it. Raises: StoreUnavailable, ConfigError."""
        from nocturne.objects.store import remove_all

        remove_all([*self.below()])

    def changed(self) -> InputChanged:
        """The error for a pinned object that is no longer there."""
        return InputChanged(
            f"{self} was replaced or deleted after planning (its ETag): nothing of it was "
            "published. Run the partition again",
            path=str(self),
        )


Location = Path | ObjectPath
"""Where something lies: a path of the file system, or of an object store."""


def is_uri(text: str) -> bool:
    """Whether it is a URI of an object store."""
    return _URI.match(text) is not None


def is_within(inner: Location, outer: Location) -> bool:
    """Whether a location is another one, or lies below it."""
    if isinstance(inner, Path):
        return isinstance(outer, Path) and inner.is_relative_to(outer)
    return inner.is_relative_to(outer)


def relative(path: Location, folder: Location) -> str:
    """The names that lead from a folder to a location below it. Raises: ValueError."""
    if isinstance(path, ObjectPath):
        return path.relative_to(folder).as_posix()
    return path.relative_to(local(folder)).as_posix()


def leading(path: Location, folder: Location) -> str:
    """The names that lead from a folder to a location, which may lie beside it (``../x``).

    Raises:
        ValueError: they are in two places: a store and a file system, or two buckets.
    """
    if isinstance(path, ObjectPath) and isinstance(folder, ObjectPath) and path.root == folder.root:
        return os.path.relpath(f"/{path.key}", f"/{folder.key}")
    if isinstance(path, ObjectPath) or isinstance(folder, ObjectPath):
        raise ValueError(f"{path} is in another place than {folder}")
    return os.path.relpath(path, folder)


def joined(folder: Location, name: str) -> Location:
    """The location of a relative name, which may lead up (``../x``)."""
    path = folder / name
    return path if isinstance(path, ObjectPath) else Path(os.path.normpath(path))


def size_of(path: Location) -> int:
    """The size in bytes: as it was listed, or as it is now. Raises: FileNotFoundError."""
    return ((isinstance(path, ObjectPath) and path.stat_) or path.stat()).st_size


def local(path: Location) -> Path:
    """A path for what reads local files only. Raises: ConfigError if it is in an object store."""
    if isinstance(path, ObjectPath):
        raise ConfigError(f"{path} is in an object store, and is needed as a local file; copy it")
    return path


def location(text: str) -> Location:
    """A stored or configured path. Raises: ValueError if a URI is wrong."""
    return ObjectPath.of(text) if is_uri(text) else Path(text)
