"""What only Iceberg tables have: a catalog, snapshots, delete files and partition specs."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chaos.conftest import correct, with_columns
from chaos.nights import DAY, Root, rows_of, whole_night
from chaos.strangers import ID, SCORES, Iceberg, Stranger, replace
from chaos.test_maintenance import nocturne
from formats import CATALOG, OUTPUT, catalog_in
from nocturne.operate.status import statuses

pytestmark = [
    pytest.mark.parametrize("table_format", ["iceberg"]),
    pytest.mark.filterwarnings("ignore:Iceberg scan planning"),
]


def test_readers_find_the_rows_their_types_and_the_history(root: Root, lake: Stranger) -> None:
    first = root.manifest()
    assert first is not None
    before = lake.read()
    correct(root)
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    found = lake.read()
    assert len(found) == manifest.rows_published
    assert found.schema.field("ds").type == pa.date32()
    assert set(found["ds"].to_pylist()) == {dt.date.fromisoformat(DAY)}
    scores = pa.concat_tables(rows_of(root.output / name) for name in root.published()).sort_by(
        "id"
    )
    assert found.equals(scores), "the partition column too"

    def others(table: Any) -> tuple[Any, ...]:
        now = pl.scan_iceberg(table, reader_override="native")
        day = now.filter(pl.col("ds") == dt.date.fromisoformat(DAY))
        one = now.filter(pl.col("id") == 1000).collect()
        [[rows, days]] = (
            table.scan().to_duckdb("t").sql("select count(*), count(distinct ds) from t").fetchall()
        )
        past, last = table.snapshots()
        then = table.scan(snapshot_id=past.snapshot_id).to_arrow()
        said = [snapshot.summary["nocturne.manifest"] for snapshot in (past, last)]
        return (
            day.collect().to_arrow().sort_by("id"),
            one.height,
            table.scan(row_filter="id = 1000 and word is not null").to_arrow().num_rows,
            (rows, days),
            then.sort_by("id")["score"].to_pylist(),
            said,
        )

    polars, one, also, duck, then, said = lake.do(others)
    assert polars["score"].to_pylist() == found["score"].to_pylist()
    assert polars["id"].to_pylist() == found["id"].to_pylist()
    assert (one, also) == (1, 1)
    assert duck == (manifest.rows_published, 1)
    assert then == before["score"].to_pylist(), "time travel"
    assert said == [first.id, manifest.id], "a snapshot a night"


@pytest.mark.parametrize(
    "columns",
    [("id",), *(pytest.param(c, marks=pytest.mark.long) for c in (("ds",), ("id", "ds"), ("*",)))],
)
def test_readers_that_filter_by_a_column_which_they_do_not_select_find_the_rows(
    root: Root, lake: Stranger, columns: tuple[str, ...]
) -> None:
    """pyiceberg 0.12 finds none if the column is not in the file."""
    manifest = root.manifest()
    assert manifest is not None
    for where, rows in (
        (f"ds = '{DAY}'", manifest.rows_published),
        (f"ds = '{DAY}' and id >= 0", manifest.rows_published),
        ("ds = '2024-01-03'", 0),
    ):
        found = lake.do(
            lambda table, where=where: table.scan(
                row_filter=where, selected_fields=columns
            ).to_arrow()
        )
        assert len(found) == rows, where


@pytest.mark.long
@pytest.mark.parametrize(
    "columns",
    [
        {"a.b": pa.nulls(3, pa.int64())},
        {"a.b": pa.nulls(3, pa.int64()), "a": pa.nulls(3, pa.struct([("b", pa.int64())]))},
        {"a": pa.nulls(3, pa.list_(pa.struct([("a.b", pa.int64())])))},
    ],
    ids=["a name", "beside a struct", "inside of a list"],
)
def test_names_with_dots_are_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str], columns: dict[str, pa.Array]
) -> None:
    with_columns(new.root, columns)
    assert new.root.night() == 1
    assert "column 'a.b' has a dot in its name" in capfd.readouterr().err
    assert not new.root.attempts()


@pytest.mark.long
@pytest.mark.parametrize(
    "type_",
    [
        *(pa.uint8(), pa.uint32(), pa.float16(), pa.timestamp("ns"), pa.timestamp("ms")),
        *(pa.time32("ms"), pa.decimal256(40, 2), pa.list_(pa.uint16())),
        pa.list_(pa.list_(pa.float32(), 2)),
        pa.struct([("at", pa.timestamp("us", "Europe/Berlin"))]),
    ],
    ids=str,
)
def test_types_that_iceberg_lacks_are_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str], type_: pa.DataType
) -> None:
    with_columns(new.root, {"odd": pa.nulls(3, type_)})
    assert new.root.night() == 1
    assert "which Iceberg does not have" in capfd.readouterr().err
    assert not new.root.attempts()


@pytest.mark.long
def test_rows_that_a_delete_file_removes_are_not_taken_for_published(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Spark writes them where `write.delete.mode` is merge-on-read."""
    before = len(lake.read())

    def delete(table: Any) -> None:
        from pyiceberg import manifest
        from pyiceberg.typedef import Record

        task = next(iter(table.scan().plan_files()))
        path = Path(task.file.file_path.removeprefix("file://")).with_name("deletes.parquet")
        rows = {"file_path": [task.file.file_path], "pos": pa.array([0], pa.int64())}
        pq.write_table(pa.table(rows), path)
        file = manifest.DataFile.from_args(
            content=manifest.DataFileContent.POSITION_DELETES,
            file_path=f"file://{path}",
            file_format=manifest.FileFormat.PARQUET,
            partition=Record(*task.file.partition._data),
            record_count=1,
            file_size_in_bytes=path.stat().st_size,
            spec_id=task.file.spec_id,
            **dict.fromkeys(
                (
                    *("column_sizes", "value_counts", "null_value_counts", "nan_value_counts"),
                    *("lower_bounds", "upper_bounds", "key_metadata", "split_offsets"),
                    *("equality_ids", "sort_order_id"),
                )
            ),
        )
        manifest.ManifestWriterV2.content = lambda self: manifest.ManifestContent.DELETES
        transaction = table.transaction()
        with transaction.update_snapshot().fast_append() as snapshot:
            snapshot.append_data_file(file)
        transaction.commit_transaction()

    lake.do(delete)
    assert len(lake.read()) == before - 1
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "failed"
    assert "delete files remove rows of it" in night.message
    correct(root)
    assert root.night() == 1
    assert "delete files remove rows of it" in capfd.readouterr().err
    adopted = nocturne(root, "adopt", "--date", DAY)
    assert adopted.exit_code == 1
    assert "delete files remove rows of it" in adopted.output
    lake.compact()
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.rows_published == before - 1
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_table_that_was_set_back_is_not_published(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    first = lake.read()
    correct(root)
    assert root.night() == 0

    def set_back(table: Any) -> None:
        past = table.snapshots()[0].snapshot_id
        table.manage_snapshots().rollback_to_snapshot(past).commit()

    lake.do(set_back)
    assert lake.read().equals(first)
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.state, "a rollback of the table" in night.message) == ("failed", True)
    assert root.night() == 1
    assert "a rollback of the table" in capfd.readouterr().err
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    assert lake.read().equals(first)
    assert root.night() == 0
    root.check()


def make(lake: Stranger, change: Callable[[Any], object], **settings: str) -> None:
    lake.make([ID, *SCORES], settings)
    lake.do(lambda table: change(table) and None)


def _transform(table: Any) -> None:
    from pyiceberg.transforms import BucketTransform

    with table.update_spec() as spec:
        spec.remove_field("ds")
        spec.add_field("ds", BucketTransform(4), "some")


def _other_spec_with_files(table: Any) -> None:
    rows = {"id": [1], "word": ["a"], "score": pa.array([1.0], pa.float32())}
    rows |= {"model_version": pa.array([1], pa.int32()), "ds": [dt.date(2023, 1, 1)]}
    with table.update_spec() as spec:
        spec.remove_field("ds")
    table.append(pa.table(rows))
    with table.update_spec() as spec:
        spec.add_identity("ds")


def _version_3(table: Any) -> None:
    """pyiceberg reads it, and can't write it."""
    path = Path(table.metadata_location.removeprefix("file://"))
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"format-version": 3, "next-row-id": 0}))


def _odd_mapping(table: Any) -> None:
    with table.transaction() as transaction:
        mapping = '[{"names":["id"],"field-id":2},{"names":["word"],"field-id":1}]'
        transaction.set_properties({"schema.name-mapping.default": mapping})


def _property(name: str, value: str) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        with table.transaction() as transaction:
            transaction.set_properties({name: value})

    return change


def _not_null(table: Any) -> None:
    with table.update_schema(allow_incompatible_changes=True) as schema:
        schema.make_column_optional("id")
        schema.update_column("ds", required=True)


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (_transform, {}, "bucket[4]"),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                (_other_spec_with_files, {}, "the table has files of an earlier partitioning"),
                (_odd_mapping, {}, "does not give the ids of the column 'id'"),
                (_property("schema.name-mapping.default", "{"), {}, "is no name mapping"),
                (_property(f"nocturne/ds={DAY}", "x"), {}, "expected the number of a manifest"),
                (_not_null, {}, "its partition column 'ds' is NOT NULL"),
                (lambda _: None, {"format-version": "1"}, "it has format-version 1, expected 2"),
                (_version_3, {}, "it has format-version 3, expected 2"),
                (lambda _: None, {"write.wap.enabled": "true"}, "write.wap.enabled is set"),
                (lambda _: None, {"encryption.key-id": "k"}, "encryption.key-id is set"),
            )
        ),
    ],
)
def test_a_table_that_we_cant_write_is_refused_before_a_row_is_scored(
    new: Stranger,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Any], object],
    settings: dict[str, str],
    said: str,
) -> None:
    make(new, change, **settings)
    assert new.root.night() == 1
    assert said in capfd.readouterr().err
    assert not new.root.attempts()


@pytest.mark.long
@pytest.mark.parametrize(
    ("nested", "said"),
    [
        ('{"names":["vec"],"field-id":1}', "does not give the ids of the column 'vec'"),
        ("", "its column 'vec' is list<float not null>, that of the scores is list<float>"),
    ],
)
def test_nested_columns_that_readers_would_not_find_are_refused(
    new: Stranger, capfd: pytest.CaptureFixture[str], nested: str, said: str
) -> None:
    with_columns(new.root, {"vec": pa.array([[1.5], [], None], pa.list_(pa.float32()))})

    def change(table: Any) -> None:
        if nested:
            known = json.loads(table.schema().name_mapping.model_dump_json())
            for field in known:
                field.pop("fields", None)
            _property("schema.name-mapping.default", json.dumps(known))(table)

    new.make(
        [
            ID,
            SCORES[0],
            ("vec", pa.list_(pa.field("element", pa.float32(), bool(nested)))),
            *SCORES[1:],
        ]
    )
    new.do(change)
    assert new.root.night() == 1
    assert said in capfd.readouterr().err
    assert not new.root.attempts()


@pytest.mark.long
def test_a_file_that_is_there_twice_is_not_taken_for_once(root: Root, lake: Stranger) -> None:
    """`add_files` does so, if it is told not to look."""
    before = len(lake.read())

    def add_again(table: Any) -> None:
        transaction = table.transaction()
        with transaction.update_snapshot().fast_append() as snapshot:
            for task in table.scan().plan_files():
                snapshot.append_data_file(task.file)
        transaction.commit_transaction()

    lake.do(add_again)
    assert len(lake.read()) == 2 * before
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.state, " 2 times" in night.message) == ("failed", True)
    for command in ("verify", "adopt"):
        assert nocturne(root, command, "--date", DAY).exit_code == 1
    assert root.night() == 1


@pytest.mark.long
def test_a_compaction_after_an_adoption_is_compared_in_all_columns(
    root: Root, lake: Stranger
) -> None:
    def add(table: Any) -> None:
        rows = pa.table({"id": [4711], "ds": [dt.date.fromisoformat(DAY)]})
        table.append(rows.cast(pa.schema([("id", pa.int64()), ("ds", pa.date32())])))

    lake.do(add)
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    lake.compact()
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    done = nocturne(root, "adopt", "--compacted")
    assert "the same rows in other files" in done.output

    def lie(table: Any) -> None:
        """What calls itself a compaction, and changes the scores."""
        rows = lake._rows(table)  # type: ignore[attr-defined]
        at = rows.schema.names.index("score")
        other = rows.set_column(at, "score", pa.array([7.0] * len(rows), pa.float32()))
        replace(table, other)

    lake.do(lie)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 1
    assert nocturne(root, "adopt", "--compacted").exit_code == 1


@pytest.mark.long
def test_a_table_at_another_place_is_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    new.make([ID, *SCORES])
    new.root.configure("output", path="out/elsewhere")
    assert new.root.night() == 1
    told = capfd.readouterr().err
    assert f"it is at file://{new.folder}, and output.path is file://" in told
    assert not new.root.attempts()


@pytest.mark.long
def test_a_renamed_column_is_refused_and_the_scores_of_before_stay(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    def rename(table: Any) -> None:
        with table.update_schema() as schema:
            schema.rename_column("word", "text")

    found = lake.read()["word"].to_pylist()
    lake.do(rename)
    assert lake.read()["text"].to_pylist() == found
    correct(root)
    assert root.night() == 1
    assert "it has no column 'word'" in capfd.readouterr().err
    root.configure("output", passthrough=[])
    assert root.night() == 0
    assert lake.read()["text"].null_count == len(lake.read())


# The catalog


@pytest.mark.long
def test_a_dropped_or_renamed_table_is_not_taken_for_a_new_one(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    root.configure("output", table="test.nights.other")
    correct(root)
    assert root.night() == 1
    told = capfd.readouterr().err
    assert "there are files in data/, but no test.nights.other: was it dropped, or renamed?" in told
    root.configure("output", table=OUTPUT["iceberg"]["table"])
    assert root.night() == 0
    root.check()


@pytest.mark.parametrize(
    ("uri", "code", "said"),
    [
        ("", 1, f"Set {CATALOG} (and what else it needs), or describe it in .pyiceberg.yaml"),
        ("sqlite:////no/such/folder/c.db", 75, "does not answer"),
        ("nonsense", 1, "can't be opened"),
        ("postgresql+none://ada:s3cr3t@db/c", 1, "can't be opened"),
        ("mysql://ada:s3cr3t@db/c", 1, "can't be opened"),
        ("postgresql+psycopg2://ada:s3cr3t@127.0.0.1:9/c", 75, "does not answer"),
        ("http://127.0.0.1:9/?token=s3cr3t", 75, "does not answer"),
        ("file", 1, "can't be used: Could not initialize FileIO: no.such.Class"),
    ],
)
def test_a_catalog_that_cant_be_used_is_named_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str], uri: str, code: int, said: str
) -> None:
    root = new.root

    def night() -> None:
        loaded = root.load()
        del os.environ[CATALOG]
        if uri == "file":
            os.environ[CATALOG] = catalog_in(root.path)
            os.environ[CATALOG.replace("URI", "PY_IO_IMPL")] = "no.such.Class"
        elif uri:
            os.environ[CATALOG] = uri
        whole_night(loaded, root.partition_of(loaded))

    assert root.wait(root.start(night)) == code
    told = capfd.readouterr().err
    assert said in told
    assert "s3cr3t" not in told
    assert not (root.path / "out" / "_nocturne" / "scores" / f"ds={DAY}" / "runs").exists()


def _answers(root: Root, commit: Callable[[Any, Callable[..., Any]], Any]) -> int:
    """A night in which the catalog's commits go through ``commit``; its exit code."""

    def night() -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        right = SqlCatalog.commit_table
        SqlCatalog.commit_table = lambda self, *args: commit(self, lambda: right(self, *args))  # type: ignore
        whole_night(root.load(), root.partition)

    return root.wait(root.start(night))


def _no_answer() -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("COMMIT", {}, Exception("server closed the connection"))


@pytest.mark.parametrize("landed", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_commit_whose_answer_is_lost_is_published_once(root: Root, landed: bool) -> None:
    correct(root)
    lost: list[int] = []

    def commit(catalog: Any, do: Callable[[], Any]) -> Any:
        if lost:
            return do()
        lost.append(1)
        if landed:
            do()
        raise _no_answer()

    assert _answers(root, commit) == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2
    assert len(list(root.place("manifests").glob("*.json"))) == 2


@pytest.mark.long
@pytest.mark.parametrize("landed", [True, False])
def test_a_catalog_that_is_gone_after_a_commit_leaves_what_may_be_published(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str], landed: bool
) -> None:
    correct(root)
    before = lake.read()

    def commit(catalog: Any, do: Callable[[], Any]) -> Any:
        if landed:
            do()

        def gone(*_: Any) -> Any:
            raise _no_answer()

        type(catalog).load_table = gone
        raise _no_answer()

    assert _answers(root, commit) == 75
    assert "did not answer a commit" in capfd.readouterr().err
    assert lake.read().equals(before) is not landed
    assert root.ask(lambda: statuses(root.load()))[0].state in ("published", "failed", "unfinished")
    assert root.night() == 0
    root.check()
    assert root.gc() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == (2 if landed else 3)


@pytest.mark.parametrize(
    "change", ["columns", pytest.param("partitioning", marks=pytest.mark.long)]
)
def test_a_table_that_changes_in_the_moment_of_a_commit_is_refused(
    root: Root, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    correct(root)
    before = root.published()
    changed: list[int] = []

    def commit(catalog: Any, do: Callable[[], Any]) -> Any:
        if not changed:
            changed.append(1)
            table = catalog.load_table(tuple(OUTPUT["iceberg"]["table"].split(".")[1:]))
            if change == "columns":
                with table.update_schema() as schema:
                    schema.rename_column("word", "text")
            else:
                with table.update_spec() as spec:
                    spec.add_identity("model_version")
        return do()

    assert _answers(root, commit) == 1
    told = capfd.readouterr().err
    said = {
        "columns": "it has no column 'word'",
        "partitioning": "partitioned by ds, model_version",
    }
    assert said[change] in told
    if change == "columns":
        assert root.published() == before


@pytest.mark.long
def test_the_number_of_another_is_not_taken_for_ours(
    root: Root, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another state publishes into the partition, with the same number."""
    correct(root)
    changed: list[int] = []

    def commit(catalog: Any, do: Callable[[], Any]) -> Any:
        if changed:
            return do()
        changed.append(1)
        table = catalog.load_table(tuple(OUTPUT["iceberg"]["table"].split(".")[1:]))
        _property(f"nocturne/ds={DAY}", "2")(table)
        raise _no_answer()

    assert _answers(root, commit) == 75
    assert "another state publishes into it too" in capfd.readouterr().err


@pytest.mark.long
def test_what_a_commit_names_is_on_the_disk_before_it(root: Root, lake: Stranger) -> None:
    """A power failure can't leave the catalog with the name of a file that is gone."""
    correct(root)
    before = {*(lake.folder / "metadata").iterdir()}
    found = root.path / "synced"

    def night() -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        synced: set[str] = set()
        sync, right = os.fsync, SqlCatalog.commit_table

        def fsync(number: int) -> None:
            sync(number)
            synced.add(os.readlink(f"/proc/self/fd/{number}"))

        def commit(self: Any, *args: Any) -> Any:
            answer = right(self, *args)
            found.write_text("\n".join(synced))
            return answer

        os.fsync = fsync
        SqlCatalog.commit_table = commit  # type: ignore[method-assign]
        whole_night(root.load(), root.partition)

    assert root.wait(root.start(night)) == 0
    written = {*(lake.folder / "metadata").iterdir()} - before
    assert len(written) >= 4, "metadata, manifest list, manifests"
    synced = set(found.read_text().split("\n"))
    assert {str(path) for path in written} | {str(lake.folder / "metadata")} <= synced


@pytest.mark.long
def test_iceberg_said_of_a_folder_of_another_format(
    root: Root, new: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    root.configure("output", format="parquet", table=None)
    assert root.night() == 1
    assert "is an Iceberg table, whose metadata decides which files" in capfd.readouterr().err
    new.root.configure("output", format="parquet", table=None)
    assert new.root.night() == 0
    new.root.configure("output", **OUTPUT["iceberg"])
    assert new.root.night() == 1
    assert "it is no Iceberg table (it has no metadata)" in capfd.readouterr().err


@pytest.mark.parametrize("path", ["out/a#b", "out/a?b", "out/a[1]"])
def test_a_path_that_readers_do_not_find_is_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str], path: str
) -> None:
    new.root.configure("output", path=path)
    assert new.root.night() == 1
    assert "since its readers do not find paths with" in capfd.readouterr().err
    assert not new.root.attempts()


@pytest.mark.long
@pytest.mark.parametrize("path", ["out/a%20b c", "out/é"])
def test_odd_paths_are_found(new: Stranger, path: str) -> None:
    new.root.configure("output", path=path)
    assert new.root.night() == 0
    new.root.check()
    assert len(new.do(lambda table: pl.scan_iceberg(table, reader_override="native").collect()))


@pytest.mark.long
def test_a_commit_of_ours_sets_no_other_setting_of_the_table(root: Root, lake: Stranger) -> None:
    settings = lake.do(lambda table: dict(table.properties))
    assert settings.pop(f"nocturne/ds={DAY}") == "1"
    assert set(settings) == {
        "schema.name-mapping.default",
        "write.metadata.delete-after-commit.enabled",
    }
    assert isinstance(lake, Iceberg)
