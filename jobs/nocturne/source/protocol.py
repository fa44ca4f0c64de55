"""The sources that a pipeline reads. A source is looked at before anything is scored."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from nocturne.encoding import Encoding
from nocturne.objects import Location, ObjectPath
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, Piece, Query

__all__ = ["InputTable", "Listing", "Needs", "Seen", "Source", "file_name"]


def _no_problems(columns: Collection[str], of_paths: Mapping[str, pa.DataType]) -> list[str]:
    return []


@dataclass(frozen=True)
class Listing:
    """The data files of a partition.

    Attributes:
        folder: the folder that the files' names are relative to.
        version: what the table calls the version that has these files; "" without versions.
        problems: what keeps columns from being read as the table's readers see them. Its arguments
            are their names, and the types of those that are taken from the files' paths.
    """

    folder: Location
    files: Sequence[Location]
    version: str = ""
    problems: Callable[[Collection[str], Mapping[str, pa.DataType]], list[str]] = _no_problems


def file_name(path: Location, folder: Location) -> str:
    """What a plan calls a file: its path from the folder, which need not contain it.

    Raises:
        ValueError: an object is not in the folder.
    """
    if isinstance(path, ObjectPath):
        return path.relative_to(folder).as_posix()
    return Path(os.path.relpath(path, str(folder))).as_posix()


class InputTable(Protocol):
    """The table that a pipeline reads: a folder of folders, or a lake table."""

    def exists(self) -> bool:
        """Whether there is a table.

        Raises:
            NocturneError: it can't be read, or its store ignores conditions.
        """

    def folder(self, partition: Partition) -> Location:
        """The folder that the names of the partition's files are relative to."""

    def has(self, partition: Partition) -> bool:
        """Whether there is such a partition.

        Raises:
            InputError: the table or the partition can't be read.
        """

    def listing(self, partition: Partition) -> Listing:
        """The partition's data files, sorted.

        Raises:
            InputError: the partition can't be read, or something in it is neither data nor hidden.
            NotReady: files are being written.
        """

    def is_marked(self, partition: Partition) -> bool:
        """Whether its writer has marked it as complete (``_SUCCESS``)."""

    def neighbours(self, partition: Partition) -> Iterator[str]:
        """Names of partitions that exist, for a message."""

    def partitions(self, key_formats: Mapping[str, str]) -> Iterator[str]:
        """Paths of the partitions, ``ds=2013-04-01/hour=05``, the last first.

        Args:
            key_formats: ``input.partition``, key -> strftime format or fixed value, in path order.

        Raises:
            NocturneError: the table can't be read.
        """


@dataclass(frozen=True)
class Needs:
    """What a run needs from the input.

    Attributes:
        encoding: names the features.
        columns: keys and passthrough columns.
        expected: columns that expectations read.
        counted: whether these expectations are counted while the rows are scored.
        unique: keys that are checked for duplicates.
    """

    encoding: Encoding
    columns: tuple[str, ...]
    expected: tuple[str, ...] = ()
    counted: bool = False
    unique: tuple[str, ...] = ()

    @property
    def read(self) -> set[str]:
        """The columns that are read for the model and the output."""
        return {*self.encoding.columns, *self.columns}


@dataclass(frozen=True)
class Seen:
    """The content of a source for one partition.

    Attributes:
        files: the files with their fingerprints, in the order in which they are read.
        pieces: the pieces that become splits.
        schema: the schema of the rows; None if only Spark knows it, when it scores.
        types: types of columns that have no type in some files.
        paths: Parquet files from which a sample or footers can be read.
        rows: the number of rows, as far as it is known.
        path_keys: keys of the files' paths that are read as columns.
        path_columns: these columns, one row for each file.
        inferred_types: file -> column -> the type that it has from other files or from its path.
        counted: whether expectations are counted while the rows are scored.
        query: the query that Spark reads; None if the workers read the files themselves.
        version: what the table calls the version that was looked at; "" without versions.
        folder: what the files' names are relative to; None if Spark reads them.
    """

    files: tuple[InputFile, ...]
    pieces: Sequence[Piece]
    schema: pa.Schema | None = None
    types: pa.Schema = field(default_factory=lambda: pa.schema([]))
    paths: Sequence[Location] = ()
    rows: int = 0
    path_keys: tuple[str, ...] = ()
    path_columns: pa.RecordBatch | None = None
    inferred_types: dict[str, dict[str, str]] = field(default_factory=dict)
    counted: bool = False
    query: Query | None = None
    version: str = ""
    folder: Location | None = None

    @property
    def size(self) -> str:
        """The size in words, for messages."""
        if self.query is not None:
            return f"{len(self.files)} files"
        return f"{self.rows} rows in {len(self.pieces)} splits"


class Source(Protocol):
    """One partition of the input, as one reader sees it."""

    def look(self, needs: Needs) -> Seen:
        """The content of the input, once it is known to fit.

        Raises:
            InputError: the input is missing, empty or damaged, or does not fit the needs.
            InputChanged: files are being written.
        """
