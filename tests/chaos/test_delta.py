"""What only Delta tables have: their log, features and transactions."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from chaos.conftest import MakeRoot, correct
from chaos.nights import DAY, Root, rows_of
from chaos.strangers import ID, SCORES, Stranger, commits
from chaos.test_maintenance import nocturne
from forked import in_child
from nocturne.errors import StateError
from nocturne.operate.decisions import approve_held
from nocturne.operate.status import statuses

pytestmark = pytest.mark.parametrize(
    "table_format", ["delta", pytest.param("delta on s3", marks=pytest.mark.long)]
)


def test_readers_find_the_rows_their_types_and_the_history(root: Root, lake: Stranger) -> None:
    manifest = root.manifest()
    assert manifest is not None
    found = lake.read()
    assert len(found) == manifest.rows_published
    assert found.schema.field("ds").type == pa.date32()
    assert set(found["ds"].to_pylist()) == {dt.date.fromisoformat(DAY)}
    scores = pa.concat_tables(rows_of(root.output / name) for name in root.published()).sort_by(
        "id"
    )
    assert found.drop_columns(["ds"]).equals(scores)
    assert duckdb.sql("select count(*) from found").fetchall() == [(manifest.rows_published,)]
    published, made = lake.do(lambda table: table.history())
    assert published["nocturne.manifest"] == manifest.id
    assert made["operation"] == "CREATE TABLE"

    log = (lake.folder / "_delta_log" / f"{1:020d}.json").read_text().splitlines()
    stats = [json.loads(json.loads(line)["add"]["stats"]) for line in log if '"add"' in line]
    assert sum(one["numRecords"] for one in stats) == manifest.rows_published
    assert min(one["minValues"]["id"] for one in stats) == min(found["id"].to_pylist())
    assert max(one["maxValues"]["id"] for one in stats) == max(found["id"].to_pylist())
    assert {name for one in stats for name in one["minValues"]} == {"id", "word", "model_version"}


def test_readers_that_filter_by_a_column_which_they_do_not_select_find_the_rows(
    root: Root, lake: Stranger
) -> None:
    manifest = root.manifest()
    assert manifest is not None
    day = dt.date.fromisoformat(DAY)

    def found(table: Any) -> list[int]:
        where = [("ds", "=", day), ("id", ">=", 0)]
        frame = lake._polars(table).filter((pl.col("ds") == day) & (pl.col("id") >= 0))
        return [
            len(table.to_pyarrow_table(filters=where, columns=["id"])),
            frame.select("id").collect().height,
        ]

    assert lake.do(found) == [manifest.rows_published] * 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"delta.appendOnly": "true"}, "delta.appendOnly is set: rows may only be added"),
        *(
            pytest.param({name: value}, said, marks=pytest.mark.long)
            for name, value, said in (
                ("delta.enableChangeDataFeed", "true", "delta.enableChangeDataFeed is set"),
                ("delta.enableDeletionVectors", "true", "deletionVectors"),
                ("delta.columnMapping.mode", "name", "delta.columnMapping.mode is set"),
            )
        ),
    ],
)
def test_a_table_with_features_that_we_lack_is_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    lake, root = new, new.root
    lake.make([ID, *SCORES], settings)
    assert root.night() == 1
    assert said in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.usefixtures("_on_a_disk")
def test_a_folder_of_one_format_is_not_taken_for_the_other(
    root: Root, make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root.configure("output", format="parquet")
    correct(root)
    assert root.night() == 1
    assert "is a Delta table, whose log decides which files count" in capfd.readouterr().err
    plain = make_root()
    plain.configure("output", format="parquet")
    assert plain.night() == 0
    plain.configure("output", format="delta")
    assert plain.night() == 1
    assert "it is no Delta table (_delta_log is missing)" in capfd.readouterr().err


@pytest.mark.usefixtures("_on_a_disk")
def test_a_log_without_a_version_is_no_table_yet(new: Stranger) -> None:
    """A process that made it was killed."""
    lake, root = new, new.root
    (lake.folder / "_delta_log").mkdir(parents=True)
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_table_that_forgets_transactions_is_told_by_the_names_of_its_files(
    root: Root, lake: Stranger
) -> None:
    """As Spark does after `delta.setTransactionRetentionDuration`."""
    for commit in commits(lake.folder):
        actions = [line for line in commit.read_text().splitlines() if '"txn"' not in line]
        commit.write_text("\n".join(actions) + "\n")
    assert lake.do(lambda t: t.transaction_version(f"nocturne/ds={DAY}")) is None
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    correct(root)
    assert root.night() == 0
    root.check()


def test_a_process_forked_from_one_that_opened_a_table_is_told_so(root: Root) -> None:
    def fork() -> str:
        assert root.table.in_force() is not None

        def again() -> str:
            with pytest.raises(StateError) as refused:
                root.table.in_force()
            return str(refused.value)

        return in_child(again)

    assert "was forked from one that had used " in in_child(fork)


@pytest.mark.usefixtures("_on_a_disk")
def test_a_path_that_the_library_does_not_find_is_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    root.configure("output", path="out/a%20b")
    assert root.night() == 1
    assert "since the library does not find paths with '%20'" in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_vacuum_spares_a_night_that_was_held_for_longer_than_it_keeps(new: Stranger) -> None:
    lake, root = new, new.root
    lake.make([ID, *SCORES])
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    for path in root.attempts():
        then = time.time() - 8 * 86400
        if isinstance(path, Path):
            os.utime(path, (then, then))

    def publish_and_vacuum(table: Any) -> None:
        approve_held(root.load(), root.partition, "ada")
        table.vacuum(dry_run=False, full=True)  # as of before

    lake.do(publish_and_vacuum)
    root.check()


@pytest.mark.long
def test_a_disk_that_fails_after_the_commit_does_not_undo_it(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct(root)

    def fail(path: Path) -> None:
        if path.name == "_delta_log":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("nocturne.table_formats.delta.table.sync_folder", fail)
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2


@pytest.mark.long
def test_rows_that_a_deletion_vector_removes_are_not_taken_for_published(
    root: Root, lake: Stranger
) -> None:
    log = lake.folder / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{1:020d}.json").read_text().splitlines()]
    add = next(action["add"] for action in actions if "add" in action)
    features = ["deletionVectors", "timestampNtz"]
    vector = {
        "storageType": "i",
        "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
        "sizeInBytes": 40,
        "cardinality": 6,
    }
    removed = {n: add[n] for n in ("path", "partitionValues", "size")} | {"dataChange": True}
    theirs: list[dict[str, Any]] = [
        {"commitInfo": {"timestamp": 0, "operation": "DELETE", "engineInfo": "Spark"}},
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
        },
        {"remove": removed | {"deletionTimestamp": 0, "extendedFileMetadata": True}},
        {"add": add | {"deletionVector": vector}},
    ]
    (log / f"{2:020d}.json").write_text("".join(json.dumps(action) + "\n" for action in theirs))
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "failed"
    assert "it has the feature deletionVectors" in night.message
    assert nocturne(root, "verify", "--date", DAY).exit_code == 1
    assert root.night() == 1
