"""One version of an Iceberg table: its files by partition, and the commit that follows it.

A commit is one snapshot with the operation ``overwrite``. In the same step it sets the table's
property ``nocturne/<partition>`` to the number of the manifest, which outlives expired snapshots;
the snapshot's summary has the number and the manifest's id.

Readers have the values of the partition columns from the table's metadata, whatever is in the files
(Iceberg's specification, "Column Projection"); ours have them too, since pyiceberg (0.12) finds no
rows by a filter on a column that is neither in the file nor selected.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from nocturne.columns.normal import is_list
from nocturne.errors import PublishError, RetryableError, StoreUnavailable
from nocturne.objects import Location, is_within, leading
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.table_formats.iceberg.catalog import (
    CatalogTable,
    address,
    first_line,
    of_store,
    place_of,
)
from nocturne.table_formats.iceberg.compatible import (
    MAPPING,
    feature_problems,
    iceberg_types,
    mapping,
    schema_problems,
)
from nocturne.table_formats.lake import (
    Added,
    Change,
    Conflict,
    DataFile,
    Mark,
    Misfit,
    Since,
    app_of,
    check_columns,
    folder_of,
    paths_of,
    typed,
)

__all__ = ["DATA", "Entries", "IcebergSnapshot"]

DATA = "data"
"""The folder below the table with the partitions' folders."""

_TYPES = {"int": pa.int32(), "long": pa.int64(), "string": pa.string(), "date": pa.date32()}
"""Types of partition columns."""
_EPOCH = dt.date(1970, 1, 1)
_ID = b"PARQUET:field_id"

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Entry:
    """A file of a manifest, whether it was added, kept or removed there."""

    path: str
    values: Values
    spec: int
    is_data: bool
    is_global: bool
    """Whether it removes rows of any partition."""
    is_deleted: bool
    sequence: int
    snapshot: int
    file: Any
    """``pyiceberg.manifest.DataFile``"""


class Entries:
    """What is in the manifests, which never change; each is read once."""

    def __init__(self) -> None:
        self._known: dict[str, list[Entry]] = {}

    def of(self, manifest: Any, io: Any) -> list[Entry]:
        """The entries of a manifest, removed ones too. Raises: PublishError."""
        path = manifest.manifest_path
        if path not in self._known:
            with _reading(path):
                found = manifest.fetch_manifest_entry(io, discard_deleted=False)
            self._known[path] = [_entry(entry) for entry in found]
        return self._known[path]


def _manifests(snapshot: Any, io: Any) -> list[Any]:
    """The manifests of a snapshot. Raises: PublishError."""
    with _reading(snapshot.manifest_list):
        return list(snapshot.manifests(io))


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the library's parser meets
        if (told := of_store(error)) is not None:
            raise told from error
        raise PublishError(
            f"{path} of an Iceberg table can't be read: {first_line(error)}"
        ) from error


def _entry(entry: Any) -> Entry:
    from pyiceberg.manifest import DataFileContent, ManifestEntryStatus

    file = entry.data_file
    values = tuple(file.partition[at] for at in range(len(file.partition)))
    return Entry(
        file.file_path,
        values,
        file.spec_id,
        file.content == DataFileContent.DATA,
        file.content == DataFileContent.EQUALITY_DELETES and not values,
        entry.status == ManifestEntryStatus.DELETED,
        entry.sequence_number or 0,
        entry.snapshot_id or 0,
        file,
    )


class IcebergSnapshot:
    """A version of a table.

    Args:
        folder: where the table is expected.
        named: the table in its catalog.
        table: the ``pyiceberg.table.Table`` that was loaded from it.
        entries: what was read of its manifests before.
    """

    def __init__(self, folder: Location, named: CatalogTable, table: Any, entries: Entries) -> None:
        self.folder, self.table = folder, table
        self._named, self._entries = named, entries
        self._metadata = table.metadata
        # The library changes its table when it commits; this stays the version that was loaded.
        self.location = table.metadata_location
        self._main = table.metadata.current_snapshot()
        self.version = self._main.snapshot_id if self._main else 0

    @property
    def _title(self) -> str:
        return f"the Iceberg table {self._named.name}"

    def number(self, app: str) -> int | None:
        """The number in the table's property ``app``."""
        text = self._metadata.properties.get(app)
        if text is None or text.isdecimal():
            return int(text) if text else None
        raise PublishError(
            f"the property {app!r} of {self._title} is {text!r}, expected the number of a "
            "manifest, which a publish from here has set. Nothing was changed. Put it back"
        )

    # Files

    @cached_property
    def columns(self) -> list[str]:
        """The partition columns; a day of a time has the name of the partition field."""
        from pyiceberg.transforms import DayTransform

        schema, spec = self._metadata.schema(), self._metadata.spec()
        return [
            field.name
            if isinstance(field.transform, DayTransform)
            else str(schema.find_column_name(field.source_id))
            for field in spec.fields
        ]

    def _partitioning(self, of: Callable[[Any], bool]) -> str | None:
        """How it is partitioned, if not by ``of`` alone."""
        fields = self._metadata.spec().fields
        if all(of(field.transform) for field in fields):
            return None
        pairs = zip(self.columns, fields, strict=True)
        return ", ".join(n if of(f.transform) else f"{n} ({f.transform})" for n, f in pairs)

    def values(self, partition: Partition) -> Values:
        """The partition's values, in the order of the table's partition columns, as it has them.

        Raises:
            Misfit: the table has other partition columns, or of types that don't fit.
        """
        texts = dict(partition.keys)
        odd = self._partitioning(_is_identity_or_day)
        fits = not odd and set(texts) == set(self.columns)
        check_columns(self._title, odd or ", ".join(self.columns), fits, texts)
        schema, spec = self._metadata.schema(), self._metadata.spec()
        types = spec.partition_type(schema).fields
        return tuple(
            self._typed(name, str(field.field_type), texts[name])
            for name, field in zip(self.columns, types, strict=True)
        )

    def _typed(self, name: str, type_: str, text: str) -> Any:
        column = f"the partition column {name!r} of {self._title} is {type_}"
        if type_ not in _TYPES:
            raise Misfit(f"{column}, expected {', '.join(_TYPES)}")
        value = typed(column, name, _TYPES[type_], text)
        return (value - _EPOCH).days if isinstance(value, dt.date) else value

    @cached_property
    def _manifests(self) -> list[Any]:
        return _manifests(self._main, self.table.io) if self._main else []

    def _live(self, partition: Partition) -> list[Entry]:
        """The entries of the partition's files, and of delete files in it or for any partition."""
        values, spec = self.values(partition), self._metadata.default_spec_id
        return [
            entry
            for manifest, bounds in self._bounds_of_manifests
            if bounds is None or all(map(_is_within, values, bounds))
            for entry in self._entries.of(manifest, self.table.io)
            if not entry.is_deleted
            and ((entry.values == values and entry.spec == spec) or entry.is_global)
        ]

    @cached_property
    def _bounds_of_manifests(self) -> list[tuple[Any, list[tuple[Any, Any]] | None]]:
        """Each manifest with the least and largest value of each partition column.

        None: it may have files of any partition. A bound is None if it is unknown.
        """
        from pyiceberg.conversions import from_bytes

        schema, spec = self._metadata.schema(), self._metadata.spec()
        types = [field.field_type for field in spec.partition_type(schema).fields]

        def read(bound: bytes | None, type_: Any) -> Any:
            return None if bound is None else from_bytes(type_, bound)

        found: list[tuple[Any, list[tuple[Any, Any]] | None]] = []
        for manifest in self._manifests:
            parts = manifest.partitions
            if manifest.partition_spec_id != spec.spec_id or not parts:
                found.append((manifest, None))
                continue
            pairs = zip(parts, types, strict=True)
            found.append(
                (manifest, [(read(p.lower_bound, t), read(p.upper_bound, t)) for p, t in pairs])
            )
        return found

    def files(self, partition: Partition) -> list[DataFile]:
        """The partition's files.

        Raises:
            Misfit: the table has other partition columns.
            PublishError: a file is not local, or the metadata can't be read.
        """
        return [
            DataFile(self._name(entry.path, partition), entry.file.file_size_in_bytes)
            for entry in self._live(partition)
            if entry.is_data
        ]

    def _name(self, location: str, partition: Partition) -> str:
        path = place_of(location)
        if path is not None:
            with suppress(ValueError):
                return leading(path, self.folder / DATA / folder_of(partition))
        raise PublishError(
            f"{self._title} has files elsewhere than at {self.folder} ({location}), so it is "
            "unknown which rows are in it. Choose another table"
        )

    def paths(self, names: Sequence[str]) -> Iterator[str]:
        """Paths of the partitions that have files, from the folders of these."""
        found = (
            leading(path, self.folder / DATA)
            for manifest in self._manifests
            for entry in self._entries.of(manifest, self.table.io)
            if not entry.is_deleted
            and (path := place_of(entry.path)) is not None
            and is_within(path, self.folder)
        )
        return paths_of(found, names)

    def promised(self, partition: Partition, lineage: Sequence[Manifest]) -> set[str]:
        """Names of files that are in any snapshot which has not expired."""
        folder = self.folder / DATA / folder_of(partition)
        return {path.name for path in self._in_snapshots if path.parent == folder}

    @cached_property
    def _in_snapshots(self) -> set[Location]:
        io = self.table.io
        manifests = {
            manifest.manifest_path: manifest
            for snapshot in self._metadata.snapshots
            for manifest in _manifests(snapshot, io)
        }
        found = (
            place_of(entry.path)
            for manifest in manifests.values()
            for entry in self._entries.of(manifest, io)
            if not entry.is_deleted
        )
        return {path for path in found if path is not None}

    # What it asks

    def reading_problems(self, partition: Partition) -> Iterator[str]:
        """Files that may have, or remove, rows of the partition without being among its files."""
        spec = self._metadata.default_spec_id
        for manifest in self._manifests:
            has_files = manifest.has_added_files() or manifest.has_existing_files()
            if manifest.partition_spec_id != spec and has_files:
                yield "the table has files of an earlier partitioning (rewrite_data_files)"
                break
        if MAPPING not in self._metadata.properties and self.number(app_of(partition.state_path)):
            yield f"its property {MAPPING} is gone, by which readers find our columns"
        live = self._live(partition)
        oldest = min((entry.sequence for entry in live if entry.is_data), default=None)
        # A delete file removes rows of files that are not newer.
        if oldest is not None and any(e.sequence >= oldest for e in live if not e.is_data):
            yield "delete files remove rows of it (rewrite_data_files applies them)"
        formats = {str(entry.file.file_format.value) for entry in live if entry.is_data}
        if others := sorted(formats - {"PARQUET"}):
            yield f"it has files in {' and '.join(others)}, expected Parquet"

    @cached_property
    def _columns(self) -> dict[str, pa.Field]:
        return {field.name: field for field in self._metadata.schema().as_arrow()}

    def types(self) -> dict[str, pa.DataType]:
        """The table's columns with their types."""
        return {name: field.type for name, field in self._columns.items()}

    def renamed(self, path: Location, fields: Sequence[pa.Field]) -> Iterator[str]:
        """Columns of a file that have, or have within them, another name or another's id now."""
        known = self._metadata.name_mapping()
        mapped = {name: field for field in known or () for name in field.names}
        for field in fields:
            if not _is_found(field, self._columns[field.name], mapped.get(field.name)):
                yield (
                    f"{path}: its column {field.name!r} is not the table's, in which columns were "
                    "renamed, dropped or added again"
                )

    @property
    def from_log(self) -> Sequence[str]:
        """None: readers take a partition column from the file, if it is there."""
        return ()

    def partition_values(self) -> Iterator[dict[str, Any]]:
        """The values by which the manifests have files; days as dates."""
        spec = self._metadata.spec()
        types = [f.field_type for f in spec.partition_type(self._metadata.schema()).fields]
        found = {
            entry.values
            for manifest in self._manifests
            for entry in self._entries.of(manifest, self.table.io)
            if not entry.is_deleted and entry.is_data and entry.spec == spec.spec_id
        }
        for values in found:
            shown = (
                _EPOCH + dt.timedelta(days=value) if str(type_) == "date" else value
                for value, type_ in zip(values, types, strict=True)
            )
            yield dict(zip(self.columns, shown, strict=True))

    def problems(self, partition: Partition, schema: pa.Schema | None, whole: bool) -> list[str]:
        """Features that we lack, and columns that don't fit. Raises: Misfit."""
        self.values(partition)
        found = list(feature_problems(self._metadata))
        if odd := self._partitioning(_is_identity):
            found.append(f"it is partitioned by {odd}, and scores have no such time")
        if place_of(self._metadata.location) != self.folder:
            found.append(
                f"it is at {self._metadata.location}, and output.path is {address(self.folder)}"
            )
        found += self.reading_problems(partition)
        if schema is not None and not found:
            found += schema_problems(self._metadata, schema, whole=whole)
        return found

    # The snapshots

    def changes(self, partition: Partition, app: str, number: int) -> Since:
        """What happened to the partition since a snapshot of ours.

        Snapshots with the operation ``replace``, as a compaction makes them, are left out.
        """
        values = self.values(partition)
        found: list[Change] = []
        snapshot = self._main
        while snapshot is not None:
            if _is_marked(snapshot, app, number):
                return Since(found, True, snapshot.summary["nocturne.manifest"])
            if self._changes(snapshot, values):
                found.append(_change(snapshot))
            parent = snapshot.parent_snapshot_id
            snapshot = self._metadata.snapshot_by_id(parent) if parent is not None else None
        if any(_is_marked(other, app, number) for other in self._metadata.snapshots):
            # Ours is none of its ancestors: the table was set back.
            back = [_change(self._main, "a rollback of the table")] if self._main else []
            return Since(back, True)
        return Since(found, False)

    def _changes(self, snapshot: Any, values: Values) -> bool:
        from pyiceberg.table.snapshots import Operation

        if snapshot.summary is not None and snapshot.summary.operation == Operation.REPLACE:
            return False
        return any(
            (entry.values == values or not entry.values) and entry.snapshot == snapshot.snapshot_id
            for manifest in _manifests(snapshot, self.table.io)
            if manifest.added_snapshot_id == snapshot.snapshot_id
            for entry in self._entries.of(manifest, self.table.io)
        )

    def replace(self, partition: Partition, files: Sequence[Added], mark: Mark) -> None:
        """Commit a snapshot in which the partition has these files and no others.

        Raises:
            Conflict: it may have failed, or not.
            OSError: the disk is full or read-only.
        """
        before = [entry.file for entry in self._live(partition) if entry.is_data]
        self._commit(before, [self._file(partition, file) for file in files], mark)

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Commit a schema with more columns. Raises: as ``replace``."""
        types = iceberg_types(fields)
        with self._conflicts(), self.table.update_schema() as update:
            for name, type_ in types.items():
                update.add_column(name, type_)

    def mark(self, mark: Mark) -> None:
        """Commit a snapshot with the same files. Raises: as ``replace``."""
        self._commit([], [], mark)

    def _commit(self, before: Sequence[Any], after: Sequence[Any], mark: Mark) -> None:
        from pyiceberg.table import TableProperties
        from pyiceberg.table.update import AssertCurrentSchemaId, AssertDefaultSpecId

        said = {"nocturne.manifest": mark.manifest_id, mark.app: str(mark.number)}
        # Only in this process: the library's retries would add to what others add meanwhile.
        self._metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
        with self._conflicts():
            transaction = self.table.transaction()
            transaction.set_properties({mark.app: str(mark.number), **mapping(self._metadata)})
            # Else only the branch is asserted, and the columns may be others by now.
            transaction._apply(
                (),
                (
                    AssertCurrentSchemaId(current_schema_id=self._metadata.current_schema_id),
                    AssertDefaultSpecId(default_spec_id=self._metadata.default_spec_id),
                ),
            )
            with transaction.update_snapshot(snapshot_properties=said).overwrite() as snapshot:
                for file in before:
                    snapshot.delete_data_file(file)
                for file in after:
                    snapshot.append_data_file(file)
            transaction.commit_transaction()

    def _file(self, partition: Partition, added: Added) -> Any:
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record

        known, schema = added.statistics, self._metadata.schema()
        ids = {f.name: f.field_id for f in schema.fields}
        nulls = {ids[name]: count for name, count in known.nulls.items() if name in ids}
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=address(added.path),
            file_format=FileFormat.PARQUET,
            partition=Record(*self.values(partition)),
            record_count=known.rows,
            file_size_in_bytes=added.size,
            column_sizes=None,
            value_counts=dict.fromkeys(nulls, known.rows),
            null_value_counts=nulls,
            nan_value_counts=None,
            lower_bounds=self._bounds(known.smallest),
            upper_bounds=self._bounds(known.largest),
            key_metadata=None,
            split_offsets=None,
            equality_ids=None,
            sort_order_id=None,
            spec_id=self._metadata.default_spec_id,
        )

    def _bounds(self, values: Mapping[str, Any]) -> dict[int, bytes]:
        from pyiceberg.conversions import to_bytes

        schema = self._metadata.schema()
        fields = {f.name: f for f in schema.fields if f.field_type.is_primitive}
        return {
            fields[name].field_id: to_bytes(
                fields[name].field_type,
                (value - _EPOCH).days if isinstance(value, dt.date) else value,
            )
            for name, value in values.items()
            if name in fields
        }

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        from pyiceberg.exceptions import (
            CommitFailedException,
            CommitStateUnknownException,
            NoSuchTableError,
            ValidationException,
        )

        known = (
            *(CommitFailedException, CommitStateUnknownException),
            *(NoSuchTableError, ValidationException),
        )
        try:
            with self._named.errors():
                yield
        except known as error:
            raise Conflict(first_line(error)) from error
        except StoreUnavailable:
            raise
        except RetryableError as error:  # it did not answer
            raise Conflict(first_line(error.__cause__ or error)) from error


def _id(field: pa.Field) -> int | None:
    """The id of a column in a file or a table; None if it has none."""
    number = (field.metadata or {}).get(_ID)
    return int(number) if number is not None else None


def _is_found(field: pa.Field, there: pa.Field, mapped: Any) -> bool:
    """Whether readers take a field of a file for that of the table, and so those within it.

    Args:
        mapped: the field of the table's name mapping, by which files without ids are read.
    """
    number = _id(field) if _id(field) is not None else mapped and mapped.field_id
    if number is None or number != _id(there):
        return False
    inside, pairs = _parts_of(mapped), _pairs(field.type, there.type)
    return pairs is not None and all(
        _is_found(mine, theirs, inside.get(name)) for name, mine, theirs in pairs
    )


def _parts_of(mapped: Any) -> dict[str, Any]:
    return {name: part for part in mapped.fields for name in part.names} if mapped else {}


def _pairs(mine: Any, theirs: Any) -> list[tuple[str, pa.Field, pa.Field]] | None:
    """The fields within two types, by the names that a mapping gives them; None: others."""
    if pa.types.is_map(mine) and pa.types.is_map(theirs):
        return [
            ("key", mine.key_field, theirs.key_field),
            ("value", mine.item_field, theirs.item_field),
        ]
    if is_list(mine) and is_list(theirs):
        return [("element", mine.value_field, theirs.value_field)]
    if pa.types.is_struct(mine) and pa.types.is_struct(theirs):
        known = {part.name: part for part in theirs}
        if any(part.name not in known for part in mine):
            return None
        return [(part.name, part, known[part.name]) for part in mine]
    return [] if mine.num_fields == theirs.num_fields == 0 else None


def _is_identity(transform: Any) -> bool:
    from pyiceberg.transforms import IdentityTransform

    return isinstance(transform, IdentityTransform)


def _is_identity_or_day(transform: Any) -> bool:
    from pyiceberg.transforms import DayTransform

    return _is_identity(transform) or isinstance(transform, DayTransform)


def _is_within(value: Any, bounds: tuple[Any, Any]) -> bool:
    low, high = bounds
    return (low is None or low <= value) and (high is None or value <= high)


def _is_marked(snapshot: Any, app: str, number: int) -> bool:
    return snapshot.summary is not None and snapshot.summary[app] == str(number)


def _change(snapshot: Any, operation: str | None = None) -> Change:
    summary = snapshot.summary
    at = dt.datetime.fromtimestamp(snapshot.timestamp_ms / 1000, dt.UTC)
    named = summary["engine-name"] if summary else None
    what = operation or (summary.operation.value if summary else "a commit")
    by = named or "somebody"
    return Change(snapshot.snapshot_id, what, str(by), at.isoformat(timespec="seconds"))
