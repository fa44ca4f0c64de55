"""Inputs that are lake tables: the files of one version are scored, and no others."""

from __future__ import annotations

import datetime as dt
import os
import signal
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, rows
from chaos.nights import DAY, Root, rows_of, until_stopped
from chaos.test_maintenance import nocturne
from nocturne.operate.status import known_partitions, newest, statuses
from object_store import BucketPath, s3_settings

OTHER = "2024-01-03"
MORNING = dt.datetime.fromisoformat(DAY)


def day_rows(day: str = DAY, count: int = 600, seed: int = 1, first: int = 0) -> pa.Table:
    """Rows of a day, with the columns ``ds`` and ``at``, a time of that day."""
    table = rows(count, seed, first)
    start = dt.datetime.fromisoformat(day)
    at = [start + dt.timedelta(minutes=n % 1440) for n in range(count)]
    table = table.append_column("at", pa.array(at, pa.timestamp("us")))
    return table.append_column("ds", pa.array([start.date()] * count, pa.date32()))


class Writer(ABC):
    """Another program that writes the input."""

    settings: ClassVar[dict[str, Any]]

    def __init__(self, root: Root) -> None:
        self.root = root
        bucket, name = root.input_bucket, f"{uuid.uuid4().hex}/lake"
        self.folder: Any = BucketPath(bucket, name) if bucket else root.path / "lake"
        root.configure("input", path=str(self.folder) if bucket else "lake", **self.settings)

    @abstractmethod
    def _write(self, table: pa.Table, *, anew: str = "") -> None: ...

    @abstractmethod
    def _do(self, change: str) -> None: ...

    def write(self, table: pa.Table, *, anew: str = "") -> None:
        """Append rows, or (``anew``) replace those of a day."""
        self.root.ask(lambda: self._write(table, anew=anew))

    def do(self, change: str) -> None:
        self.root.ask(lambda: self._do(change))


class Delta(Writer):
    settings: ClassVar = {"format": "delta"}

    @property
    def _options(self) -> dict[str, str] | None:
        return {"allow_http": "true"} if self.root.input_bucket else None

    def _write(self, table: pa.Table, *, anew: str = "") -> None:
        from deltalake import write_deltalake

        mode: Any = "overwrite" if anew else "append"
        only = f"ds = '{anew}'" if anew else None
        write_deltalake(
            str(self.folder),
            table,
            partition_by=["ds"],
            mode=mode,
            predicate=only,
            storage_options=self._options,
        )

    def _do(self, change: str) -> None:
        from deltalake import DeltaTable

        table = DeltaTable(str(self.folder), storage_options=self._options)
        if change == "compact":
            table.optimize.compact()
        elif change == "clean":
            table.vacuum(
                retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True
            )
        else:
            table.delete(change)


class Iceberg(Writer):
    settings: ClassVar = {"format": "iceberg", "table": "test.raw.flights"}
    field: ClassVar = ("ds", "ds")

    def _open(self) -> Any:
        from pyiceberg.catalog import load_catalog

        self.root.load()
        reach = s3_settings(self.root.input_bucket)
        return load_catalog("test", uri=os.environ["PYICEBERG_CATALOG__TEST__URI"], **reach)

    @property
    def _location(self) -> str:
        return str(self.folder) if self.root.input_bucket else f"file://{self.folder}"

    def _write(self, table: pa.Table, *, anew: str = "") -> None:
        from pyiceberg.exceptions import NoSuchTableError

        catalog = self._open()
        catalog.create_namespace_if_not_exists("raw")
        try:
            there = catalog.load_table("raw.flights")
        except NoSuchTableError:
            there = catalog.create_table("raw.flights", table.schema, location=self._location)
            with there.update_spec() as spec:
                self._partition(spec)
        if anew:
            there.overwrite(table, f"ds = '{anew}'")
        else:
            there.append(table)

    def _partition(self, spec: Any) -> None:
        spec.add_identity("ds")

    def _do(self, change: str) -> None:
        there = self._open().load_table("raw.flights")
        if change == "clean":
            kept = {task.file.file_path for task in there.scan().plan_files()}
            for path in [*(self.folder / "data").glob("**/*.parquet")]:
                if (f"file://{path}" if isinstance(path, Path) else str(path)) not in kept:
                    path.unlink()
        elif change == "compact":
            found = there.scan(row_filter=f"ds = '{DAY}'").to_arrow()
            there.overwrite(found, f"ds = '{DAY}'")
        else:
            there.delete(change)


class IcebergByDay(Iceberg):
    """Partitioned by the day of a time, as Iceberg tables mostly are."""

    settings: ClassVar = Iceberg.settings | {"partition": {"at_day": "%Y-%m-%d"}}

    def _partition(self, spec: Any) -> None:
        from pyiceberg.transforms import DayTransform

        spec.add_field("at", DayTransform(), "at_day")


WRITERS: dict[str, type[Writer]] = {
    "delta": Delta,
    "delta on s3": Delta,
    "iceberg": Iceberg,
    "iceberg on s3": Iceberg,
    "day": IcebergByDay,
}
LONG = pytest.mark.long

pytestmark = pytest.mark.parametrize("table_format", ["parquet"])


@pytest.fixture(
    params=[
        "delta",
        pytest.param("delta on s3", marks=LONG),
        pytest.param("iceberg", marks=LONG),
        pytest.param("iceberg on s3", marks=LONG),
        pytest.param("day", marks=LONG),
    ]
)
def source(request: pytest.FixtureRequest, make_root: MakeRoot) -> Writer:
    """A table of two days, each written in two commits."""
    root = make_root()
    if request.param.endswith("s3"):
        root.input_bucket = request.getfixturevalue("shared_bucket")
    made = WRITERS[request.param](root)
    made.write(day_rows())
    made.write(day_rows(OTHER, first=5000))
    made.write(day_rows(seed=2, first=1000))
    made.write(day_rows(OTHER, seed=2, first=6000))
    return made


def keys(table: pa.Table) -> set[int]:
    return set(table.filter(pc.is_valid(table["id"]))["id"].to_pylist())


def published(root: Root) -> set[int]:
    names = root.published()
    return {i for n in names for i in rows_of(root.output / n)["id"].to_pylist()}


FIRST = keys(day_rows()) | keys(day_rows(seed=2, first=1000))


def test_a_night_scores_the_files_of_the_last_version(source: Writer) -> None:
    root = source.root
    assert root.night() == 0
    assert published(root) == FIRST
    first = root.manifest()
    assert first is not None
    assert " version " in first.input_version
    assert root.night() == 0
    assert root.manifest() == first, "nothing to do"

    source.do("id < 100")
    assert root.night() == 0
    assert published(root) == {key for key in FIRST if key >= 100}, "removed rows are gone"
    second = root.manifest()
    assert second is not None
    assert second.input_version != first.input_version
    report = (root.place("runs") / second.run_key[:16] / "report.html").read_text()
    assert second.input_version in report

    source.write(day_rows(seed=3, first=2000))
    assert root.night() == 0
    assert published(root) >= keys(day_rows(seed=3, first=2000))
    verified = nocturne(root, "verify", "--date", DAY, "--replay")
    assert verified.exit_code == 0, verified.output


def test_what_status_shows_and_what_is_missing(
    source: Writer, capfd: pytest.CaptureFixture[str]
) -> None:
    root = source.root
    assert root.night() == 0

    def seen() -> tuple[set[str], dict[str, str]]:
        loaded = root.load()
        return {p.key for p in known_partitions(loaded)}, {n.key: n.state for n in statuses(loaded)}

    known, states = root.ask(seen)
    assert known == {DAY, OTHER}
    assert states == {DAY: "published", OTHER: "missing"}
    absent = nocturne(root, "score", "--date", "2031-05-05")
    assert absent.exit_code == 1
    assert f"the table has {next(iter(root.load().pipeline.input.partition))}={DAY} to" in (
        absent.output.replace("\n", " ")
    )


@LONG
def test_other_days_and_rearranged_files_change_no_score(source: Writer) -> None:
    root = source.root
    assert root.night() == 0
    before = {i: s for n in root.published() for i, s in _scores(root.output / n)}
    source.write(day_rows(OTHER, seed=9, first=8000))
    first = root.manifest()
    assert root.night() == 0
    assert root.manifest() == first, "another day was written"
    source.do("compact")
    source.do("clean")
    assert root.night() == 0, "the files are others: it is scored again"
    assert {i: s for n in root.published() for i, s in _scores(root.output / n)} == before


def _scores(path: Path) -> list[tuple[int, float]]:
    table = rows_of(path)
    return list(zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True))


def test_a_version_stays_pinned_while_the_table_moves_on(source: Writer) -> None:
    root = source.root
    pid = root.start_night("prepare.planned=SIGSTOP")
    until_stopped(pid)
    source.write(day_rows(seed=3, first=2000))
    source.do("id < 100")
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 0
    assert published(root) == FIRST
    assert root.night() == 0
    assert published(root) == {k for k in FIRST | keys(day_rows(seed=3, first=2000)) if k >= 100}


@LONG
def test_files_that_are_cleaned_away_before_they_are_read_are_planned_again(
    source: Writer, capfd: pytest.CaptureFixture[str]
) -> None:
    root = source.root
    pid = root.start_night("prepare.planned=SIGSTOP")
    until_stopped(pid)
    source.do("id < 100")
    source.do("clean")
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 75
    assert "deleted after planning" in capfd.readouterr().err
    assert root.night() == 0
    assert published(root) == {key for key in FIRST if key >= 100}


@pytest.mark.parametrize("source", ["iceberg"], indirect=True)
def test_a_renamed_column_of_older_files_is_refused(
    source: Writer, capfd: pytest.CaptureFixture[str]
) -> None:
    def rename() -> None:
        table = source._open().load_table("raw.flights")  # type: ignore[attr-defined]
        with table.update_schema() as schema:
            schema.rename_column("word", "text")
        with table.update_schema() as schema:
            schema.rename_column("at", "word")

    source.root.ask(rename)
    assert source.root.night() == 1
    told = capfd.readouterr().err
    assert "its column 'word' is not the table's, in which columns were renamed" in told
    assert not source.root.attempts()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": {"day": "%Y-%m-%d"}}, "input.partition must name the columns"),
        ({"path": "nowhere"}, "does not exist"),
        ({"format": "parquet", "table": None}, "say input.format: "),
        ({"ready": {"success_file": True}}, "what is committed is complete"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_row_is_scored(
    source: Writer, capfd: pytest.CaptureFixture[str], settings: dict[str, Any], said: str
) -> None:
    if "path" in settings and "table" in source.settings:
        settings = {"table": "test.raw.nowhere"}
    source.root.configure("input", **settings)
    assert source.root.night() == 1
    assert said in capfd.readouterr().err.replace("\n", " ")


@LONG
def test_an_empty_partition_is_missing(source: Writer, capfd: pytest.CaptureFixture[str]) -> None:
    source.do("id >= 0 or id is null")
    assert source.root.night() == 1
    assert "does not exist" in capfd.readouterr().err
    source.root.configure("input", on_missing="skip")
    assert source.root.night() == 0


@LONG
def test_a_late_file_is_what_since_lists(source: Writer) -> None:
    root = source.root
    assert root.night() == 0
    assert nocturne(root, "verify", "--since", DAY).exit_code == 0
    source.write(day_rows(seed=3, first=2000))
    listed = nocturne(root, "verify", "--since", DAY)
    assert "in the input and not scored" in listed.output


# What tries to break it has found


def log_of(writer: Writer, files: dict[str, pa.Table], schema: pa.Schema) -> None:
    """A Delta table with such files, whose log says that they are of the day."""

    def write() -> None:
        from deltalake import DeltaTable, Schema
        from deltalake.transaction import AddAction

        DeltaTable.create(str(writer.folder), Schema.from_arrow(schema), partition_by=["ds"])
        adds = []
        for name, table in files.items():
            path = writer.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
            stats = f'{{"numRecords": {len(table)}}}'
            adds.append(AddAction(name, path.stat().st_size, {"ds": DAY}, 0, True, stats))
        table = DeltaTable(str(writer.folder))
        table.create_write_transaction(adds, "append", table.schema(), ["ds"])

    writer.root.ask(write)


SCHEMA = day_rows().schema
PLAIN = day_rows().drop_columns(["ds"])
USUAL = f"ds={DAY}/p.parquet"


@pytest.mark.parametrize(
    ("files", "schema", "said"),
    [
        (
            {USUAL: day_rows()},
            SCHEMA,
            "it has the partition column 'ds' too, and readers have its value from the log",
        ),
        pytest.param(
            {USUAL: PLAIN},
            SCHEMA.set(SCHEMA.get_field_index("ds"), pa.field("ds", pa.string())),
            "the partition column 'ds' is string in the table, and date32[day] by its format",
            marks=LONG,
        ),
        pytest.param(
            {USUAL: PLAIN},
            SCHEMA.remove(SCHEMA.get_field_index("word")),
            "column 'word' is no column of the table",
            marks=LONG,
        ),
        pytest.param(
            {USUAL: PLAIN},
            SCHEMA.set(SCHEMA.get_field_index("word"), pa.field("word", pa.binary())),
            "its column 'word' is string, in the table it is binary",
            marks=LONG,
        ),
    ],
)
def test_columns_that_readers_see_otherwise_are_refused(
    make_root: MakeRoot,
    capfd: pytest.CaptureFixture[str],
    files: dict[str, pa.Table],
    schema: pa.Schema,
    said: str,
) -> None:
    writer = Delta(make_root())
    log_of(writer, files, schema)
    writer.root.configure("output", passthrough=["word", "ds"])
    assert writer.root.night() == 1
    assert said in capfd.readouterr().err
    assert not writer.root.attempts()


def test_files_at_odd_places_are_scored_and_listed(make_root: MakeRoot) -> None:
    writer = Delta(make_root())
    root = writer.root
    first, second = PLAIN.slice(0, 300), PLAIN.slice(300)
    log_of(writer, {"a/p-0.parquet": first, "b/p-1.parquet": second}, SCHEMA)
    assert root.night() == 0
    assert published(root) == keys(PLAIN)
    assert next(p.key for p in root.ask(lambda: [*known_partitions(root.load())])) == DAY
    replayed = nocturne(root, "verify", "--date", DAY, "--replay")
    assert replayed.exit_code == 0, replayed.output
    assert nocturne(root, "verify", "--since", DAY).exit_code == 0


@LONG
def test_partitions_are_listed_by_their_values(make_root: MakeRoot) -> None:
    """As Spark names folders of numbers: month=1/day=2."""
    writer = Delta(make_root())
    root = writer.root
    root.configure("input", partition={"year": "%Y", "month": "%m", "day": "%d"})

    def write() -> None:
        from deltalake import write_deltalake

        table = PLAIN
        for name, value in (("year", 2024), ("month", 1), ("day", 2)):
            table = table.append_column(name, pa.array([value] * len(table), pa.int32()))
        write_deltalake(str(writer.folder), table, partition_by=["year", "month", "day"])

    root.ask(write)
    assert [p.key for p in root.ask(lambda: [*known_partitions(root.load())])] == [DAY]
    assert root.night() == 0
    assert root.ask(lambda: statuses(root.load()))[0].state == "published"


@LONG
def test_files_outside_of_the_table_are_refused(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = Delta(make_root())
    log_of(writer, {USUAL: PLAIN}, SCHEMA)
    log = writer.folder / "_delta_log" / f"{1:020d}.json"
    log.write_text(log.read_text().replace(f"ds={DAY}/p", f"/elsewhere/ds={DAY}/p"))
    assert writer.root.night() == 1
    assert "has files outside of its folder" in capfd.readouterr().err


@LONG
def test_an_input_that_cant_be_read_hides_no_published_night(source: Writer) -> None:
    root = source.root
    assert root.night() == 0
    if isinstance(source, Delta):
        next((source.folder / "_delta_log").glob("*3.json")).write_text("garbage")
    else:
        metadata = (source.folder / "metadata").glob("*.json")
        max(metadata, key=lambda path: path.name).write_text("garbage")
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.key, night.state) == (DAY, "published")
    assert root.ask(lambda: newest(root.load())) == DAY
    assert nocturne(root, "status").exit_code == 0
    assert root.gc() == 0
    assert root.night() == 1


@LONG
def test_a_file_that_is_gone_for_good_is_no_matter_for_a_retry(
    source: Writer, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in [*source.folder.glob("**/*.parquet")]:
        path.unlink()
    assert source.root.night() == 1
    assert "that are not there" in capfd.readouterr().err


@LONG
def test_a_table_that_is_not_there_yet_is_waited_for(make_root: MakeRoot) -> None:
    for writer in WRITERS.values():
        root = writer(make_root()).root
        assert nocturne(root, "ready", "--date", DAY).exit_code == 75
        root.configure("input", on_missing="skip")
        assert root.night() == 0


@pytest.mark.parametrize(
    "source", ["delta", pytest.param("iceberg on s3", marks=LONG)], indirect=True
)
@pytest.mark.parametrize(
    ("ready", "said"),
    [
        ({"min_rows": 100_000}, "holds 1200 rows, input.ready.min_rows is 100000"),
        ({"min_age_minutes": 60}, "input.ready.min_age_minutes is 60"),
    ],
)
def test_a_commit_that_is_too_small_or_too_young_is_waited_for(
    source: Writer, ready: dict[str, Any], said: str
) -> None:
    source.root.configure("input", ready=ready)
    asked = nocturne(source.root, "ready", "--date", DAY)
    assert asked.exit_code == 75
    assert said in asked.output.replace("\n", " ")
    source.root.configure("input", ready=dict.fromkeys(ready, 0))
    assert nocturne(source.root, "ready", "--date", DAY).exit_code == 0


@LONG
def test_rows_that_were_all_removed_are_said_to_be(source: Writer) -> None:
    assert source.root.night() == 0
    source.do("id >= 0 or id is null")
    listed = nocturne(source.root, "verify", "--since", DAY)
    assert "the table has no row of the partition any more" in listed.output


@LONG
@pytest.mark.parametrize("source", ["iceberg"], indirect=True)
@pytest.mark.parametrize("what", ["nested", "promoted", "mapped"])
def test_columns_that_icebergs_readers_see_otherwise_are_refused(
    source: Writer, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    assert isinstance(source, Iceberg)
    root = source.root

    def change() -> None:
        from pyiceberg.types import LongType

        table = source._open().load_table("raw.flights")
        if what == "nested":
            with table.update_schema() as schema:
                inner = pa.struct([("a", pa.int64()), ("b", pa.int64())])
                schema.union_by_name(pa.schema([("pair", inner)]))
            rows = day_rows(seed=4, first=3000)
            pairs = pa.array([{"a": n, "b": -n} for n in range(len(rows))])
            table.overwrite(rows.append_column("pair", pairs), f"ds = '{DAY}'")
            with table.update_schema() as schema:
                schema.rename_column(("pair", "a"), "c")
            with table.update_schema() as schema:
                schema.rename_column(("pair", "b"), "a")
        elif what == "promoted":
            rows = day_rows(seed=4, first=3000)
            narrow = pa.array(range(len(rows)), pa.int32())
            with table.update_schema() as schema:
                schema.union_by_name(pa.schema([("small", pa.int32())]))
            table.overwrite(rows.append_column("small", narrow), f"ds = '{DAY}'")
            with table.update_schema() as schema:
                schema.update_column("small", LongType())
        else:
            path = source.folder / "data" / f"ds={DAY}" / "theirs.parquet"
            pq.write_table(day_rows(seed=4, first=3000), path)
            table.delete(f"ds = '{DAY}'")
            table.add_files([str(path)])
            with table.transaction() as transaction:
                known = transaction.table_metadata.schema().name_mapping.model_dump_json()
                swapped = known.replace('"word"', '"?"').replace('"x"', '"word"')
                transaction.set_properties(
                    {"schema.name-mapping.default": swapped.replace('"?"', '"x"')}
                )

    root.ask(change)
    column = {"nested": "pair", "promoted": "small", "mapped": "word"}[what]
    root.configure("output", passthrough=["word", column] if column != "word" else ["word"])
    assert root.night() == 1
    assert f"its column '{column}' is" in capfd.readouterr().err
    assert not root.attempts()
