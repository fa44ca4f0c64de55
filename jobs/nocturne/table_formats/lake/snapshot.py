"""One version of a lake table, and the commit that follows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote

import pyarrow as pa

from nocturne.objects import Location
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.table_formats.statistics import Statistics

__all__ = [
    "Added",
    "Change",
    "Conflict",
    "DataFile",
    "Mark",
    "Misfit",
    "Since",
    "Snapshot",
    "app_of",
    "check_columns",
    "folder_of",
    "paths_of",
    "twice",
    "typed",
]


class Misfit(Exception):
    """A partition that the table can't have: its columns are others, or of other types."""


class Conflict(Exception):
    """Another commit came first, or the answer of ours was lost."""


@dataclass(frozen=True)
class DataFile:
    """A file of a partition; ``name`` is relative to the partition's folder."""

    name: str
    size: int


@dataclass(frozen=True)
class Added:
    """A file that a commit adds, with the time of its last change in milliseconds."""

    path: Location
    size: int
    time: int
    statistics: Statistics


@dataclass(frozen=True)
class Mark:
    """The number of a commit under the name ``app``, and the manifest, for people."""

    app: str
    number: int
    manifest_id: str


@dataclass(frozen=True)
class Change:
    """A commit that changed rows of a partition."""

    version: int
    operation: str
    by: str
    at: str

    def __str__(self) -> str:
        return f"version {self.version}: {self.operation} by {self.by}, {self.at}"


@dataclass(frozen=True)
class Since:
    """What a table knows of a partition since a commit of ours.

    Attributes:
        changes: later commits that changed rows of the partition, the last first.
        is_known: whether the table still has all since that commit.
        manifest_id: of the manifest that the commit names; None if it is not known any more.
    """

    changes: list[Change]
    is_known: bool
    manifest_id: str | None = None


def folder_of(partition: Partition) -> str:
    """The partition's folder below the table's data, quoted: ``ds=2013-04-01/place=a%20b``.

    It is "." for an unpartitioned table. The log decides which partition a file belongs to, and
    for Delta tables polars the folder's name (2.1).
    """
    return "/".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in partition.keys) or "."


def paths_of(files: Iterable[str], names: Sequence[str]) -> Iterator[str]:
    """Paths of partitions, ``ds=2013-04-01/hour=05``, from the folders of their files.

    Args:
        files: paths below the table's data.
        names: the partition keys, in path order; folders with others are left out.
    """
    for folder in {path.rpartition("/")[0] for path in files}:
        parts = [part.partition("=") for part in folder.split("/")]
        if [name for name, _, _ in parts] == list(names):
            yield "/".join(f"{name}={unquote(value)}" for name, _, value in parts)


def check_columns(title: str, by: str, fits: bool, texts: Mapping[str, str]) -> None:
    """Raises: Misfit if a table is not partitioned as the input is.

    Args:
        by: the table's partition columns, for the message.
        texts: the values of ``input.partition``.
    """
    if not fits:
        raise Misfit(
            f"{title} is partitioned by {by or 'nothing'}, input.partition by "
            f"{', '.join(texts) or 'nothing'}"
        )


def typed(column: str, name: str, type_: pa.DataType, text: str) -> Any:
    """A partition's value in the type of its column.

    Args:
        column: what a message calls the column, with its type.

    Raises:
        Misfit: it is no such value.
    """
    try:
        return pa.scalar(text).cast(type_).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Misfit(
            f"{column}, and {text!r} is no such value: input.partition needs another format of "
            f"{name!r}"
        ) from None


def twice(files: Iterable[DataFile]) -> list[str]:
    """What is wrong with files that a partition has more than once; readers read them so often."""
    counts = Counter(file.name for file in files)
    return [f"it has the file {name} {n} times" for name, n in counts.items() if n > 1]


def app_of(path: str) -> str:
    """The name under which a partition's number is stored, from its path in the state."""
    return f"nocturne/{path}"


class Snapshot(Protocol):
    """A version of a table."""

    version: int

    def number(self, app: str) -> int | None:
        """The last number that was stored under a name; None if there is none."""

    def files(self, partition: Partition) -> list[DataFile]:
        """The partition's files.

        Raises:
            Misfit: the table has other partition columns, or of types that don't fit.
            PublishError: what the table knows of its files can't be read.
        """

    def changes(self, partition: Partition, app: str, number: int) -> Since:
        """What happened to the partition since a commit of ours.

        Commits that only arrange rows in other files are left out.

        Args:
            app, number: the mark of the commit to start from.
        """

    def reading_problems(self, partition: Partition) -> Iterator[str]:
        """Features of the table that change what the partition's files say to readers."""

    def problems(self, partition: Partition, schema: pa.Schema | None, whole: bool) -> list[str]:
        """What the table asks of its writers that we don't do, and columns that don't fit.

        Args:
            schema: of the scores; None: only the table itself is looked at.
            whole: whether both need the same columns; else the types of those are compared that
                both have.

        Raises:
            Misfit: the table has other partition columns, or of types that don't fit.
        """

    def promised(self, partition: Partition, lineage: Sequence[Manifest]) -> set[str]:
        """Names of replaced files that the table promises to readers of its older versions.

        Args:
            lineage: the manifests that were in force, the last first.
        """

    def types(self) -> dict[str, pa.DataType]:
        """The table's columns with their types."""

    def renamed(self, path: Location, fields: Sequence[pa.Field]) -> Iterator[str]:
        """Columns of a file, among ``fields``, that readers do not find under their names."""

    @property
    def from_log(self) -> Sequence[str]:
        """Partition columns whose values readers have from the log, whatever is in the files."""

    def partition_values(self) -> Iterator[dict[str, Any]]:
        """The values of the partition columns, by name, of each partition that has files."""

    def paths(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of partitions that have files, ``ds=2013-04-01/hour=05``, in any order.

        Args:
            names: the partition keys, in path order; of a table with others there are none.
        """

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Commit a version with more columns, which may be null.

        Raises:
            Conflict, StoreUnavailable: it may have failed, or not.
            OSError: the disk is full or read-only.
        """

    def replace(self, partition: Partition, files: Sequence[Added], mark: Mark) -> None:
        """Commit the next version, in which the partition has these files and no others.

        Nothing of it is checked: neither that the files exist nor what is in them.

        Raises:
            Conflict, StoreUnavailable: it may have failed, or not.
            OSError: the disk is full or read-only.
            ConfigError: the store refuses; nothing was done.
        """

    def mark(self, mark: Mark) -> None:
        """Commit the next version, with the same files. Raises: as ``replace``."""
