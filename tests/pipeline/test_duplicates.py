"""Doubled keys are found in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import InputError
from nocturne.pipeline.judging import duplicates_of
from nocturne.quality import duplicates
from nocturne.store.run import Run
from pipeline.conftest import DAYS, scored

MakeProject = Callable[..., Loaded]


@pytest.fixture
def came_twice(project: MakeProject, tmp_path: Path) -> Run:
    """A scored night whose feed came twice in part: 100 rows of 600."""
    project(quality__unique_keys=True)
    folder = tmp_path / "data" / f"ds={DAYS[0]}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    pq.write_table(table.slice(50, 100), folder / "part-1.parquet")
    return scored(config.load("p"), DAYS[0])


@pytest.mark.parametrize("compared", [1, 99, 1000])
def test_all_doubled_rows_are_counted_and_a_few_looked_at(
    came_twice: Run, monkeypatch: pytest.MonkeyPatch, compared: int
) -> None:
    monkeypatch.setattr(duplicates, "_COMPARED", compared)
    found = duplicates_of(came_twice, came_twice.results())
    assert found is not None
    assert found.rows == 200
    assert all(example.endswith("(2 times)") for example in found.examples)


def test_keys_that_spark_read_are_refused_by_size_too(
    came_twice: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the scoring nobody knows how many rows a query gives."""
    monkeypatch.setattr(duplicates, "_MOST_BYTES", 1024)
    with pytest.raises(InputError, match="unique_keys compares the keys of 700 rows"):
        duplicates_of(came_twice, came_twice.results())
