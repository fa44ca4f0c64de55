"""What counts as the same outputs before and after a model was logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.contract.comparing import largest_difference
from nocturne.contract.samples import read_sample
from nocturne.errors import InputError, ModelError

SCORES = pa.table(
    {
        "score": pa.array([0.5, None, 1e-9, float("inf")], pa.float32()),
        "vector": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float64(), 2)),
        "label": ["a", "b", None, "a"],
    }
)


def changed(name: str, values: object) -> pa.Table:
    at = SCORES.schema.get_field_index(name)
    return SCORES.set_column(at, name, pa.array(values, SCORES.schema.field(name).type))


def test_the_largest_difference_is_that_of_numbers_within_the_tolerance() -> None:
    assert largest_difference(SCORES, SCORES) == 0.0
    near = np.nextafter(np.float32(0.5), np.float32(1))
    after = changed("score", [near, None, 1e-9, float("inf")])
    assert largest_difference(SCORES, after) == pytest.approx(float(near) - 0.5)
    cancelled = changed("score", [0.5, None, 3e-9, float("inf")])  # near zero, where sums cancel
    assert largest_difference(SCORES, cancelled) == pytest.approx(2e-9)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("score", [0.501, None, 1e-9, float("inf")], "1 of 2 numbers, by up to 0.001"),
        ("score", [0.5, 0.5, 1e-9, float("inf")], "1 rows have a prediction only before, or only"),
        ("score", [0.5, None, 1e-9, -float("inf")], "infinite or NaN"),
        ("vector", [[1.0, 2.0]] * 3 + [[1.0, 2.1]], "1 of 8 numbers"),
        ("label", ["a", "b", None, "b"], "other values"),
    ],
)
def test_what_differs_is_named(name: str, values: object, said: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}' differs in.*({said})"):
        largest_difference(SCORES, changed(name, values))


def test_another_type_is_a_difference() -> None:
    wide = SCORES.set_column(0, "score", SCORES["score"].cast(pa.float64()))
    with pytest.raises(ModelError, match="float before, double after"):
        largest_difference(SCORES, wide)


def test_a_sample_has_the_folders_of_its_rows_as_columns_and_partitions(tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        (tmp_path / f"ds={day}").mkdir()
        pq.write_table(pa.table({"x": [1.0, 2.0]}), tmp_path / f"ds={day}" / "p.parquet")
    found = read_sample(tmp_path)
    assert found.rows.column_names == ["x", "ds"]
    assert found.partitions == ["ds=2024-01-01"] * 2 + ["ds=2024-01-02"] * 2
    assert read_sample(tmp_path, "x").partitions == ["1.0", "2.0"] * 2
    assert read_sample(tmp_path / "ds=2024-01-01").partitions is None


def test_more_rows_than_a_sample_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.repeat(1.0, 5_000_001)}), tmp_path / "all.parquet")
    with pytest.raises(InputError, match="more than 5,000,000 rows; give a sample"):
        read_sample(tmp_path / "all.parquet")
