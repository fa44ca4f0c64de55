"""An Iceberg table in a local folder or an object store, under a name in a catalog."""

from __future__ import annotations

import pyarrow as pa

from nocturne.columns.normal import lake_type, published_type
from nocturne.errors import PublishError
from nocturne.objects import Location, ObjectPath
from nocturne.records.partition import Partition
from nocturne.table_formats.iceberg.catalog import CatalogTable, address, first_line
from nocturne.table_formats.iceberg.compatible import has_type, new_table
from nocturne.table_formats.iceberg.snapshot import DATA, Entries, IcebergSnapshot
from nocturne.table_formats.lake import LakeTable, Snapshot, is_date

__all__ = ["IcebergTable"]


class IcebergTable(LakeTable):
    """A table in a folder.

    Args:
        name: ``catalog.namespace.table``.
    """

    format = "Iceberg"
    has_dots = False

    def __init__(self, name: str, folder: Location, state: Location | None = None) -> None:
        super().__init__(folder, state)
        self._named, self._entries = CatalogTable(name), Entries()
        self._known: IcebergSnapshot | None = None

    @property
    def title(self) -> str:
        """The table's name, and its folder."""
        return f"the Iceberg table {self._named.name} ({self.folder})"

    @property
    def data(self) -> Location:
        """The folder of the partitions' folders."""
        return self.folder / DATA

    def ready(self) -> None:
        """Raises: ConfigError, PublishError, RetryableError."""
        self._named.check_files(address(self.folder))

    def _loaded(self) -> IcebergSnapshot | None:
        _ = self._named.opened  # else its library may be missing
        table = self._named.load()
        if table is None:
            return None
        known = self._known
        if known is not None and known.location == table.metadata_location:
            return known
        self._known = IcebergSnapshot(self.folder, self._named, table, self._entries)
        return self._known

    def create(self, schema: pa.Schema, partition: Partition) -> None:
        """Make a table without files, and its namespace.

        Raises:
            PublishError: there can be no table with such columns.
            Conflict, OSError: it can't be made now.
        """
        from pyiceberg.exceptions import TableAlreadyExistsError

        catalog, identifier = self._named.opened, self._named.identifier
        self.refresh()
        with self._named.errors():
            try:
                catalog.create_namespace_if_not_exists(identifier[:-1])
            except Exception:
                if not catalog.namespace_exists(identifier[:-1]):  # else another process made it
                    raise
            try:
                catalog.create_table(
                    identifier, location=address(self.folder), **new_table(schema, partition)
                )
            except TableAlreadyExistsError:
                pass
            except ValueError as error:  # of its schema
                raise PublishError(
                    f"{self.title} can't be made: {first_line(error)}. Nothing was changed. "
                    "Change the columns of the scores, or choose another format"
                ) from None

    def partition_columns(self, partition: Partition) -> pa.Schema:
        """All: pyiceberg finds no rows by a column that is neither selected nor in the file (0.12).

        Raises:
            PublishError: the table can't be read.
        """
        snapshot = self.snapshot()
        known = dict[str, pa.DataType]() if snapshot is None else snapshot.types()
        types = {name: lake_type(published_type(type_)) for name, type_ in known.items()}
        return pa.schema(
            [
                (name, types.get(name, pa.date32() if is_date(value) else pa.string()))
                for name, value in partition.keys
            ]
        )

    def has_type(self, type_: pa.DataType) -> bool:
        """Whether Iceberg has such a type."""
        return has_type(type_)

    def foreign(self) -> str | None:
        """What is in the folder. What a killed first publish left counts as nothing."""
        folder, name = self.folder, self._named.name
        dropped = f"there are files in {DATA}/, but no {name}: was it dropped, or renamed?"
        if isinstance(folder, ObjectPath):
            below = [path.relative_to(folder).parts for path in folder.below()]
            if any(parts[0] == DATA and parts[-1].endswith(".parquet") for parts in below):
                return dropped
            names = {parts[0] for parts in below if not parts[0].startswith(".")}
            return "it has no metadata" if names - {"metadata", DATA} else None
        if not folder.is_dir():
            return f"{folder.name} is a file" if folder.exists() else None
        if any((folder / DATA).rglob("*.parquet")):
            return dropped
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        return "it has no metadata" if names - {"metadata", DATA} else None

    def sync(self, before: Snapshot) -> None:
        """The files are synced before each commit (``durable.py``)."""
