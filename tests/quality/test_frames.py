"""Parquet to pandas without changing what a value is."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.errors import InputError
from nocturne.quality.frames import read_frame

BIG = 2**53 + 1


def write(folder: Path, name: str, table: pa.Table) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name)
    return folder / name


def test_integers_and_booleans_with_nulls_stay_what_they_are(tmp_path: Path) -> None:
    table = pa.table({"big": [BIG, None], "flag": [True, None], "all": [1, 2], "x": [0.5, None]})
    frame, schema = read_frame([write(tmp_path, "a.parquet", table)], table.column_names)
    assert {n: str(t) for n, t in frame.dtypes.items()} == {
        "big": "Int64",
        "flag": "boolean",
        "all": "int64",
        "x": "float64",
    }
    assert frame["big"][0] == BIG
    assert schema == table.schema


def test_only_the_wanted_columns_are_read_and_the_partition_folder_adds_none(
    tmp_path: Path,
) -> None:
    table = pa.table({"a": [1], "b": ["x"], "c": pa.array(["y"]).dictionary_encode()})
    path = write(tmp_path / "ds=2013-04-01", "a.parquet", table)
    frame, _ = read_frame([path, path], {"c", "a"})
    assert list(frame.columns) == ["a", "c"]
    assert frame["c"].tolist() == ["y", "y"]


def test_names_that_are_not_read_are_there_in_the_tables_order_when_asked_for(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "a.parquet", pa.table({"a": [1, 2], "b": [3, 4], "c": [5, 6]}))
    frame, _ = read_frame([path], {"b"}, all_names=True)
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame["b"].tolist() == [3, 4]


def test_rows_are_counted_though_no_column_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.parquet", pa.table({"a": [1, 2, 3]}))
    frame, _ = read_frame([path, path], ())
    assert len(frame) == 6


def test_files_whose_types_differ_in_width_are_read_together(tmp_path: Path) -> None:
    files = [
        write(tmp_path, f"{width}.parquet", pa.table({"a": pa.array([1, None], type_)}))
        for width, type_ in {"32": pa.int32(), "64": pa.int64()}.items()
    ]
    frame, _ = read_frame(files, {"a"})
    assert str(frame["a"].dtype) == "Int64"
    assert len(frame) == 4


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_a_missing_or_foreign_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="can't be read as Parquet for its quality check") as error:
        read_frame([path], {"a"})
    assert error.value.path == str(path)


def test_days_that_python_can_not_hold_are_read_and_keys_of_paths_stand_beside(
    tmp_path: Path,
) -> None:
    days = pa.array([2**31 - 1, None], pa.int32()).cast(pa.date32())
    path = write(tmp_path, "a.parquet", pa.table({"day": days}))
    given = pa.RecordBatch.from_pydict({"region": pa.array(["eu", None])})
    frame, schema = read_frame([path, path], {"day", "region"}, given)
    assert schema.names == ["day", "region"]
    assert frame["day"].dt.year.tolist()[0] == 5881580
    assert frame["region"].tolist() == ["eu", "eu", None, None]
    names, _ = read_frame([path], {"day"}, given.slice(0, 1), all_names=True)
    assert list(names.columns) == ["day", "region"]
