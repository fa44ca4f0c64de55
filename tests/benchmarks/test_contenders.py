"""Every contender that lives in this environment gives the expected answer."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import journal, reference
from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.contenders.spark import SPARK_SETTINGS, configure, session
from benchmarks.harness import Session
from benchmarks.layout import Layout
from benchmarks.workloads import Workload

SPARK = ["mapInArrow", "mapInPandas", "predict_batch_udf", "spark_udf"]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()  # of other tests in this process: not ours to stop
    found = session(Arguments(Path(), Path(), Path(), 1, {**SPARK_SETTINGS, "memory": "1g"}))
    yield found
    if running is None:
        found.stop()


@pytest.mark.long
@pytest.mark.parametrize("contender", SPARK)
def test_what_spark_reads_is_scored_right(
    contender: str, bench: Layout, small: Workload, spark: Any
) -> None:
    module = importlib.import_module(f"benchmarks.contenders.{CONTENDERS[contender].module}")
    output = bench.output("light", contender)
    args = Arguments(bench.partition(small, 2), output, bench.model("light"), 1, module.SETTINGS)
    configure(spark, args)
    module.score(spark, args)
    reference.compare(output, reference.expected(bench, small, 2))


@pytest.mark.long
def test_our_own_night_is_scored_right(
    bench: Layout, small: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Session(bench, small, "ours", 1).once("nocturne", 1, 2), capsys.readouterr().out
    (run,) = journal.read(bench.runs, "ours")
    assert run["rows"] == 6000
    assert {"first_split_s", "report_s"} < set(run)


@pytest.mark.long
def test_rounds_alternate_and_a_session_goes_on_where_it_stopped(
    bench: Layout, small: Workload
) -> None:
    benchmark = Session(bench, small, "rounds", 1)
    benchmark.run(["bare"], 1)
    benchmark.run(["bare"], 1)
    runs = journal.read(bench.runs, "rounds")
    assert [(run["round"], run["rows"], run["ok"]) for run in runs] == [
        (0, 3000, True),
        (1, 3000, True),
        (1, 6000, True),
    ]
    assert all(run["worker_mb"] > 50 for run in runs)


def test_a_wrong_answer_does_not_count(bench: Layout, small: Workload, tmp_path: Path) -> None:
    wanted = reference.expected(bench, small, 1)
    source = pq.read_table(bench.partition(small, 1), partitioning=None)
    right = pa.table(
        {
            "id": source["id"],
            "category": source["category"],
            "score": pa.array(wanted.scores),
            "model_version": pa.array([1] * source.num_rows, pa.int32()),
        }
    )
    scores = wanted.scores.copy()
    scores[7] *= 1.001
    words = pa.concat_arrays([*right["category"].slice(1).chunks, *right["category"][:1].chunks])
    for name, table, problem in (
        ("right", right.take(list(reversed(range(right.num_rows)))), None),
        ("twice", pa.concat_tables([right.slice(1), right.slice(1, 1)]), "ids 0 to"),
        ("off", right.set_column(2, "score", pa.array(scores)), "1 scores differ, first id 7"),
        ("words", right.set_column(1, "category", words), "categories differ"),
        ("bare", right.drop_columns(["model_version"]), "has the columns"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(table, folder / "a.parquet")
        if problem is None:
            reference.compare(folder, wanted)
        else:
            with pytest.raises(reference.Wrong, match=problem):
                reference.compare(folder, wanted)
        shutil.rmtree(folder)


def test_settings_that_a_contender_does_not_know_are_refused() -> None:
    given = ["--input", "a", "--output", "b", "--model", "c"]
    assert parse({"batch": "1"}, [*given, "--set", "batch=2"]).number("batch") == 2
    with pytest.raises(SystemExit):
        parse({"batch": "1"}, [*given, "--set", "bach=2"])
