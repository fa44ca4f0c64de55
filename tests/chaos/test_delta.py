"""A Delta table that other programs write too: what they change is never replaced or lost."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, rows
from chaos.nights import DAY, Root, whole_night
from chaos.test_maintenance import nocturne
from forked import in_child
from nocturne import config
from nocturne.errors import PublishError
from nocturne.operate.decisions import approve_held
from nocturne.operate.status import newest, statuses
from nocturne.pipeline.places import Places
from waiting import until

T = TypeVar("T")
Field = tuple[str, pa.DataType]

ID: Field = ("id", pa.int64())
SCORES: list[Field] = [
    ("word", pa.string()),
    ("score", pa.float32()),
    ("model_version", pa.int32()),
]
BY_DAY: tuple[Field, ...] = (("ds", pa.date32()),)

pytestmark = pytest.mark.parametrize("table_format", ["delta"])


def folder(root: Root) -> Path:
    return root.output.parent


def on_table(root: Root, work: Callable[[Any], T]) -> T:
    """What another program does with the table; in a process of its own."""

    def call() -> T:
        from deltalake import DeltaTable

        return work(DeltaTable(str(folder(root))))

    return root.ask(call)


def read(root: Root) -> pa.Table:
    """The partition as a reader finds it."""
    where = [("ds", "=", DAY)]
    return on_table(root, lambda table: table.to_pyarrow_table(partitions=where)).sort_by("id")


def append(root: Root, day: str = DAY) -> None:
    """Another program adds a row to a partition."""

    def write(table: Any) -> None:
        from deltalake import write_deltalake

        row = table.to_pyarrow_table().slice(0, 1).to_pydict()
        theirs = row | {"id": [4711], "ds": [dt.date.fromisoformat(day)]}
        write_deltalake(
            table, pa.table(theirs, pa.schema(table.schema().to_arrow())), mode="append"
        )

    on_table(root, write)


def optimize(root: Root) -> None:
    on_table(root, lambda table: table.optimize.compact() and None)


def vacuum(root: Root) -> None:
    """Removes everything that is not in the last version."""
    on_table(
        root,
        lambda table: (
            table.vacuum(
                retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True
            )
            and None
        ),
    )


def promise_nothing(root: Root) -> None:
    """Replaced files are promised to no reader any more."""
    nothing = {"delta.deletedFileRetentionDuration": "interval 0 days"}
    on_table(root, lambda table: table.alter.set_table_properties(nothing))


def correct(root: Root) -> None:
    pq.write_table(rows(600, 50, 1000), root.input / "part-1.parquet", row_group_size=100)


def test_readers_find_the_rows_their_types_and_the_history(root: Root) -> None:
    manifest = root.manifest()
    assert manifest is not None
    found = read(root)
    assert len(found) == manifest.rows_published
    assert found.schema.field("ds").type == pa.date32()
    assert set(found["ds"].to_pylist()) == {dt.date.fromisoformat(DAY)}
    scores = pa.concat_tables(
        pq.read_table(root.output / name, partitioning=None) for name in root.published()
    ).sort_by("id")
    assert found.drop_columns(["ds"]).equals(scores)
    assert duckdb.sql("select count(*) from found").fetchall() == [(manifest.rows_published,)]
    published, made = on_table(root, lambda table: table.history())
    assert published["nocturne.manifest"] == manifest.id
    assert made["operation"] == "CREATE TABLE"

    log = (folder(root) / "_delta_log" / f"{1:020d}.json").read_text().splitlines()
    stats = [json.loads(json.loads(line)["add"]["stats"]) for line in log if '"add"' in line]
    assert sum(one["numRecords"] for one in stats) == manifest.rows_published
    assert min(one["minValues"]["id"] for one in stats) == min(found["id"].to_pylist())
    assert max(one["maxValues"]["id"] for one in stats) == max(found["id"].to_pylist())
    assert {name for one in stats for name in one["minValues"]} == {"id", "word", "model_version"}


def change(work: Callable[[Any], object]) -> Callable[[Root], None]:
    return lambda root: on_table(root, lambda table: work(table) and None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (append, "WRITE by delta-rs"),
        *(
            pytest.param(change(work), said, marks=pytest.mark.long)
            for work, said in (
                (lambda table: table.delete("id = 1000"), "DELETE by"),
                (lambda table: table.delete(f"ds = '{DAY}'"), "DELETE by"),
                (lambda t: t.update(updates={"score": "1.0"}, predicate="id = 1000"), "UPDATE by"),
                (lambda table: table.restore(0), "RESTORE by"),
            )
        ),
    ],
)
def test_what_others_changed_is_refused_by_name_until_it_is_adopted(
    root: Root, capfd: pytest.CaptureFixture[str], change: Callable[[Root], None], said: str
) -> None:
    before = root.published()
    change(root)
    theirs = read(root)
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "failed"
    assert said in night.message

    correct(root)
    assert root.night() == 1
    told = capfd.readouterr().err
    assert said in told
    assert "nocturne adopt" in told
    assert read(root).equals(theirs), "nothing was changed"
    refused = nocturne(root, "rollback", "--date", DAY)
    assert refused.exit_code == 1

    adopted = nocturne(root, "adopt", "--date", DAY, "--by", "ada")
    assert adopted.exit_code == 0, adopted.output
    manifest = root.manifest()
    assert manifest is not None
    assert (manifest.adopted, manifest.approved_by) == ("rows", "ada")
    assert manifest.rows_published == len(theirs)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert read(root).equals(theirs)
    again = nocturne(root, "adopt", "--date", DAY)
    assert again.exit_code == 1
    assert "there is nothing to adopt" in again.output

    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert root.published() == before
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0, "and there is a way back"
    assert read(root).equals(theirs)
    assert root.night() == 0, "what was adopted is replaced"
    root.check()
    assert not set(before) & set(root.published())


def test_files_that_optimize_wrote_are_adopted_once_their_rows_were_compared(root: Root) -> None:
    found = read(root)
    optimize(root)
    assert len(on_table(root, lambda table: table.file_uris())) == 1
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "published"
    root.check()

    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert (manifest.number, manifest.adopted, len(manifest.outputs)) == (2, "files", 1)
    assert root.night() == 0
    assert root.manifest() == manifest, "the same night: nothing to do"
    assert read(root).equals(found)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    replayed = nocturne(root, "verify", "--date", DAY, "--replay")
    assert replayed.exit_code == 0, replayed.output

    correct(root)
    assert root.night() == 0
    root.check()
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert read(root).equals(found)


@pytest.mark.long
def test_a_held_night_replaces_what_optimize_rearranged_meanwhile(root: Root) -> None:
    correct(root)
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    optimize(root)
    vacuum(root)
    assert nocturne(root, "approve", "--date", DAY).exit_code == 0
    root.check()


@pytest.mark.long
def test_what_optimize_wrote_and_vacuum_left_alone_cant_be_compared(
    root: Root, capfd: pytest.CaptureFixture[str]
) -> None:
    found = read(root)
    optimize(root)
    vacuum(root)
    done = nocturne(root, "verify", "--date", DAY)
    assert done.exit_code == 1
    assert "are gone (VACUUM?), so the rows can't be compared" in done.output
    assert root.night() == 1
    assert "nocturne adopt p --date" in capfd.readouterr().err
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert read(root).equals(found)
    gone = nocturne(root, "rollback", "--date", DAY, "--to", "1")
    assert gone.exit_code == 1
    assert "VACUUM of a Delta table takes them too" in gone.output.replace("\n", " ")
    assert read(root).equals(found)
    assert root.night() == 0
    root.check()


def test_a_rollback_to_what_vacuum_took_is_refused(root: Root) -> None:
    correct(root)
    assert root.night() == 0
    before = root.published()
    vacuum(root)
    done = nocturne(root, "rollback", "--date", DAY)
    assert done.exit_code == 1
    assert "No earlier version is kept" in done.output
    assert root.published() == before
    root.check()


def test_other_partitions_are_left_to_their_writers(root: Root) -> None:
    append(root, "2023-12-31")
    assert root.night() == 0
    correct(root)
    assert root.night() == 0
    root.check()
    assert (
        on_table(root, lambda t: len(t.to_pyarrow_table(partitions=[("ds", "=", "2023-12-31")])))
        == 1
    )


def test_a_commit_between_look_and_publish_is_not_replaced(
    make_root: MakeRoot, root: Root, capfd: pytest.CaptureFixture[str]
) -> None:
    correct(root)
    pid = root.start_night("commit.written=SIGSTOP")
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the failpoint")
    append(root)
    theirs = read(root)
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 1
    assert "is being changed by another program" in capfd.readouterr().err
    assert read(root).equals(theirs)
    assert len(list((root.state / "manifests").glob("*.json"))) == 1


@pytest.mark.long
def test_a_commit_in_another_partition_between_does_no_harm(root: Root) -> None:
    correct(root)
    pid = root.start_night("commit.written=SIGSTOP")
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the failpoint")
    append(root, "2023-12-31")
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 0
    root.check()


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
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    root = make_root()
    made(root, [ID, *SCORES], settings)
    assert root.night() == 1
    assert said in capfd.readouterr().err
    assert not root.attempts()


def made(
    root: Root,
    fields: list[Field],
    settings: dict[str, str] | None = None,
    keys: tuple[Field, ...] = BY_DAY,
) -> None:
    """Another program makes the table."""

    def make() -> None:
        from deltalake import DeltaTable, Schema

        schema = Schema.from_arrow(pa.schema([*fields, *keys]))
        names = [name for name, _ in keys]
        DeltaTable.create(
            str(folder(root)), schema, partition_by=names, configuration=settings or {}
        )

    root.ask(make)


@pytest.mark.parametrize(
    ("fields", "keys", "said"),
    [
        (
            [("id", pa.int32()), *SCORES],
            (("ds", pa.date32()),),
            "its column 'id' is integer, that of the scores is long",
        ),
        (
            [("id", pa.int64()), *SCORES[1:]],
            (("ds", pa.date32()),),
            "it has no column 'word' (ALTER TABLE",
        ),
        ([ID, *SCORES], (("ds", pa.int32()),), "'2024-01-02' is no such value"),
        ([ID, *SCORES], (("day", pa.date32()),), "is partitioned by day"),
        ([ID, *SCORES], (), "is partitioned by nothing"),
    ],
)
def test_a_table_of_other_columns_is_refused_before_a_row_is_scored(
    make_root: MakeRoot,
    capfd: pytest.CaptureFixture[str],
    fields: list[Field],
    keys: tuple[Field, ...],
    said: str,
) -> None:
    root = make_root()
    made(root, fields, keys=keys)
    assert root.night() == 1
    assert said in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_a_table_that_somebody_made_is_published_into(make_root: MakeRoot) -> None:
    root = make_root()
    more = [("note", pa.string())]
    settings = {"delta.deletedFileRetentionDuration": "interval 1 days"}
    made(root, [ID, *more, *SCORES], settings, (("ds", pa.string()),))
    assert root.night() == 0
    root.check()
    found = read(root)
    assert found["note"].null_count == len(found)
    assert set(found["ds"].to_pylist()) == {DAY}


def test_types_that_delta_lacks_are_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        small = pa.array([7] * len(table), pa.uint8())
        pq.write_table(table.append_column("small", small), path)
    root.configure("output", passthrough=["word", "small"])
    assert root.night() == 1
    assert "column 'small' is uint8, which Delta does not have" in capfd.readouterr().err
    assert not root.attempts()


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


def test_a_log_without_a_version_is_no_table_yet(make_root: MakeRoot) -> None:
    """A process that made it was killed."""
    root = make_root()
    (folder(root) / "_delta_log").mkdir(parents=True)
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_table_that_forgets_transactions_is_told_by_the_names_of_its_files(root: Root) -> None:
    """As Spark does after `delta.setTransactionRetentionDuration`."""
    for commit in (folder(root) / "_delta_log").glob("*.json"):
        actions = [line for line in commit.read_text().splitlines() if '"txn"' not in line]
        commit.write_text("\n".join(actions) + "\n")
    assert on_table(root, lambda t: t.transaction_version(f"nocturne/ds={DAY}")) is None
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    correct(root)
    assert root.night() == 0
    root.check()


def test_a_process_forked_from_one_that_opened_a_table_is_told_so(root: Root) -> None:
    def fork() -> str:
        assert root.table.in_force() is not None

        def again() -> str:
            with pytest.raises(PublishError) as refused:
                root.table.in_force()
            return str(refused.value)

        return in_child(again)

    assert "was forked from one that had opened a Delta table" in in_child(fork)


def test_a_path_that_the_library_does_not_find_is_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    root.configure("output", path="out/a%20b")
    assert root.night() == 1
    assert "since the library does not find paths with '%20'" in capfd.readouterr().err
    assert not root.attempts()


def test_two_keys_with_odd_values_and_types_that_the_table_chose(make_root: MakeRoot) -> None:
    root = make_root()
    keys = (("ds", pa.date32()), ("hour", pa.int32()), ("place", pa.string()))
    made(root, [ID, *SCORES], keys=keys)
    conf = {"ds": "%Y-%m-%d", "hour": "%H", "place": "a-b.c"}
    root.configure("input", partition=conf)
    source = root.path / "data" / f"ds={DAY}"
    deep = source / "hour=05" / "place=a-b.c"
    deep.mkdir(parents=True)
    for path in source.glob("*.parquet"):
        path.rename(deep / path.name)

    def night() -> None:
        loaded = root.load()
        partition = config.partition(loaded.pipeline.input.partition, f"{DAY}T05")
        whole_night(loaded, partition)
        whole_night(loaded, partition)

    assert root.wait(root.start(night)) == 0
    found = on_table(root, lambda table: table.to_pyarrow_table())
    assert set(found["hour"].to_pylist()) == {5}
    assert set(found["place"].to_pylist()) == {"a-b.c"}
    [partition] = root.ask(
        lambda: [*Places.of(root.load()).table.partitions(["ds", "hour", "place"])]
    )
    assert partition == f"ds={DAY}/hour=05/place=a-b.c"


@pytest.mark.long
def test_gc_keeps_what_readers_of_older_versions_are_promised(root: Root) -> None:
    first = root.published()
    correct(root)
    root.configure("output", keep=0)
    assert root.night() == 0
    assert "no garbage" in nocturne(root, "gc", "--older-than", "0").output
    promise_nothing(root)
    listed = nocturne(root, "gc", "--older-than", "0", "--yes", "--json")
    removed = {Path(one["path"]).name for one in json.loads(listed.stdout.splitlines()[-1])}
    assert removed >= set(first) - set(root.published())
    assert not any((root.output / name).exists() for name in first)
    root.check()


@pytest.mark.long
def test_two_drivers_publish_one_partition_twenty_times_at_once(make_root: MakeRoot) -> None:
    for _ in range(20):
        root = make_root()
        codes = [root.wait(pid) for pid in [root.start_night() for _ in range(2)]]
        assert 0 in codes
        # 75: its workers' files were tidied up, as the other one had published the same run.
        assert set(codes) <= {0, 1, 75}
        root.check()


@pytest.mark.long
def test_two_partitions_of_a_new_table_are_published_at_once(make_root: MakeRoot) -> None:
    for _ in range(10):
        root = make_root()
        other = "2024-01-03"
        (root.path / "data" / f"ds={other}").symlink_to(root.input)

        def night(day: str, root: Root = root) -> None:
            loaded = root.load()
            whole_night(loaded, config.partition(loaded.pipeline.input.partition, day))

        pids = [root.start(lambda day=day: night(day)) for day in (DAY, other)]  # type: ignore[misc]
        assert [root.wait(pid) for pid in pids] == [0, 0]
        root.check()
        counts = on_table(root, lambda t: t.to_pyarrow_table(columns=["ds"])["ds"].value_counts())
        assert len({row["counts"].as_py() for row in counts}) == 1
        assert len(counts) == 2


# What tries to break it has found


def long_ago(days: int, *paths: Path) -> None:
    for path in paths:
        then = time.time() - days * 86400
        os.utime(path, (then, then))


@pytest.mark.long
def test_vacuum_spares_a_night_that_was_held_for_longer_than_it_keeps(make_root: MakeRoot) -> None:
    root = make_root()
    made(root, [ID, *SCORES])
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    long_ago(8, *root.attempts())

    def publish_and_vacuum(table: Any) -> None:
        approve_held(root.load(), root.partition, "ada")
        table.vacuum(dry_run=False, full=True)  # as of before

    on_table(root, publish_and_vacuum)
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
def test_rows_that_a_deletion_vector_removes_are_not_taken_for_published(root: Root) -> None:
    log = folder(root) / "_delta_log"
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


@pytest.mark.long
def test_each_adoption_is_a_version_that_gc_spares_and_a_rollback_brings_back(root: Root) -> None:
    append(root)
    first = read(root)
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    on_table(root, lambda table: table.delete("id = 1000") and None)
    second = read(root)
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    promise_nothing(root)
    assert nocturne(root, "gc", "--older-than", "0", "--yes").exit_code == 0
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert read(root).equals(first)
    assert nocturne(root, "rollback", "--date", DAY, "--to", "3").exit_code == 0
    assert read(root).equals(second)
    assert nocturne(root, "rollback", "--date", DAY, "--to", "1").exit_code == 0
    root.check()


@pytest.mark.long
@pytest.mark.parametrize(
    "column",
    [
        pa.array([10_000_000, -1_000_000, 0], pa.int32()).cast(pa.date32()),
        pa.array([b"\xff\xfe", b"a", b""]).view(pa.string()),
    ],
)
def test_values_that_python_has_not_have_no_bounds(make_root: MakeRoot, column: pa.Array) -> None:
    root = make_root()
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        odd = column.take(pa.array([n % 3 for n in range(len(table))]))
        pq.write_table(table.append_column("odd", odd), path, row_group_size=100)
    root.configure("output", passthrough=["word", "odd"])
    assert root.night() == 0
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0


@pytest.mark.long
def test_optimize_of_a_night_that_the_log_has_forgotten(root: Root) -> None:
    found = read(root)
    optimize(root)
    on_table(root, lambda table: table.create_checkpoint())
    for commit in sorted((folder(root) / "_delta_log").glob("*.json"))[:-1]:
        commit.unlink()
    root.check()
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.adopted == "files"
    assert read(root).equals(found)


@pytest.mark.long
def test_a_key_of_the_path_in_the_scores_is_compared_and_replayed(make_root: MakeRoot) -> None:
    root = make_root()
    root.configure("output", passthrough=["word", "ds"])
    assert root.night() == 0
    optimize(root)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.adopted == "files"
    replayed = nocturne(root, "verify", "--date", DAY, "--replay")
    assert replayed.exit_code == 0, replayed.output


@pytest.mark.long
def test_a_rollback_into_columns_of_other_types_is_refused(root: Root) -> None:
    def overwrite(table: Any) -> None:
        from deltalake import write_deltalake

        rows = table.to_pyarrow_table()
        at = rows.schema.names.index("word")
        other = rows.set_column(at, "word", pa.array([7] * len(rows), pa.int64()))
        write_deltalake(table, other, mode="overwrite", schema_mode="overwrite")

    on_table(root, overwrite)
    theirs = read(root)
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    done = nocturne(root, "rollback", "--date", DAY)
    assert done.exit_code == 1
    assert "its column 'word' is long, that of the scores is string" in done.output
    assert read(root).equals(theirs)


@pytest.mark.long
def test_lost_files_of_another_program_are_scored_again(root: Root) -> None:
    optimize(root)
    [uri] = on_table(root, lambda table: table.file_uris())
    Path(uri).unlink()
    assert nocturne(root, "verify", "--date", DAY).exit_code == 1
    assert "are missing" in nocturne(root, "adopt", "--date", DAY).output
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_partition_whose_state_was_lost_is_published_once_its_rows_are_deleted(
    root: Root, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root.state)
    assert root.night() == 1
    assert "or delete its rows (DELETE FROM" in capfd.readouterr().err
    on_table(root, lambda table: table.delete(f"ds = '{DAY}'") and None)
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2


@pytest.mark.long
def test_a_file_at_the_place_of_a_partition_is_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    made(root, [ID, *SCORES])
    root.output.touch()
    assert root.night() == 1
    assert "is a file; expected the folder of a partition" in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_names_that_are_one_without_case_are_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.append_column("Word", table["word"]), path)
    root.configure("output", passthrough=["word", "Word"])
    assert root.night() == 1
    assert "columns 'word' and 'Word' are one to Delta" in capfd.readouterr().err
    root.configure("output", passthrough=["word"])
    made(root, [("ID", pa.int64()), *SCORES])
    assert root.night() == 1
    assert "its column 'ID' is called 'id' in the scores" in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_a_log_that_cant_be_read_fails_its_nights_and_hides_none(root: Root) -> None:
    (folder(root) / "_delta_log" / f"{1:020d}.json").write_text("{")
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.key, night.state) == (DAY, "failed")
    assert "can't be read" in night.message
    assert root.night() == 1


@pytest.mark.long
def test_partitions_of_others_are_not_ours(root: Root) -> None:
    append(root, "2099-12-31")
    assert [night.key for night in root.ask(lambda: statuses(root.load()))] == [DAY]
    assert root.ask(lambda: newest(root.load(), published=True)) == DAY


@pytest.mark.long
def test_a_held_night_ends_with_an_adoption(root: Root) -> None:
    correct(root)
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    append(root)
    assert nocturne(root, "approve", "--date", DAY).exit_code == 1
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "published"
