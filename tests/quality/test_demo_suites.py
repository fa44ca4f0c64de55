"""The demo's suites fit the demo's table, and pass on its oddest days."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne.demo.flights import source, tables
from nocturne.quality import SuiteRequest, check_columns, evaluate, load_suite

SUITES = Path(__file__).parents[2] / "conf" / "expectations"


@pytest.fixture(scope="module")
def flights() -> pa.Table:
    return tables(source())[0]


@pytest.mark.parametrize(
    "day",
    ["2013-12-31", "2013-02-09", "2013-11-28"],
    ids=["no weather at all", "after a blizzard", "a holiday"],
)
def test_the_input_suite_passes_on_real_days(tmp_path: Path, flights: pa.Table, day: str) -> None:
    path = tmp_path / "part-0.parquet"
    pq.write_table(flights.filter(pc.equal(flights["ds"], day)).drop_columns("ds"), path)
    suite = SUITES / "flight_delay_input.yaml"
    check_columns(suite, pq.read_schema(path).names)
    assert evaluate({"input": SuiteRequest(suite, files=(path,))}).failed == ()


def scores(probabilities: list[float]) -> pa.Table:
    rows = len(probabilities)
    return pa.table(
        {
            "time_hour": pa.array([1357034400000000] * rows, pa.timestamp("us", "UTC")),
            "carrier": ["UA"] * rows,
            "flight": pa.array(range(rows), pa.int32()),
            "origin": ["JFK"] * rows,
            "dest": ["SFO"] * rows,
            "late_probability": pa.array(probabilities, pa.float32()),
            "model_version": pa.array([1] * rows, pa.int32()),
        }
    )


@pytest.mark.parametrize(
    ("probabilities", "failed"),
    [
        ([0.1, 0.4, 0.9], []),
        ([0.1, 0.4, 1.5], ["expect_column_values_to_be_between"]),
        ([0.2, 0.2, 0.2], ["expect_column_stdev_to_be_between"]),
    ],
    ids=["good", "no probability", "all the same"],
)
def test_the_output_suite_passes_good_scores_and_fails_broken_ones(
    tmp_path: Path, probabilities: list[float], failed: list[str]
) -> None:
    path = tmp_path / "scores.parquet"
    pq.write_table(scores(probabilities), path)
    suite = SUITES / "flight_delay_output.yaml"
    result = evaluate({"output": SuiteRequest(suite, files=(path,))})
    assert [e.type for e in result.failed] == failed


@pytest.mark.parametrize("side", ["input", "output"])
def test_the_pipeline_names_suites_that_load(side: str) -> None:
    assert load_suite(SUITES / f"flight_delay_{side}.yaml")["name"] == f"flight_delay_{side}"
