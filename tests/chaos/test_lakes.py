"""Lake tables that other programs write too: what they change is never replaced or lost."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, correct, with_columns
from chaos.nights import DAY, Root, until_stopped, whole_night
from chaos.strangers import ID, SCORES, STRANGERS, Field, Stranger
from chaos.test_maintenance import nocturne
from nocturne import config
from nocturne.operate.decisions import roll_back
from nocturne.operate.status import newest, statuses
from nocturne.pipeline.places import Places

pytestmark = pytest.mark.parametrize(
    "table_format",
    [
        "delta",
        pytest.param("delta on s3", marks=pytest.mark.long),
        pytest.param("iceberg", marks=pytest.mark.long),
        pytest.param("iceberg on s3", marks=pytest.mark.long),
    ],
)


@pytest.mark.parametrize(
    "change",
    [
        "append",
        *(pytest.param(c, marks=pytest.mark.long) for c in ("delete", "delete all", "update")),
    ],
)
def test_what_others_changed_is_refused_by_name_until_it_is_adopted(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    before = root.published()
    how, said = lake.changes[change]
    how(lake)
    theirs = lake.read()
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "failed"
    assert said in night.message

    correct(root)
    assert root.night() == 1
    told = capfd.readouterr().err
    assert said in told
    assert "nocturne adopt" in told
    assert lake.read().equals(theirs), "nothing was changed"
    refused = nocturne(root, "rollback", "--date", DAY)
    assert refused.exit_code == 1

    adopted = nocturne(root, "adopt", "--date", DAY, "--by", "ada")
    assert adopted.exit_code == 0, adopted.output
    manifest = root.manifest()
    assert manifest is not None
    assert (manifest.adopted, manifest.approved_by) == ("rows", "ada")
    assert manifest.rows_published == len(theirs)
    [night] = root.ask(lambda: statuses(root.load()))
    assert "rows of another program, adopted by ada" in night.remark
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert lake.read().equals(theirs)
    again = nocturne(root, "adopt", "--date", DAY)
    assert again.exit_code == 1
    assert "there is nothing to adopt" in again.output

    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert root.published() == before
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0, "and there is a way back"
    assert lake.read().equals(theirs)
    assert root.night() == 0, "what was adopted is replaced"
    root.check()
    assert not set(before) & set(root.published())


@pytest.mark.long
def test_files_that_optimize_wrote_are_adopted_once_their_rows_were_compared(
    root: Root, lake: Stranger
) -> None:
    found = lake.read()
    lake.compact()
    assert len(lake.files()) == 1
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "published"
    root.check()

    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert (manifest.number, manifest.adopted, len(manifest.outputs)) == (2, "files", 1)
    assert root.night() == 0
    assert root.manifest() == manifest, "the same night: nothing to do"
    assert lake.read().equals(found)
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    replayed = nocturne(root, "verify", "--date", DAY, "--replay")
    assert replayed.exit_code == 0, replayed.output

    correct(root)
    assert root.night() == 0
    root.check()
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert lake.read().equals(found)


@pytest.mark.long
def test_what_is_compacted_can_be_adopted_before_it_is_forgotten(
    make_root: MakeRoot, table_format: str
) -> None:
    root = make_root()
    lake = STRANGERS[table_format](root)
    other = "2024-01-03"
    (root.path / "data" / f"ds={other}").symlink_to(root.input)

    def night() -> None:
        loaded = root.load()
        whole_night(loaded, config.partition(loaded.pipeline.input.partition, other))

    assert root.night() == 0
    assert root.wait(root.start(night)) == 0
    assert "no night's rows lie in other files" in nocturne(root, "adopt", "--compacted").output
    assert nocturne(root, "adopt").exit_code == 2
    found = lake.rows().sort_by([("ds", "ascending"), ("id", "ascending")])
    lake.compact()
    lake.append(other)
    done = nocturne(root, "adopt", "--compacted")
    assert done.exit_code == 1
    assert f"p {DAY}: the same rows in other files, in force as 000002-" in done.output
    assert f"{other} is left alone: " in done.output
    lake.clean()
    lake.lose_log()
    states = {night.key: night.state for night in root.ask(lambda: statuses(root.load()))}
    assert states == {DAY: "published", other: "failed"}
    root.check()
    assert nocturne(root, "adopt", "--date", other).exit_code == 0
    now = lake.rows().sort_by([("ds", "ascending"), ("id", "ascending")])
    assert now.filter(pc.not_equal(now["id"], 4711)).equals(found)


@pytest.mark.long
def test_a_held_night_replaces_what_optimize_rearranged_meanwhile(
    root: Root, lake: Stranger
) -> None:
    correct(root)
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    lake.compact()
    lake.clean()
    done = nocturne(root, "approve", "--date", DAY)
    if lake.cleaning_keeps_history:
        assert done.exit_code == 0
        root.check()
    else:
        assert "its history no longer says why" in done.output
        assert nocturne(root, "adopt", "--date", DAY).exit_code == 0


@pytest.mark.long
def test_what_optimize_wrote_and_vacuum_left_alone_cant_be_compared(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    found = lake.read()
    lake.compact()
    lake.clean()
    done = nocturne(root, "verify", "--date", DAY)
    assert done.exit_code == 1
    said = "are gone (VACUUM, expired?), so the rows can't be compared"
    if not lake.cleaning_keeps_history:
        said = "its history no longer says why"
    assert said in done.output
    assert root.night() == 1
    assert "`nocturne adopt" in capfd.readouterr().err
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert lake.read().equals(found)
    gone = nocturne(root, "rollback", "--date", DAY, "--to", "1")
    assert gone.exit_code == 1
    assert "a lake table's own cleaning takes them too" in gone.output.replace("\n", " ")
    assert lake.read().equals(found)
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_rollback_to_what_vacuum_took_is_refused(root: Root, lake: Stranger) -> None:
    correct(root)
    assert root.night() == 0
    before = root.published()
    lake.clean()
    done = nocturne(root, "rollback", "--date", DAY)
    assert done.exit_code == 1
    assert "No earlier version is kept" in done.output
    assert root.published() == before
    root.check()


@pytest.mark.long
def test_other_partitions_are_left_to_their_writers(root: Root, lake: Stranger) -> None:
    lake.append("2023-12-31")
    assert root.night() == 0
    correct(root)
    assert root.night() == 0
    root.check()
    assert len(lake.read("2023-12-31")) == 1


@pytest.mark.parametrize("change", ["append", pytest.param("delete", marks=pytest.mark.long)])
def test_a_commit_between_look_and_publish_is_not_replaced(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    correct(root)
    pid = root.start_night("commit.written=SIGSTOP")
    until_stopped(pid)
    lake.changes[change][0](lake)
    theirs = lake.read()
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 1
    assert "is being changed by another program" in capfd.readouterr().err
    assert lake.read().equals(theirs)
    assert len(list(root.place("manifests").glob("*.json"))) == (2 if root.bucket else 1)


@pytest.mark.long
@pytest.mark.parametrize("change", ["compact", "clean"])
def test_maintenance_between_look_and_publish_does_no_harm(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    """Even one that removes files which are not in the table yet."""
    lake.forget()
    before = lake.read()
    correct(root)
    pid = root.start_night("commit.written=SIGSTOP")
    until_stopped(pid)
    getattr(lake, change)()
    os.kill(pid, signal.SIGCONT)
    code = root.wait(pid)
    said = capfd.readouterr().err
    if change == "compact":
        assert code == 0, said
    else:
        assert code == 75
        assert "is gone" in said
        assert "Nothing was changed. Run the same command again" in said
        assert lake.read().equals(before)
    assert root.night() == 0
    root.check()
    assert not lake.read().equals(before)


@pytest.mark.long
def test_a_commit_in_another_partition_between_does_no_harm(root: Root, lake: Stranger) -> None:
    correct(root)
    pid = root.start_night("commit.written=SIGSTOP")
    until_stopped(pid)
    lake.append("2023-12-31")
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 0
    root.check()


@pytest.mark.parametrize(
    ("fields", "keys", "said"),
    [
        (
            [("id", pa.int32()), *SCORES],
            (("ds", pa.date32()),),
            "id is int",
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
    new: Stranger,
    capfd: pytest.CaptureFixture[str],
    fields: list[Field],
    keys: tuple[Field, ...],
    said: str,
) -> None:
    lake, root = new, new.root
    lake.make(fields, keys=keys)
    assert root.night() == 1
    assert lake.said.get(said, said) in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_a_table_that_somebody_made_is_published_into(new: Stranger) -> None:
    lake, root = new, new.root
    more = [("note", pa.string())]
    settings = {"delta.deletedFileRetentionDuration": "interval 1 days"}
    lake.make([ID, *more, *SCORES], settings, (("ds", pa.string()),))
    assert root.night() == 0
    root.check()
    found = lake.read()
    assert found["note"].null_count == len(found)
    assert set(found["ds"].to_pylist()) == {DAY}


def test_types_that_the_format_lacks_are_refused_before_a_row_is_scored(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        small = pa.array([7] * len(table), pa.uint8())
        pq.write_table(table.append_column("small", small), path)
    root.configure("output", passthrough=["word", "small"])
    assert root.night() == 1
    assert "column 'small' is uint8, which" in capfd.readouterr().err
    assert not root.attempts()


def test_two_keys_with_odd_values_and_types_that_the_table_chose(new: Stranger) -> None:
    lake, root = new, new.root
    keys = (("ds", pa.date32()), ("hour", pa.int32()), ("place", pa.string()))
    lake.make([ID, *SCORES], keys=keys)
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
    found = lake.rows()
    assert set(found["hour"].to_pylist()) == {5}
    assert set(found["place"].to_pylist()) == {"a-b.c"}
    [partition] = root.ask(
        lambda: [*Places.of(root.load()).table.partitions(["ds", "hour", "place"])]
    )
    assert partition == f"ds={DAY}/hour=05/place=a-b.c"


@pytest.mark.long
def test_gc_keeps_what_readers_of_older_versions_are_promised(root: Root, lake: Stranger) -> None:
    first = root.published()
    correct(root)
    root.configure("output", keep=0)
    assert root.night() == 0
    assert "no garbage" in nocturne(root, "gc", "--older-than", "0").output
    lake.forget()
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
def test_two_partitions_of_a_new_table_are_published_at_once(
    make_root: MakeRoot, table_format: str
) -> None:
    for _ in range(10):
        root = make_root()
        lake = STRANGERS[table_format](root)
        other = "2024-01-03"
        (root.path / "data" / f"ds={other}").symlink_to(root.input)

        def night(day: str, root: Root = root) -> None:
            loaded = root.load()
            whole_night(loaded, config.partition(loaded.pipeline.input.partition, day))

        pids = [root.start(lambda day=day: night(day)) for day in (DAY, other)]  # type: ignore[misc]
        assert [root.wait(pid) for pid in pids] == [0, 0]
        root.check()
        counts = lake.rows()["ds"].value_counts()
        assert len({row["counts"].as_py() for row in counts}) == 1
        assert len(counts) == 2


TYPES: dict[str, pa.Array] = {
    "flag": pa.array([True, False, None]),
    "tiny": pa.array([-128, 127, None], pa.int8()),
    "short": pa.array([-32768, 32767, None], pa.int16()),
    "int": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
    "long": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
    "real": pa.array([float("nan"), float("inf"), None], pa.float32()),
    "double": pa.array([float("nan"), -0.0, None], pa.float64()),
    "money": pa.array([decimal.Decimal("-1.05"), decimal.Decimal("9999999.99"), None]).cast(
        pa.decimal128(9, 2)
    ),
    "bytes": pa.array([b"\x00\xff", b"", None]),
    "day": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "clock": pa.array([dt.time(0), dt.time(23, 59, 59, 999_999), None], pa.time64("us")),
    "local": pa.array([0, -1, None], pa.timestamp("us")),
    "instant": pa.array([0, 1_700_000_000_000_001, None], pa.timestamp("us", "UTC")),
    "zone": pa.array([0, 1_700_000_000_000_001, None], pa.timestamp("us", "Europe/Berlin")),
    "text": pa.array(["a", "", None], pa.large_string()),
    "large": pa.array([b"a", b"", None], pa.large_binary()),
    "list": pa.array([[1.5, None], [], None], pa.list_(pa.float32())),
    "fixed": pa.array([[1.5, 2.5], [0.0, -1.0], [3.5, 4.5]], pa.list_(pa.float32(), 2)),
    "holes": pa.array([[1.5, None], [None, None], [3.5, 4.5]], pa.list_(pa.float64(), 2)),
    "wide": pa.array([["a", None], [], None], pa.large_list(pa.string())),
    "pair": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": ""}, None]),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
}
LACKS = {"delta": {"clock"}, "delta on s3": {"clock"}}


@pytest.mark.long
def test_each_type_is_read_as_it_was_written(new: Stranger, table_format: str) -> None:
    root = new.root
    columns = {
        name: column for name, column in TYPES.items() if name not in LACKS.get(table_format, set())
    }
    with_columns(root, columns)
    came = pa.concat_tables(
        pq.read_table(path, partitioning=None) for path in root.input.glob("*.parquet")
    )
    came = came.filter(pc.is_valid(came["id"])).sort_by("id")
    assert root.night() == 0
    root.check()
    arrow, polars = new.read(), new.polars()
    for name in columns:
        column = came[name]
        if name == "zone":
            column = column.cast(pa.timestamp("us", "UTC"))
        expected = str(column.to_pylist())
        assert str(arrow[name].to_pylist()) == expected, name
        if name != "map":  # a list of structs in polars
            assert str(polars[name].to_pylist()) == expected, name


# What tries to break it has found


@pytest.mark.long
def test_each_adoption_is_a_version_that_gc_spares_and_a_rollback_brings_back(
    root: Root, lake: Stranger
) -> None:
    lake.append()
    first = lake.read()
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    lake.delete("id = 1000")
    second = lake.read()
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    lake.forget()
    assert nocturne(root, "gc", "--older-than", "0", "--yes").exit_code == 0
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert lake.read().equals(first)
    assert nocturne(root, "rollback", "--date", DAY, "--to", "3").exit_code == 0
    assert lake.read().equals(second)
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
def test_optimize_of_a_night_that_the_log_has_forgotten(root: Root, lake: Stranger) -> None:
    found = lake.read()
    lake.compact()
    lake.lose_log()
    root.check()
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.adopted == "files"
    assert lake.read().equals(found)


@pytest.mark.long
def test_a_key_of_the_path_in_the_scores_is_compared_and_replayed(new: Stranger) -> None:
    lake, root = new, new.root
    root.configure("output", passthrough=["word", "ds"])
    assert root.night() == 0
    lake.compact()
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.adopted == "files"
    replayed = nocturne(root, "verify", "--date", DAY, "--replay")
    assert replayed.exit_code == 0, replayed.output


@pytest.mark.long
def test_a_rollback_into_columns_of_other_types_is_refused(root: Root, lake: Stranger) -> None:
    lake.retype()
    theirs = lake.read()
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    done = nocturne(root, "rollback", "--date", DAY)
    assert done.exit_code == 1
    assert "its column 'word' is long, that of the scores is string" in done.output
    assert lake.read().equals(theirs)


@pytest.mark.long
def test_lost_files_of_another_program_are_scored_again(root: Root, lake: Stranger) -> None:
    lake.compact()
    [path] = lake.files()
    path.unlink()
    assert nocturne(root, "verify", "--date", DAY).exit_code == 1
    assert "are missing" in nocturne(root, "adopt", "--date", DAY).output
    assert root.night() == 0
    root.check()


@pytest.mark.long
def test_a_partition_whose_state_was_lost_is_published_once_its_rows_are_deleted(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    root.lose_state()
    assert root.night() == 1
    assert "or delete its rows (DELETE FROM" in capfd.readouterr().err
    lake.delete(f"ds = '{DAY}'")
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 2


@pytest.mark.long
@pytest.mark.usefixtures("_on_a_disk")
def test_a_file_at_the_place_of_a_partition_is_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, root = new, new.root
    lake.make([ID, *SCORES])
    root.output.parent.mkdir(exist_ok=True)
    root.output.touch()
    assert root.night() == 1
    assert "is a file; expected the folder of a partition" in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_names_that_are_one_without_case_are_refused_before_a_row_is_scored(
    new: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, root = new, new.root
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.append_column("Word", table["word"]), path)
    root.configure("output", passthrough=["word", "Word"])
    assert root.night() == 1
    assert "columns 'word' and 'Word' are one to readers" in capfd.readouterr().err
    root.configure("output", passthrough=["word"])
    lake.make([("ID", pa.int64()), *SCORES])
    assert root.night() == 1
    assert "its column 'ID' is called 'id' in the scores" in capfd.readouterr().err
    assert not root.attempts()


@pytest.mark.long
def test_a_log_that_cant_be_read_fails_its_nights_and_hides_none(
    root: Root, lake: Stranger
) -> None:
    lake.spoil()
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.key, night.state) == (DAY, "failed")
    assert "can't be read" in night.message
    assert root.night() == 1


@pytest.mark.long
def test_partitions_of_others_are_not_ours(root: Root, lake: Stranger) -> None:
    lake.append("2099-12-31")
    assert [night.key for night in root.ask(lambda: statuses(root.load()))] == [DAY]
    assert root.ask(lambda: newest(root.load(), "published")) == DAY


@pytest.mark.long
def test_a_held_night_ends_with_an_adoption(root: Root, lake: Stranger) -> None:
    correct(root)
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    lake.append()
    assert nocturne(root, "approve", "--date", DAY).exit_code == 1
    assert nocturne(root, "adopt", "--date", DAY).exit_code == 0
    [night] = root.ask(lambda: statuses(root.load()))
    assert night.state == "published"


@pytest.mark.long
def test_a_rollback_of_a_compacted_night_is_a_commit_over_its_adoption(
    root: Root, lake: Stranger
) -> None:
    first = lake.read()
    correct(root)
    assert root.night() == 0
    lake.compact()
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert lake.read().equals(first)
    assert root.gc() == 0
    assert nocturne(root, "rollback", "--date", DAY, "--to", "3").exit_code == 0, "the adoption"
    root.check()


@pytest.mark.long
def test_a_commit_between_adoption_and_rollback_is_not_replaced(
    root: Root, lake: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    correct(root)
    assert root.night() == 0
    lake.compact()
    back = lambda: roll_back(root.load(), root.partition, None, "ada")  # noqa: E731
    pid = root.start(back, "commit.written@2=SIGSTOP")
    until_stopped(pid)
    lake.append()
    theirs = lake.read()
    os.kill(pid, signal.SIGCONT)
    assert root.wait(pid) == 1
    assert "is being changed by another program" in capfd.readouterr().err
    assert lake.read().equals(theirs)


def test_a_partition_column_of_the_input_is_not_published_beside_the_tables(
    new: Stranger, capfd: pytest.CaptureFixture[str]
) -> None:
    root = new.root
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.append_column("ds", pa.array(["1999-09-09"] * len(table))), path)
    root.configure("output", passthrough=["word", "ds"])
    assert root.night() == 1
    told = capfd.readouterr().err
    assert "column ds of the input's files is published, and the table has such a column" in told
    assert not root.attempts()
    root.configure("output", passthrough=["word"])
    assert root.night() == 0
    assert {str(day) for day in new.rows()["ds"].to_pylist()} == {DAY}


@pytest.mark.long
def test_a_table_without_partitions(new: Stranger, capfd: pytest.CaptureFixture[str]) -> None:
    root = new.root
    root.configure("input", path=f"data/ds={DAY}", partition={})

    def night() -> None:
        loaded = root.load()
        whole_night(loaded, config.partition({}, DAY))

    assert root.wait(root.start(night)) == 0
    assert len(new.rows()) == 1790
    assert root.wait(root.start(night)) == 0
    path = next(iter(root.input.glob("*.parquet")))
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 100), path)
    assert root.wait(root.start(night)) == 0
    assert len(new.rows()) < 1790
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert len(new.rows()) == 1790
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert [night.state for night in root.ask(lambda: statuses(root.load()))] == ["published"]
