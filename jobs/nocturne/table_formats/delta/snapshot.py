"""One version of a Delta table: its files by partition, and the commit that follows it."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from nocturne.errors import PublishError
from nocturne.objects import Location, ObjectPath, relative
from nocturne.objects.store import error_of, is_of_store
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.table_formats.delta.compatible import (
    delta_type,
    feature_problems,
    reading_problems,
    retention,
    schema_problems,
)
from nocturne.table_formats.delta.library import address, library, options
from nocturne.table_formats.delta.mirror import LOG
from nocturne.table_formats.lake import (
    Added,
    Change,
    Conflict,
    DataFile,
    Mark,
    Since,
    check_columns,
    folder_of,
    paths_of,
    typed,
)
from nocturne.table_formats.statistics import Statistics

__all__ = ["DeltaSnapshot"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_LONG = 100 * 365 * 86400.0
"""Seconds that are as good as for ever."""


class DeltaSnapshot:
    """A version of a table.

    Args:
        folder: the table's folder.
        table: the ``deltalake.DeltaTable`` that was loaded from it, or from a copy of its log.
    """

    def __init__(self, folder: Location, table: Any) -> None:
        self.folder = folder
        self.table = table
        self.version: int = table.version()

    @classmethod
    def of(cls, folder: Location, copy: Path | None = None) -> DeltaSnapshot | None:
        """The last version; None if there is no table.

        Args:
            copy: a folder with a copy of the table's log, which is read in its place.

        Raises:
            PublishError: the table can't be read.
            StoreUnavailable, ConfigError: the store does not answer, or refuses.
        """
        if copy is None and not (folder / LOG).is_dir():
            return None
        lake, place = library(), address(folder)
        try:
            with system_errors(folder):
                if copy is not None:
                    return cls(folder, lake.DeltaTable(str(copy)))
                return cls(folder, lake.DeltaTable(place, storage_options=options(folder)))
        except lake.exceptions.TableNotFoundError:
            return None
        except (lake.exceptions.DeltaError, OSError) as error:
            if isinstance(folder, ObjectPath) and is_of_store(error):
                raise error_of(folder, error) from None
            if isinstance(error, OSError):
                raise
            raise PublishError(
                f"the Delta table {folder} can't be read: {_first_line(error)}"
            ) from None

    @property
    def columns(self) -> list[str]:
        """The partition columns."""
        return list(self.table.metadata().partition_columns)

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema(self.table.schema().to_arrow())

    @property
    def configuration(self) -> Mapping[str, str]:
        """The table's properties."""
        return dict(self.table.metadata().configuration)

    def number(self, app: str) -> int | None:
        """The version of an application transaction; None if there is none."""
        number: int | None = self.table.transaction_version(app)
        return number

    # Files

    def values(self, partition: Partition) -> tuple[Any, ...]:
        """The partition's values, in the order and the types of the table's partition columns.

        Raises:
            Misfit: the table has other partition columns, or of types that don't fit.
        """
        texts = dict(partition.keys)
        fits = set(texts) == set(self.columns)
        check_columns(self._title, ", ".join(self.columns), fits, texts)
        return tuple(self._typed(name, texts[name]) for name in self.columns)

    @property
    def _title(self) -> str:
        return f"the Delta table {self.folder}"

    def _typed(self, name: str, text: str) -> Any:
        type_ = self.schema.field(name).type
        column = f"the partition column {name!r} of {self._title} is {type_}"
        return typed(column, name, type_, text)

    def files(self, partition: Partition) -> list[DataFile]:
        """The partition's files.

        Raises:
            Misfit: the table has other partition columns.
        """
        folder = folder_of(partition)
        return [
            DataFile(os.path.relpath(path, folder), size)
            for path, size in self._files.get(self.values(partition), ())
        ]

    def paths(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of the partitions that have files, from the folders of these."""
        found = (path for files in self._files.values() for path, _ in files)
        return paths_of(found, names)

    @cached_property
    def _files(self) -> dict[tuple[Any, ...], list[tuple[str, int]]]:
        """The values of the partition columns -> path and size of each file."""
        found: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
        columns = self.columns
        for action in pa.table(self.table.get_add_actions()).to_pylist():
            values = tuple(action["partition"][name] for name in columns) if columns else ()
            path = unquote(action["path"])  # the log has URIs
            if path.startswith("/") or _SCHEME.match(path):
                raise PublishError(
                    f"{self._title} has files outside of its folder ({path}), as a "
                    "shallow clone has. Have it copied (a deep clone)"
                )
            found.setdefault(values, []).append((path, action["size_bytes"]))
        return found

    # What it asks

    def reading_problems(self, partition: Partition) -> Iterator[str]:
        """Features that change what its files say."""
        return reading_problems(self)

    def problems(self, partition: Partition, schema: pa.Schema | None, whole: bool) -> list[str]:
        """Features that we lack, and columns that don't fit. Raises: Misfit."""
        self.values(partition)
        found = list(feature_problems(self))
        if schema is not None and not found:
            found += schema_problems(self, schema, whole=whole)
        return found

    def types(self) -> dict[str, pa.DataType]:
        """The table's columns with their types."""
        return {field.name: field.type for field in self.schema}

    def renamed(self, path: Location, fields: Sequence[pa.Field]) -> Iterator[str]:
        """None: without column mapping, names are all that files and readers have."""
        return iter(())

    @property
    def from_log(self) -> Sequence[str]:
        """All partition columns."""
        return self.columns

    def partition_values(self) -> Iterator[dict[str, Any]]:
        """The values by which the log has files."""
        return (dict(zip(self.columns, values, strict=True)) for values in self._files)

    def promised(self, partition: Partition, lineage: Sequence[Manifest]) -> set[str]:
        """Names of files that were replaced within the table's retention."""
        seconds = min(retention(self.configuration), _LONG)
        until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        return {
            file.path
            for later, earlier in pairwise(lineage)
            if dt.datetime.fromisoformat(later.published) > until
            for file in earlier.outputs
        }

    # The log

    def changes(self, partition: Partition, app: str, number: int) -> Since:
        """What happened to the partition since a commit of ours.

        Commits that only arrange rows in other files (``dataChange: false``, as OPTIMIZE makes
        them) are left out.

        Args:
            app, number: the application transaction of the commit to start from.
        """
        values = self.values(partition)
        found: list[Change] = []
        for version in range(self.version, -1, -1):
            try:
                text = self.log_file(version).read_bytes().decode()
            except FileNotFoundError:
                return Since(found, False)
            actions = [json.loads(line) for line in text.splitlines() if line]
            transactions = [action["txn"] for action in actions if "txn" in action]
            if any((t["appId"], t["version"]) == (app, number) for t in transactions):
                infos = (action.get("commitInfo", {}) for action in actions)
                ids = (info.get("nocturne.manifest") for info in infos)
                return Since(found, True, next((id_ for id_ in ids if id_), None))
            if any(self._changes(action, partition, values) for action in actions):
                found.append(_change(version, actions))
        return Since(found, False)

    def _changes(
        self, action: Mapping[str, Any], partition: Partition, values: tuple[Any, ...]
    ) -> bool:
        file = action.get("add") or action.get("remove")
        if not file or file.get("dataChange") is False:
            return False
        texts = file.get("partitionValues")
        if self.columns and not texts:  # a removal need not say of which partition
            return unquote(file["path"]).startswith(f"{folder_of(partition)}/")
        named = [(name, texts[name]) for name in self.columns]
        return tuple(None if t is None else self._typed(n, t) for n, t in named) == values

    def log_file(self, version: int) -> Location:
        """The file of the log with a version's commit."""
        return self.folder / LOG / f"{version:020d}.json"

    def replace(self, partition: Partition, files: Sequence[Added], mark: Mark) -> None:
        """Commit the next version, in which the partition has these files and no others.

        Nothing of it is checked: neither that the files exist nor what is in them.

        Raises:
            Conflict: it may have failed, or not.
            OSError: the disk is full or read-only.
        """
        only = [(name, "=", value) for name, value in partition.keys]
        self._write("overwrite", self._adds(partition, files), mark, partition_filters=only or None)

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Commit the next version, with more columns. Raises: as ``replace``."""
        lake = library()
        types = pa.schema([field.with_type(delta_type(field.type)) for field in fields])
        with _conflicts(self.folder):
            self._writable().alter.add_columns(
                lake.Schema.from_arrow(types).fields,
                commit_properties=lake.CommitProperties(max_commit_retries=0),
            )

    def mark(self, mark: Mark) -> None:
        """Commit the next version, with the same files. Raises: as ``replace``."""
        self._write("append", [], mark)

    def _adds(self, partition: Partition, files: Iterable[Added]) -> list[Any]:
        from deltalake.transaction import AddAction

        values, root = dict(partition.keys), self.folder
        return [
            AddAction(
                relative(file.path, root),
                file.size,
                values,
                file.time,
                True,
                _as_json(file.statistics),
            )
            for file in files
        ]

    def _write(self, mode: str, adds: list[Any], mark: Mark, **options: Any) -> None:
        with _conflicts(self.folder):
            self._writable().create_write_transaction(
                adds,
                mode,
                self.table.schema(),
                self.columns,
                commit_properties=_properties(mark),
                **options,
            )

    def _writable(self) -> Any:
        """The table at this version, at its own place."""
        if not isinstance(self.folder, ObjectPath):
            return self.table
        place, how = address(self.folder), options(self.folder)
        return library().DeltaTable(place, version=self.version, storage_options=how)

    @staticmethod
    def create(folder: Location, schema: pa.Schema, columns: Sequence[str]) -> None:
        """Make a table without files, partitioned by ``columns``, unless there is one.

        Raises:
            Conflict: it may have failed, or not.
            OSError: the disk is full or read-only.
        """
        lake = library()
        with _conflicts(folder):
            lake.DeltaTable.create(
                address(folder),
                lake.Schema.from_arrow(schema),
                mode="ignore",
                partition_by=list(columns),
                storage_options=options(folder),
                commit_properties=lake.CommitProperties(max_commit_retries=0),
            )


def _as_json(statistics: Statistics) -> str:
    """The statistics as the log has them, days as 2013-04-01."""
    return json.dumps(
        {
            "numRecords": statistics.rows,
            "nullCount": statistics.nulls,
            "minValues": statistics.smallest,
            "maxValues": statistics.largest,
        },
        default=dt.date.isoformat,
    )


def _properties(mark: Mark) -> Any:
    """Without the library's retries: it would retry where another writer came between."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        custom_metadata={"nocturne.manifest": mark.manifest_id},
        max_commit_retries=0,
        app_transactions=[Transaction(mark.app, mark.number)],
    )


def _change(version: int, actions: Iterable[Mapping[str, Any]]) -> Change:
    infos = [action["commitInfo"] for action in actions if "commitInfo" in action]
    info: Mapping[str, Any] = infos[0] if infos else {}
    by = info.get("userName") or info.get("engineInfo") or info.get("clientVersion") or "somebody"
    at = dt.datetime.fromtimestamp(info.get("timestamp", 0) / 1000, dt.UTC)
    return Change(
        version, str(info.get("operation", "a commit")), str(by), at.isoformat(timespec="seconds")
    )


@contextmanager
def _conflicts(folder: Location) -> Iterator[None]:
    lake = library()
    try:
        with system_errors(folder):
            yield
    except (lake.exceptions.DeltaError, OSError) as error:
        if isinstance(folder, ObjectPath) and is_of_store(error):
            raise error_of(folder, error) from error
        if isinstance(error, OSError):
            raise
        raise Conflict(_first_line(error)) from error


@contextmanager
def system_errors(folder: Location) -> Iterator[None]:
    """Raises the library's errors of the system, such as a full disk, as OSError."""
    try:
        yield
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or isinstance(folder, ObjectPath):
            raise
        code = int(number[1])
        if code == errno.EEXIST:  # another commit came first
            raise
        raise OSError(code, os.strerror(code), str(folder)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
