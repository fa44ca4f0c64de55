"""Suites are answered from the scoring pass; what was not counted then is counted later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ConfigError, InputError
from nocturne.pipeline.checks import check
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.runs import as_planned
from nocturne.records.quality import QualityResult
from nocturne.records.result import SplitResult
from nocturne.stopwatch import Stopwatch
from nocturne.store.record_files import read, write
from nocturne.store.run import Run
from pipeline.conftest import DAYS, scored

DAY = DAYS[1]
ABOVE = {"type": "comparison", "column": {"name": "y"}, "operator": ">", "parameter": 1}
INPUT = [
    {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 600}},
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x", "mostly": 0.99}},
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "y", "min_value": -2, "max_value": 2},
    },
    {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "y", "min_value": 1.2, "row_condition": ABOVE},
    },
    {
        "type": "expect_column_values_to_match_regex",
        "kwargs": {"column": "word", "regex": "^[ab]$"},
    },
    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "extra", "max_value": 5}},
]
OUTPUT = [
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "score", "min_value": 0.4, "max_value": 1},
    },
    {
        "type": "expect_column_distinct_values_to_equal_set",
        "kwargs": {"column": "word", "value_set": ["a", "b", "c"]},
    },
    {"type": "expect_column_stdev_to_be_between", "kwargs": {"column": "score", "max_value": 0.1}},
]

MakeProject = Callable[..., Loaded]


@pytest.fixture
def asked(project: MakeProject, tmp_path: Path) -> MakeProject:
    """A project with both suites; the input has a column that only a suite reads."""

    def make(**changes: object) -> Loaded:
        project(
            quality__input_suite="i.yaml",
            quality__output_suite="o.yaml",
            quality__max_quarantined=0.5,
            **changes,
        )
        suite(tmp_path, "i.yaml", INPUT)
        suite(tmp_path, "o.yaml", OUTPUT)
        path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
        table = pq.read_table(path, partitioning=None)
        extra = pc.cast(pc.bit_wise_and(table["id"], 7), pa.int32())
        pq.write_table(table.append_column("extra", extra), path, row_group_size=250)
        return config.load("p")

    return make


def suite(root: Path, name: str, expectations: list[dict[str, Any]]) -> None:
    text = yaml.safe_dump({"name": "asked", "expectations": expectations})
    (root / "conf" / "expectations" / name).write_text(text, encoding="utf-8")


def _answers(run: Run) -> QualityResult:
    return check(run, as_planned(run), Stopwatch())


@pytest.mark.long
@pytest.mark.usefixtures("_spark")
def test_the_pass_answers_as_a_second_scan_does(asked: MakeProject) -> None:
    counted = scored(asked(), DAY)
    assert len(counted.plan.splits) > 1
    found = _answers(counted).expectations
    scanned = scored(config.load("p", overrides={"quality.scan": "pandas"}), DAY)
    assert scanned.plan.tables == {}
    by_pandas = _answers(scanned).expectations
    assert [replace(e, value=None) for e in found] == [replace(e, value=None) for e in by_pandas]
    # pandas rounds the deviation of a float32 column to float32, which keeps 24 bits.
    values = [np.array([e.value for e in these], dtype=float) for these in (found, by_pandas)]
    np.testing.assert_allclose(*values, rtol=2**-23)
    by_spark = scored(config.load("p", overrides={"quality.scan": "spark"}), DAY)
    assert [(e.type, e.column, e.success) for e in _answers(by_spark).expectations] == [
        (e.type, e.column, e.success) for e in found
    ]
    assert [e.success for e in found] == [True, False, False, True, False, False, False, True, True]


def test_the_files_are_not_read_again(asked: MakeProject, tmp_path: Path) -> None:
    run = scored(asked(), DAY)
    (tmp_path / "data" / f"ds={DAY}" / "part-0.parquet").unlink()
    assert len(_answers(run).expectations) == len(INPUT) + len(OUTPUT)


def test_a_suite_that_grew_is_answered_by_reading_what_it_asks_for(
    asked: MakeProject, tmp_path: Path
) -> None:
    run = scored(asked(), DAY)
    more = [
        {"type": "expect_column_sum_to_be_between", "kwargs": {"column": "extra", "min_value": 0}},
        {
            "type": "expect_column_min_to_be_between",
            "kwargs": {"column": "score", "min_value": 0.9},
        },
    ]
    suite(tmp_path, "i.yaml", [*INPUT, more[0]])
    suite(tmp_path, "o.yaml", [*OUTPUT, more[1]])
    found = _answers(run).expectations
    by_type = {e.type: e for e in found}
    assert by_type["expect_column_sum_to_be_between"].success
    assert not by_type["expect_column_min_to_be_between"].success
    assert len(found) == len(INPUT) + len(OUTPUT) + 2


def test_a_split_that_was_scored_before_the_suite_was_there(asked: MakeProject) -> None:
    """As one is that was taken over from an older night."""
    run = scored(asked(), DAY)
    expected = _answers(run).expectations
    path = run.result_file(run.plan.splits[1])
    old = read(SplitResult, path)
    write(path, SplitResult(**{**vars(old), "measured": {}}))
    assert _answers(run).expectations == expected


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        (
            {
                "type": "expect_column_median_to_be_between",
                "kwargs": {"column": "y", "min_value": 1},
            },
            r"expectations\[0\]: expect_column_median_to_be_between: no counts"
            r".*quality.scan: spark",
        ),
        (
            {
                "type": "expect_column_mean_to_be_between",
                "kwargs": {"column": "word", "min_value": 1},
            },
            "column 'word' holds text, and it takes numbers",
        ),
        (
            {
                "type": "expect_column_values_to_match_regex",
                "kwargs": {"column": "word", "regex": "a(?=b)"},
            },
            "can't be counted.*look-around",
        ),
    ],
)
def test_what_counts_cant_answer_is_refused_before_scoring(
    asked: MakeProject, tmp_path: Path, expectation: dict[str, Any], said: str
) -> None:
    loaded = asked()
    suite(tmp_path, "i.yaml", [expectation])
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        scored(loaded, DAY)


def test_both_suites_are_refused_in_one_message(asked: MakeProject, tmp_path: Path) -> None:
    loaded = asked()
    kwargs = {"column": "y", "min_value": 1}
    median = {"type": "expect_column_median_to_be_between", "kwargs": kwargs}
    lacking = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "nowhere"}}
    suite(tmp_path, "i.yaml", [median])
    suite(tmp_path, "o.yaml", [lacking])
    with pytest.raises(ConfigError, match=r"(?s)i\.yaml.*no counts.*o\.yaml.*nowhere"):
        scored(loaded, DAY)


def test_a_column_that_only_a_suite_reads_has_to_be_in_every_file(
    asked: MakeProject, tmp_path: Path
) -> None:
    loaded = asked()
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    pq.write_table(table.drop_columns(["extra"]), folder / "part-1.parquet")
    with pytest.raises(InputError, match=r"part-1.*'extra' is missing, which an expectation"):
        scored(loaded, DAY)
    as_text = table.set_column(len(table.columns) - 1, "extra", table["extra"].cast(pa.string()))
    pq.write_table(as_text, folder / "part-1.parquet")
    with pytest.raises(InputError, match="'extra' is string, in part-0.parquet it is int32"):
        scored(loaded, DAY)


def test_footers_refuse_a_night_that_is_to_fail(asked: MakeProject) -> None:
    loaded = asked(quality__on_failure="fail")
    with pytest.raises(InputError, match="(?s)nothing was scored:.*on y: a value is .*above 2"):
        scored(loaded, DAY)


@pytest.mark.parametrize("keys", [["id"], ["word", "id"]])
def test_a_doubled_key_holds_the_night(
    project: MakeProject, tmp_path: Path, keys: list[str]
) -> None:
    project(
        quality__unique_keys=True,
        quality__max_quarantined=0.5,
        output__keys=keys,
        output__passthrough=[],
    )
    loaded = config.load("p")
    assert judge_run(scored(loaded, DAY)).verdict != "hold"

    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    again = table.filter(table["word"].is_valid()).slice(100, 2)
    pq.write_table(again, folder / "part-1.parquet")
    run = scored(loaded, DAY)
    assert any("reused" in r.file for r in run.results()) is False
    judged = judge_run(run)
    first = again["id"][0].as_py()
    assert judged.verdict == "hold"
    [said] = [reason for reason in judged.reasons if "key" in reason]
    assert said.startswith("4 rows have a key that another row has too, such as ")
    assert f"id={first} (2 times)" in said


def test_so_many_keys_are_refused_by_size(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.quality import duplicates

    project(quality__unique_keys=True)
    monkeypatch.setattr(duplicates, "_MOST_BYTES", 1024)
    with pytest.raises(InputError, match="unique_keys compares the keys of 600 rows"):
        scored(config.load("p"), DAY)


def test_values_of_sensitive_columns_are_shown_nowhere(asked: MakeProject, tmp_path: Path) -> None:
    """Not in reports, Data Docs, reasons and quarantine: here a word and a key."""
    asked(quality__sensitive=["word", "id"], input__cast_text=True)
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    secret = pc.if_else(pc.less(table["id"], 1005), "topsecret", table["word"])
    table = table.set_column(table.schema.get_field_index("word"), "word", secret)
    x = pc.if_else(pc.less(table["id"], 1003), "no number", table["x"].cast(pa.string()))
    table = table.set_column(table.schema.get_field_index("x"), "x", x)
    pq.write_table(table, path, row_group_size=250)
    found = [
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "id", "max_value": 1}}
    ]
    suite(tmp_path, "i.yaml", [*INPUT, *found])

    run = scored(config.load("p"), DAY)
    judged = judge_run(run)
    assert judged.quarantined == 3
    folder = run.path
    shown = [folder / "report.html", *(folder / "data_docs").rglob("*.html")]
    texts = [path.read_text(encoding="utf-8") for path in shown]
    texts += [*judged.reasons, *(e.observed for e in judged.quality.expectations)]
    assert len(texts) > 10
    assert not [text for text in texts if "topsecret" in text or "1599" in text]
    by_type = {
        e.type: e.observed for e in judged.quality.expectations if e.column in ("word", "id")
    }
    assert by_type["expect_column_max_to_be_between"] == "hidden: sensitive"
    assert "values unexpected" in by_type["expect_column_values_to_match_regex"]

    artifacts = mlflow.artifacts.download_artifacts(
        run_id=judged.mlflow_run_id,
        dst_path=str(tmp_path / "logged"),
        tracking_uri=f"sqlite:///{tmp_path / 'var/mlflow/mlflow.db'}",
    )
    logged = {p.name: p.read_text(encoding="utf-8") for p in Path(artifacts).glob("*.json")}
    assert {"profile.json", "judgement.json", "drift.json"} <= logged.keys()
    assert not [name for name, text in logged.items() if "topsecret" in text]
    assert "topsecret" in (folder / "profile.json").read_text(encoding="utf-8")  # drift needs it

    [file] = (folder / "attempts").glob("quarantine-*")
    kept = pq.read_table(file)
    assert "word" not in kept.column_names
    assert kept["source_row"].to_pylist() == [0, 1, 2]
    assert "id" not in kept.column_names, "nor a hash, from which it could be found"
