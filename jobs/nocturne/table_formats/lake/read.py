"""An input that is a lake table: its log or catalog decides which files are in a partition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import lake_type, published_type
from nocturne.errors import InputChanged, InputError, PublishError
from nocturne.objects import Location, ObjectPath, is_within, joined
from nocturne.objects.store import check_conditions, check_reading
from nocturne.records.partition import Partition
from nocturne.source.protocol import Listing
from nocturne.source.reading import read_schema
from nocturne.table_formats.lake.snapshot import DataFile, Misfit, Snapshot, folder_of, twice
from nocturne.table_formats.lake.table import LakeTable

__all__ = ["LakeInput"]

_WIDTHS = {"%Y": 4, "%G": 4, "%j": 3, "%u": 1}
"""Digits that a strftime code gives; others give two."""


@dataclass(frozen=True)
class LakeInput:
    """A table that is read, one version at a time."""

    table: LakeTable

    def exists(self) -> bool:
        """Whether there is a table. Raises: InputError, StoreUnavailable, ConfigError."""
        if isinstance(self.table.data, ObjectPath):
            check_reading(self.table.data)
        with self._reading():
            return self.table.snapshot() is not None

    def folder(self, partition: Partition) -> Location:
        """The folder where a writer puts the partition's files, unless it has a reason not to."""
        return self.table.data / folder_of(partition)

    def has(self, partition: Partition) -> bool:
        """Whether the last version has files of the partition. Raises: InputError."""
        snapshot = self._snapshot()
        return snapshot is not None and bool(self._files(snapshot, partition))

    def listing(self, partition: Partition) -> Listing:
        """The partition's files in the last version.

        Raises:
            InputError: there is no such table, or what its files say is not what readers see.
            InputChanged: a file is gone that the table no longer has either.
            ConfigError: its store ignores conditions.
        """
        snapshot = self._snapshot()
        if snapshot is None:
            raise InputError(
                f"{self.table.title} does not exist. Correct input.path, or input.format",
                path=str(self.table.folder),
            )
        files = self._files(snapshot, partition)
        with self._reading():
            problems = [*snapshot.reading_problems(partition), *twice(files)]
        usual = self.folder(partition)
        if problems:
            raise InputError(
                f"partition {partition.key} of {self.table.title} can't be scored: "
                f"{'; '.join(problems[:5])}. Have it rewritten without that, or have the rows "
                "written into a table of their own",
                path=str(usual),
            )
        paths = self._found(snapshot, partition, [joined(usual, file.name) for file in files])
        return Listing(
            _common(usual, paths),
            paths,
            f"{self.table.format} version {snapshot.version}",
            partial(_column_problems, snapshot, paths),
        )

    def _found(
        self, snapshot: Snapshot, partition: Partition, paths: Sequence[Location]
    ) -> list[Location]:
        """The files, objects pinned. Raises: InputError, InputChanged if one is missing."""
        found = self.table.files.existing(paths)
        missing = [path for path, there in zip(paths, found, strict=True) if there is None]
        if not missing:
            check_conditions(path for path in found if isinstance(path, ObjectPath))
            return sorted((path for path in found if path), key=lambda path: path.parts)
        self.table.refresh()
        now = self._snapshot()
        if now is not None and now.version != snapshot.version:
            raise InputChanged(
                f"{missing[0]} was cleaned away, as {self.table.title} has a new version; run the "
                "partition again"
            )
        raise InputError(
            f"{self.table.title} names {len(missing)} files of partition {partition.key} that are "
            f"not there ({missing[0]}). Restore them, or have the partition written again",
            path=str(missing[0]),
        )

    def is_marked(self, partition: Partition) -> bool:
        """Always: what was committed is complete."""
        return True

    def neighbours(self, partition: Partition) -> Iterator[str]:
        """Paths of the partitions that have files."""
        return self.partitions({name: "" for name, _ in partition.keys})

    def partitions(self, key_formats: Mapping[str, str]) -> Iterator[str]:
        """Paths of the partitions that have files, the last first. Raises: InputError."""
        with self._reading():
            snapshot = self.table.snapshot()
            found = [] if snapshot is None else list(snapshot.partition_values())
        paths = {
            "/".join(f"{name}={_text(values[name], how)}" for name, how in key_formats.items())
            for values in found
            if set(values) == set(key_formats)
        }
        yield from sorted(paths, reverse=True)

    def _snapshot(self) -> Snapshot | None:
        with self._reading():
            self.table.ready()
            return self.table.snapshot()

    def _files(self, snapshot: Snapshot, partition: Partition) -> list[DataFile]:
        with self._reading():
            return snapshot.files(partition)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises: InputError for what is wrong with the table."""
        try:
            yield
        except Misfit as misfit:
            raise InputError(
                f"{misfit}. input.partition must name the columns that the table is partitioned by",
                path=str(self.table.folder),
            ) from None
        except PublishError as error:
            raise InputError(str(error), path=str(self.table.folder)) from None


def _common(usual: Location, paths: Sequence[Location]) -> Location:
    """A folder that all files are in: the usual one, if they are."""
    while not all(is_within(path, usual) for path in paths):
        usual = usual.parent
    return usual


def _text(value: Any, how: str) -> str:
    """A partition's value as ``input.partition`` has it: an hour 5 is ``05`` by ``%H``."""
    if hasattr(value, "strftime") and "%" in how:
        return str(value.strftime(how))
    if isinstance(value, int) and how.startswith("%") and len(how) == 2:
        return str(value).zfill(_WIDTHS.get(how, 2))
    return str(value)


def _column_problems(
    snapshot: Snapshot,
    paths: Sequence[Location],
    columns: Collection[str],
    of_paths: Mapping[str, pa.DataType],
) -> list[str]:
    """Columns that would not be read as the table's readers see them.

    Args:
        of_paths: columns that are taken from the partition, with their types.
    """
    theirs = {name: _plain(type_) for name, type_ in snapshot.types().items()}
    schemas = {path: read_schema(path) for path in paths}
    problems = [
        f"column {name!r} is no column of the table"
        for name in sorted(columns)
        if name not in theirs
        and (name in of_paths or any(name in schema.names for schema in schemas.values()))
    ]
    for name in sorted(of_paths.keys() & theirs.keys()):
        if of_paths[name] != theirs[name]:
            problems.append(
                f"the partition column {name!r} is {theirs[name]} in the table, and "
                f"{of_paths[name]} by its format in input.partition"
            )
    for path, schema in schemas.items():
        inside = [field for field in schema if field.name in columns and field.name in theirs]
        problems += snapshot.renamed(path, inside)
        for field in inside:
            if field.name in snapshot.from_log:
                problems.append(
                    f"{path}: it has the partition column {field.name!r} too, and readers have its "
                    "value from the log"
                )
            elif not _is(field.type, theirs[field.name]):
                problems.append(
                    f"{path}: its column {field.name!r} is {field.type}, in the table it is "
                    f"{theirs[field.name]}"
                )
    return problems


def _is(type_: Any, theirs: pa.DataType) -> bool:
    """Whether values of a file's column are read as the table's type without a change."""
    return bool(pa.types.is_null(type_)) or _plain(type_) == theirs


def _plain(type_: Any) -> Any:
    """The type as lake tables have it, also within lists and structs, without names of items."""
    type_ = lake_type(published_type(type_))
    if pa.types.is_list(type_):
        return pa.list_(pa.field("element", _plain(type_.value_type)))
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _plain(field.type)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_plain(type_.key_type), _plain(type_.item_type))
    return type_
