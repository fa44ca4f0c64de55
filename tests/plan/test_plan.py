"""Planning: contents decide keys, and what can't be scored is refused before Spark starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import ENCODING, MakeRun, sample
from nocturne import plan
from nocturne.errors import InputError, NotReady, PartitionMissing, StateError
from nocturne.records.partition import Partition
from nocturne.records.plan import Piece
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import InputFolders, listed
from nocturne.source.parquet_files import cut
from nocturne.source.ready import check_ready
from nocturne.source.schemas import check_schema
from nocturne.source.walk import data_files

READY = {"success_file": False, "min_rows": 1, "min_age_minutes": 0.0}
ALL = Partition("all")


def _folder(tmp_path: Path, **tables: pa.Table) -> Path:
    folder = tmp_path / "ds=2024-01-01"
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=100)
    return folder


def test_equal_contents_elsewhere_have_equal_keys(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    other = tmp_path / "other"
    other.mkdir()
    source = Path(run.plan.input_dir) / "part-0.parquet"
    (other / "part-0.parquet").write_bytes(source.read_bytes())
    files = fingerprints(listed(other), tmp_path / "cache.json")
    pieces = cut(other, files, max_rows=1000, max_bytes=1 << 30)
    splits = plan.split_keys(
        pieces, run.plan.model, ENCODING, run.plan.pinned, run.plan.keys, run.plan.passthrough
    )
    assert plan.run_key(splits) == run.plan.run_key


def test_a_late_file_changes_no_other_split(make_run: MakeRun) -> None:
    before = make_run({"a.parquet": sample(300)})
    after = make_run({"b.parquet": sample(10, 1)})
    assert after.plan.run_key != before.plan.run_key
    assert after.plan.splits[0].key == before.plan.splits[0].key


def test_a_correction_that_leaves_size_and_footer_alone_changes_the_key(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "ds=2024-01-01"
    folder.mkdir(parents=True)
    path = folder / "p.parquet"
    table = sample(100)
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, path, **plain)
    before, size = make_run({}), path.stat().st_size
    y = table["y"].to_numpy().copy()
    y[50] += 1
    pq.write_table(table.set_column(2, "y", pa.array(y)), path, **plain)
    assert path.stat().st_size == size
    assert make_run({}).plan.run_key != before.plan.run_key


@pytest.mark.parametrize("change", ["model", "keys"])
def test_model_and_columns_change_the_key(make_run: MakeRun, change: str) -> None:
    from dataclasses import replace

    run = make_run()
    other = {"model": replace(run.plan.model, version=4), "keys": ("id", "y")}[change]
    assert make_run(**{change: other}).plan.run_key != run.plan.run_key


def test_untouched_files_are_not_hashed_again(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    folder = _folder(tmp_path, a=sample(10))
    first = fingerprints(listed(folder), tmp_path / "cache.json")
    monkeypatch.setattr(
        sys.modules[fingerprints.__module__], "file_blake3", lambda _: pytest.fail("hashed again")
    )
    assert fingerprints(listed(folder), tmp_path / "cache.json") == first


@pytest.mark.parametrize("content", ["", "{", "[{}]"])
def test_a_damaged_cache_of_fingerprints_is_made_again(tmp_path: Path, content: str) -> None:
    folder, cache = _folder(tmp_path, a=sample(10)), tmp_path / "cache.json"
    first = fingerprints(listed(folder), cache)
    cache.write_text(content)
    assert fingerprints(listed(folder), cache) == first


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_cache_of_fingerprints_that_is_no_file(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    folder, cache = _folder(tmp_path, a=sample(10)), tmp_path / "cache.json"
    make(cache)
    if cache.is_dir():
        with pytest.raises(StateError, match=r"cache\.json is a folder, expected a file; remove"):
            fingerprints(listed(folder), cache)
        cache.rmdir()
    assert fingerprints(listed(folder), cache) == fingerprints(listed(folder), cache)


def test_a_key_that_the_first_file_lacks_is_said_for_that_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5).drop_columns(["id"]), b=sample(5))
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    with pytest.raises(InputError, match=r"a\.parquet: column 'id' is missing"):
        check_schema(folder, files, ENCODING, ["id"])


def test_keys_and_passthrough_are_not_the_same_thing(make_run: MakeRun) -> None:
    run = make_run()
    pieces = [Piece(run.plan.files[0], (0,), 0, 1000)]

    def key(keys: tuple[str, ...], passthrough: tuple[str, ...]) -> str:
        found = plan.split_keys(
            pieces, run.plan.model, ENCODING, run.plan.pinned, keys, passthrough
        )
        return found[0].key

    assert key(("id",), ("word",)) != key(("id", "word"), ())


def test_splits_are_whole_row_groups_of_one_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(250), b=sample(90))
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    pieces = cut(folder, files, max_rows=200, max_bytes=1 << 30)
    assert [(p.file.path, p.row_groups, p.first_row, p.rows) for p in pieces] == [
        ("a.parquet", (0, 1), 0, 200),
        ("a.parquet", (2,), 200, 50),
        ("b.parquet", (0,), 0, 90),
    ]


def test_a_row_group_larger_than_a_split_is_a_split(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(250))
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    assert [piece.rows for piece in cut(folder, files, max_rows=1, max_bytes=1)] == [100, 100, 50]


def test_markers_and_hidden_files_are_no_data(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5))
    for name in ("_SUCCESS", ".part.crc", "_other/x.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert [p.name for p in data_files(folder)] == ["a.parquet"]


def test_a_missing_partition_says_what_there_is(tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-02-01"):
        (tmp_path / f"ds={day}").mkdir()
    with pytest.raises(PartitionMissing, match="the table has ds=2024-01-01 to ds=2024-02-01"):
        check_ready(InputFolders(tmp_path / "ds=2025-01-01"), ALL, **READY)


def test_a_partition_without_its_marker_is_not_ready(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5))
    with pytest.raises(NotReady, match="no _SUCCESS file yet"):
        check_ready(InputFolders(folder), ALL, **{**READY, "success_file": True})
    (folder / "_SUCCESS").touch()
    check_ready(InputFolders(folder), ALL, **{**READY, "success_file": True})


def test_a_folder_without_data_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="holds no Parquet file yet"):
        check_ready(InputFolders(_folder(tmp_path)), ALL, **READY)


def test_too_few_rows_are_not_ready(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5))
    with pytest.raises(NotReady, match="holds 5 rows, input.ready.min_rows is 6"):
        check_ready(InputFolders(folder), ALL, **{**READY, "min_rows": 6})
    check_ready(InputFolders(folder), ALL, **{**READY, "min_rows": 5})


def test_a_young_partition_is_not_ready(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5))
    with pytest.raises(NotReady, match=r"written 0 minutes ago.*run this again in 30 minutes"):
        check_ready(InputFolders(folder), ALL, **{**READY, "min_age_minutes": 30})
    old = (folder / "a.parquet").stat().st_mtime - 31 * 60
    os.utime(folder / "a.parquet", (old, old))
    check_ready(InputFolders(folder), ALL, **{**READY, "min_age_minutes": 30})


@pytest.mark.parametrize(
    ("tables", "message"),
    [({}, "no Parquet file"), ({"a": sample(0)}, "1 files with no row in them")],
)
def test_an_empty_partition_is_refused(tmp_path: Path, tables, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = _folder(tmp_path, **tables)
    with pytest.raises(InputError, match=f"is empty: it has {message}"):
        fingerprints(listed(folder), tmp_path / "cache.json")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello, I am a CSV file"])
def test_files_that_are_no_parquet_are_named(tmp_path: Path, content: bytes) -> None:
    folder = _folder(tmp_path, a=sample(5))
    (folder / "bad.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.parquet .* is not a readable Parquet file"):
        fingerprints(listed(folder), tmp_path / "cache.json")


def test_every_problem_of_the_schema_is_said_at_once(tmp_path: Path) -> None:
    wrong = sample(5).drop_columns(["y"]).set_column(1, "x", pa.array(["1"] * 5))
    folder = _folder(tmp_path, a=sample(5), b=wrong)
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    with pytest.raises(InputError) as caught:
        check_schema(folder, files, ENCODING, ["id", "nope"])
    said = str(caught.value)
    assert "a.parquet: column 'nope' is missing (output.keys or output.passthrough)" in said
    assert "b.parquet: column 'x' is string, the model wants a number (float32)" in said
    assert "b.parquet: column 'y' is missing" in said
    assert "It has the columns id, x, y, word" in said


def test_a_key_whose_type_differs_between_files_is_refused(tmp_path: Path) -> None:
    other = sample(5).set_column(0, "id", pa.array(list("abcde")))
    folder = _folder(tmp_path, a=sample(5), b=other)
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    with pytest.raises(InputError, match=r"'id' is string, in a\.parquet it is int64"):
        check_schema(folder, files, ENCODING, ["id"])


def test_a_passthrough_column_named_as_an_output_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path, a=sample(5).append_column("score", pa.array([1.0] * 5)))
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    with pytest.raises(InputError, match="'score' would be written twice"):
        check_schema(folder, files, ENCODING, ["id", "score"])
