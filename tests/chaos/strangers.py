"""Other programs that write and read the lake tables of a project, each in a process of its own."""

from __future__ import annotations

import datetime as dt
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from chaos.nights import DAY, Root
from formats import OUTPUT
from object_store import s3_settings

__all__ = ["BY_DAY", "ID", "SCORES", "STRANGERS", "Field", "Stranger", "commits", "replace"]

T = TypeVar("T")
Field = tuple[str, pa.DataType]
BY_DAY: tuple[Field, ...] = (("ds", pa.date32()),)
ID: Field = ("id", pa.int64())
SCORES: list[Field] = [
    ("word", pa.string()),
    ("score", pa.float32()),
    ("model_version", pa.int32()),
]
"""The columns of the scores besides ``ID``."""


class Stranger(ABC):
    """A program that uses the table of ``root`` with the format's own library."""

    said: ClassVar[dict[str, str]]
    """What our messages say, where formats differ."""
    changes: ClassVar[dict[str, tuple[Callable[[Any], None], str]]]
    """How it changes rows of the partition, and what our messages call it."""
    cleaning_keeps_history: ClassVar[bool] = True
    """Whether the table knows its earlier versions after ``clean``."""

    def __init__(self, root: Root) -> None:
        self.root = root

    @property
    def folder(self) -> Any:
        """The table's folder, a path or one in a bucket."""
        return self.root.scores

    @abstractmethod
    def _table(self) -> Any:
        """The table as the library gives it."""

    @abstractmethod
    def _rows(self, table: Any) -> pa.Table: ...

    @abstractmethod
    def _append(self, table: Any, rows: pa.Table) -> None: ...

    @abstractmethod
    def _polars(self, table: Any) -> pl.LazyFrame: ...

    def do(self, work: Callable[[Any], T]) -> T:
        """What ``work`` gives of the table."""
        return self.root.ask(lambda: work(self._table()))

    def rows(self) -> pa.Table:
        """All rows of the table."""
        return self.do(self._rows)

    def read(self, day: str = DAY) -> pa.Table:
        """The rows of a partition, by id."""
        rows = self.rows()
        days = [str(value) == day for value in rows["ds"].to_pylist()]
        return rows.filter(pa.array(days, pa.bool_())).sort_by("id")

    def polars(self) -> pa.Table:
        """All rows as polars finds them by itself, by id."""
        return self.do(lambda table: self._polars(table).sort("id").collect().to_arrow())

    def append(self, day: str = DAY) -> None:
        """A row more in a partition."""

        def write(table: Any) -> None:
            rows = self._rows(table)
            theirs = rows.slice(0, 1).to_pydict() | {
                "id": [4711],
                "ds": [dt.date.fromisoformat(day)],
            }
            self._append(table, pa.table(theirs, rows.schema))

        self.do(write)

    @abstractmethod
    def delete(self, where: str) -> None: ...

    @abstractmethod
    def update(self) -> None:
        """Another score of the row 1000."""

    @abstractmethod
    def retype(self) -> None:
        """All rows anew, with numbers in ``word``."""

    @abstractmethod
    def compact(self) -> None:
        """The rows of each partition in one file."""

    @abstractmethod
    def files(self) -> list[Any]:
        """The files of the last version, as paths."""

    @abstractmethod
    def forget(self) -> None:
        """Only the last version is promised to readers; no file is removed."""

    @abstractmethod
    def clean(self) -> None:
        """Remove everything that is not in the last version."""

    @abstractmethod
    def make(
        self,
        fields: list[Field],
        settings: dict[str, str] | None = None,
        keys: tuple[Field, ...] = BY_DAY,
    ) -> None:
        """Make the table."""

    @abstractmethod
    def spoil(self) -> None:
        """Damage what the table knows of itself."""

    @abstractmethod
    def lose_log(self) -> None:
        """All that the table knows of its earlier versions is gone."""


class Delta(Stranger):
    """delta-rs."""

    said: ClassVar = {"id is int": "its column 'id' is integer, that of the scores is long"}
    changes: ClassVar = {
        "append": (lambda lake: lake.append(), "WRITE by delta-rs"),
        "delete": (lambda lake: lake.delete("id = 1000"), "DELETE by"),
        "delete all": (lambda lake: lake.delete(f"ds = '{DAY}'"), "DELETE by"),
        "update": (lambda lake: lake.update(), "UPDATE by"),
    }

    @property
    def _options(self) -> dict[str, str] | None:
        return {"allow_http": "true"} if self.root.bucket else None

    def _table(self) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(str(self.folder), storage_options=self._options)

    def _rows(self, table: Any) -> pa.Table:
        return table.to_pyarrow_table()

    def _append(self, table: Any, rows: pa.Table) -> None:
        from deltalake import write_deltalake

        schema = pa.schema(table.schema().to_arrow())
        write_deltalake(table, rows.select(schema.names).cast(schema), mode="append")

    def _polars(self, table: Any) -> pl.LazyFrame:
        return pl.scan_delta(str(self.folder), storage_options=self._options)

    def delete(self, where: str) -> None:
        self.do(lambda table: table.delete(where) and None)

    def update(self) -> None:
        self.do(lambda t: t.update(updates={"score": "1.0"}, predicate="id = 1000") and None)

    def retype(self) -> None:
        def overwrite(table: Any) -> None:
            from deltalake import write_deltalake

            write_deltalake(
                table, _retyped(self._rows(table)), mode="overwrite", schema_mode="overwrite"
            )

        self.do(overwrite)

    def compact(self) -> None:
        self.do(lambda table: table.optimize.compact() and None)

    def files(self) -> list[Any]:
        uris = self.do(lambda table: table.file_uris())
        below = [unquote(uri).removeprefix(str(self.folder)).lstrip("/") for uri in uris]
        return [self.folder / name for name in below]

    def forget(self) -> None:
        nothing = {"delta.deletedFileRetentionDuration": "interval 0 days"}
        self.do(lambda table: table.alter.set_table_properties(nothing))

    def clean(self) -> None:
        self.do(
            lambda table: (
                table.vacuum(
                    retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True
                )
                and None
            )
        )

    def make(
        self,
        fields: list[Field],
        settings: dict[str, str] | None = None,
        keys: tuple[Field, ...] = BY_DAY,
    ) -> None:
        def make() -> None:
            from deltalake import DeltaTable, Schema

            schema = Schema.from_arrow(pa.schema([*fields, *keys]))
            names = [name for name, _ in keys]
            DeltaTable.create(
                str(self.folder),
                schema,
                partition_by=names,
                configuration=settings or {},
                storage_options=self._options,
            )

        self.root.ask(make)

    def spoil(self) -> None:
        (self.folder / "_delta_log" / f"{1:020d}.json").write_text("{")

    def lose_log(self) -> None:
        self.do(lambda table: table.create_checkpoint())
        for commit in commits(self.folder)[:-1]:
            commit.unlink()


class Iceberg(Stranger):
    """pyiceberg; what it lacks is done as Spark does it."""

    said: ClassVar = {"id is int": "its column 'id' is int, that of the scores is long"}
    changes: ClassVar = {
        "append": (lambda lake: lake.append(), "append by somebody"),
        "delete": (lambda lake: lake.delete("id = 1000"), "overwrite by somebody"),
        "delete all": (lambda lake: lake.delete(f"ds = '{DAY}'"), "overwrite by somebody"),
        "update": (lambda lake: lake.update(), "append by somebody"),
    }
    cleaning_keeps_history = False
    _name = tuple(OUTPUT["iceberg"]["table"].split(".")[1:])

    def _catalog(self) -> Any:
        from pyiceberg.catalog import load_catalog

        self.root.load()  # sets the variable
        reach = s3_settings(self.root.bucket)
        return load_catalog("test", uri=os.environ["PYICEBERG_CATALOG__TEST__URI"], **reach)

    @property
    def _location(self) -> str:
        return str(self.folder) if self.root.bucket else f"file://{self.folder}"

    def _table(self) -> Any:
        return self._catalog().load_table(self._name)

    def night(self, day: str, reader: int = 0) -> tuple[list[str], int]:
        """In this process: the names of the partition's files, and the number of its rows.

        It is pyiceberg that counts them, or by other numbers polars or DuckDB.
        """
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        try:
            table = self._table()
            found = table.scan(row_filter=f"ds = '{day}'", selected_fields=("id",))
        except (NoSuchTableError, NoSuchNamespaceError):
            return [], 0
        names = [task.file.file_path.rpartition("/")[2] for task in found.plan_files()]
        if reader % 3 == 0:
            return names, len(found.to_arrow())
        if reader % 3 == 1:
            rows = self._polars(table).filter(pl.col("ds") == dt.date.fromisoformat(day))
            return names, int(rows.collect().height)
        [(count,)] = found.to_duckdb("t").sql("select count(*) from t").fetchall()
        return names, int(count)

    def _rows(self, table: Any) -> pa.Table:
        rows = table.scan().to_arrow()
        small = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
        fields = [f.with_type(small.get(f.type, f.type)).remove_metadata() for f in rows.schema]
        return rows.cast(pa.schema(fields)).replace_schema_metadata(None)

    def _append(self, table: Any, rows: pa.Table) -> None:
        table.append(rows)

    def _polars(self, table: Any) -> pl.LazyFrame:
        return pl.scan_iceberg(table, reader_override="native")

    def delete(self, where: str) -> None:
        self.do(lambda table: table.delete(where))

    def update(self) -> None:
        def change(table: Any) -> None:
            rows = self._rows(table)
            row = rows.filter(pc.equal(rows["id"], 1000))
            at = row.schema.names.index("score")
            other = row.set_column(at, "score", pa.array([1.0], pa.float32()))
            table.overwrite(other, "id = 1000")

        self.do(change)

    def retype(self) -> None:
        def overwrite(table: Any) -> None:
            rows = _retyped(self._rows(table))
            with table.transaction() as transaction:
                with transaction.update_schema(allow_incompatible_changes=True) as schema:
                    schema.delete_column("word")
                with transaction.update_schema() as schema:
                    schema.add_column("word", _long())
                names = transaction.table_metadata.schema().column_names
                transaction.overwrite(rows.select(names))

        self.do(overwrite)

    def compact(self) -> None:
        self.do(lambda table: replace(table, table.scan().to_arrow()))

    def files(self) -> list[Any]:
        uris = self.do(lambda table: [task.file.file_path for task in table.scan().plan_files()])
        return [self.folder / uri.removeprefix(f"{self._location}/") for uri in uris]

    def forget(self) -> None:
        def expire(table: Any) -> None:
            now = table.current_snapshot().snapshot_id
            old = [s.snapshot_id for s in table.snapshots() if s.snapshot_id != now]
            if old:
                table.maintenance.expire_snapshots().by_ids(old).commit()

        self.do(expire)

    def clean(self) -> None:
        self.forget()
        kept = set(self.files())
        for path in [*(self.folder / "data").glob("**/*.parquet")]:
            if path not in kept:
                path.unlink()

    def make(
        self,
        fields: list[Field],
        settings: dict[str, str] | None = None,
        keys: tuple[Field, ...] = BY_DAY,
    ) -> None:
        def make() -> None:
            catalog = self._catalog()
            catalog.create_namespace_if_not_exists(self._name[0])
            table = catalog.create_table(
                self._name,
                pa.schema([*fields, *keys]),
                location=self._location,
                properties=settings or {},
            )
            with table.update_spec() as spec:
                for name, _ in keys:
                    spec.add_identity(name)

        self.root.ask(make)

    def spoil(self) -> None:
        newest = max((self.folder / "metadata").glob("*.metadata.json"), key=lambda p: p.name)
        newest.write_text("{")

    def lose_log(self) -> None:
        self.forget()


def replace(table: Any, rows: pa.Table) -> None:
    """The rows in files of their own, partition by partition, as Spark's `rewrite_data_files`."""
    from pyiceberg.io.pyarrow import _dataframe_to_data_files
    from pyiceberg.table.update import snapshot as snapshots

    summed = snapshots.update_snapshot_summaries

    def as_spark_says(*args: Any, **named: Any) -> Any:
        said = summed(*args, **named).additional_properties
        return snapshots.Summary(operation=snapshots.Operation.REPLACE, **said)

    snapshots.update_snapshot_summaries = as_spark_says  # in this process
    transaction = table.transaction()
    producer = transaction.update_snapshot().overwrite()
    for file in _dataframe_to_data_files(table.metadata, rows, table.io):
        producer.append_data_file(file)
    for task in table.scan().plan_files():
        producer.delete_data_file(task.file)
    producer.commit()
    transaction.commit_transaction()


def commits(table: Any) -> list[Any]:
    """The commits in the log of a Delta table, as paths, the last one last."""
    log = (path for path in (table / "_delta_log").iterdir() if path.name.endswith(".json"))
    return sorted(log, key=lambda path: path.name)


def _long() -> Any:
    from pyiceberg.types import LongType

    return LongType()


def _retyped(rows: pa.Table) -> pa.Table:
    at = rows.schema.names.index("word")
    return rows.set_column(at, "word", pa.array([7] * len(rows), pa.int64()))


STRANGERS: dict[str, type[Stranger]] = {
    "delta": Delta,
    "delta on s3": Delta,
    "iceberg": Iceberg,
    "iceberg on s3": Iceberg,
}
