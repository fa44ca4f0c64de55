"""Which type and which value a key of a path has as a column."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.config import partition
from nocturne.source.path_columns import columns_of_paths, keys_of
from nocturne.source.reading import file_schema, open_parquet, read_batches

LAYOUTS: dict[str, tuple[str, pa.DataType, object]] = {
    "%Y-%m-%d": ("2024-02-29", pa.date32(), dt.date(2024, 2, 29)),
    "%Y%m%d": ("2024-02-29", pa.date32(), dt.date(2024, 2, 29)),
    "day-%Y.%j": ("2024-02-29", pa.date32(), dt.date(2024, 2, 29)),
    "%G-W%V-%u": ("2024-12-30", pa.date32(), dt.date(2024, 12, 30)),
    "%Y-%m-%dT%H": ("2024-02-29T05", pa.string(), "2024-02-29T05"),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_a_key_has_the_type_that_its_format_says(text: str) -> None:
    day, type_, value = LAYOUTS[text]
    found = columns_of_paths(partition({"ds": text}, day), {"ds": text}, ["a", "b"], ["ds"])
    assert found == pa.RecordBatch.from_pydict({"ds": pa.array([value] * 2, type_)})


def test_parts_of_a_date_are_integers_and_fixed_values_words() -> None:
    layout = {"store": "007", "year": "%Y", "month": "%m", "day": "%d", "hour": "%H"}
    found = columns_of_paths(partition(layout, "2024-02-09T05"), layout, ["a"], list(layout))
    assert found is not None
    assert found.to_pylist() == [{"store": "007", "year": 2024, "month": 2, "day": 9, "hour": 5}]
    assert found.schema.types == [pa.string(), *[pa.int32()] * 4]


VALUES = {
    "a%2Fb": "a/b",
    "a%20b%3D": "a b=",
    "a+b": "a+b",
    "100%": "100%",
    "%zz": "%zz",
    "gr%C3%BCn": "grün",
    "grün": "grün",
    "caf%E9": "caf%E9",
    "007": "007",
    "2024-01-01": "2024-01-01",
    "__HIVE_DEFAULT_PARTITION__": None,
}


@pytest.mark.parametrize("text", VALUES)
def test_a_key_of_a_folder_below_is_the_word_that_its_writer_meant(text: str) -> None:
    files = [f"re%20gion={text}/plain/part-0.parquet"]
    day = partition({}, "2024-01-01")
    assert keys_of(day, files) == ("re gion",)
    found = columns_of_paths(day, {}, files, ["re gion"])
    assert found is not None
    assert found.column("re gion") == pa.array([VALUES[text]], pa.string())


def test_what_is_read_beside_a_files_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "region=eu" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"x": range(5), "y": range(5)}), path, row_group_size=2)
    files, layout = ["region=eu/a.parquet"], {"ds": "%Y-%m-%d"}
    given = columns_of_paths(partition(layout, "2024-01-02"), layout, files, ["region", "ds"])
    with open_parquet(path) as source:
        assert file_schema(source, given).names == ["x", "y", "region", "ds"]
        wanted: list[list[str]] = [["region", "x"], ["ds", "region"], ["y"]]
        for columns in wanted:
            batches = list(read_batches(source, path, [0, 2], columns, 2, path_columns=given))
            assert [batch.num_rows for batch in batches] == [2, 1]
            table = pa.Table.from_batches(batches)
            assert sorted(table.column_names) == sorted(columns)
            if "region" in columns:
                assert table["region"].to_pylist() == ["eu"] * 3
            if "ds" in columns:
                assert table["ds"].to_pylist() == [dt.date(2024, 1, 2)] * 3


def test_keys_without_a_name_or_a_value_are_none() -> None:
    day = partition({"ds": "%Y-%m-%d"}, "2024-01-01")
    for file in ("=eu/a", "region=/a", "region=eu/a=/b"):
        assert keys_of(day, [file]) == ("ds",)
