"""A night whose files have types of their own is planned, scored, judged and published as any."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from conftest import text
from nocturne import config
from nocturne.errors import InputError
from nocturne.operate.rows import quarantined_rows
from nocturne.pipeline.places import Places
from nocturne.pipeline.recording import judge_run
from pipeline.conftest import DAYS, judgement_of, night_of, scored

DAY = DAYS[1]


def _odd(path: Path) -> pa.Table:
    """The day's file with a UUID for a key, decimals for numbers, and a view of its words."""
    table = pq.read_table(path, partitioning=None)
    ids = [uuid.UUID(int=1 + number).bytes for number in range(table.num_rows)]
    key = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(ids, pa.binary(16)))
    odd = pa.table(
        {
            "id": key,
            "x": pc.round(table["x"], 6).cast(pa.decimal128(18, 6)),
            "y": table["y"],
            "word": table["word"].cast(pa.string_view()),
        }
    )
    pq.write_table(odd, path)
    return odd


def test_a_night_of_odd_types_is_published_once_its_casts_are_said(
    project: Callable[..., config.Loaded], tmp_path: Path
) -> None:
    loaded = project(quality__unique_keys=True, quality__max_quarantined=0.1)
    folder = tmp_path / "data" / f"ds={DAY}"
    odd = _odd(folder / "part-0.parquet")
    late = odd.slice(0, 20)
    for name in ("x", "word"):
        at = late.schema.get_field_index(name)
        late = late.set_column(at, name, pa.nulls(20))
    ids = [uuid.UUID(int=5000 + number).bytes for number in range(19)]
    key = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([*ids, None], pa.binary(16)))
    pq.write_table(late.set_column(0, "id", key), folder / "part-1.parquet")
    with pytest.raises(
        InputError, match=r"'x' is decimal128\(18, 6\), .*input.cast: \{x: double\}"
    ):
        night_of(loaded, DAY)

    told = config.load("p", overrides={"input.cast": {"x": "double"}})
    manifest = night_of(told, DAY)

    assert manifest.rows_in == 620
    published = pq.read_table(tmp_path / "out" / "scores" / f"ds={DAY}", partitioning=None)
    assert published.num_rows == 619
    assert published.schema.field("id").type == pa.uuid()
    assert published.schema.field("word").type == pa.string()
    assert published["word"].null_count == odd["word"].null_count + 19
    pq.write_table(odd.slice(0, 1), folder / "part-2.parquet")
    judgement = judge_run(scored(told, DAY))
    assert judgement.verdict == "hold"
    assert f"id={uuid.UUID(int=1)} (2 times)" in " ".join(judgement.reasons)


FAR = 253_402_300_800  # seconds to the year 10000
_TIMES = [
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "day"}},
    {
        "type": "expect_column_max_to_be_between",
        "kwargs": {"column": "at", "max_value": "2030-01-01"},
    },
    {
        "type": "expect_column_max_to_be_between",
        "kwargs": {"column": "at", "min_value": "2000-01-01"},
    },
    {
        "type": "expect_column_min_to_be_between",
        "kwargs": {"column": "zoned", "max_value": "2000-01-01T00:00:00+00:00"},
    },
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "zoned", "max_value": "2030-01-01T00:00:00+00:00"},
    },
    {
        "type": "expect_column_unique_value_count_to_be_between",
        "kwargs": {"column": "at", "min_value": 4, "max_value": 4},
    },
]


def test_times_beyond_the_years_that_python_has_are_scored_checked_and_shown(
    project: Callable[..., config.Loaded], tmp_path: Path
) -> None:
    project(
        output__keys=["id", "day", "at"],
        output__passthrough=["zoned"],
        quality__input_suite="i.yaml",
        quality__on_failure="hold",
        quality__unique_keys=True,
        quality__max_quarantined=0.1,
    )
    text = yaml.safe_dump({"name": "times", "expectations": _TIMES})
    (tmp_path / "conf" / "expectations" / "i.yaml").write_text(text)
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None).slice(0, 300)
    seconds = [FAR * 10, 0, FAR, -FAR] * 75
    moments = pa.array(seconds).cast(pa.timestamp("s")).cast(pa.timestamp("us"))
    days = pa.array([2**31 - 1, 0, 3_000_000, -(2**31)] * 75, pa.int32()).cast(pa.date32())
    ids = pa.array([1, 1, 1, 1, None, *range(5, 300)])
    table = table.set_column(0, "id", ids).append_column("day", days).append_column("at", moments)
    zoned = moments.cast(pa.timestamp("us", "Europe/Berlin"))
    doubled = table.append_column("zoned", zoned)
    pq.write_table(pa.concat_tables([doubled, doubled.slice(0, 1)]), path, row_group_size=100)

    run = scored(config.load("p"), DAY)
    judgement = judge_run(run)
    answers = judgement.quality.expectations
    assert [e.success for e in answers] == [True, False, True, True, False, True]
    assert answers[1].observed == "82269-12-29T00:00:00"
    assert answers[3].observed == "-6060-01-02T00:00:00+00:00"
    assert "82269-12-29T00:00:00+00:00, 10000-01-01T00:00:00+00:00" in answers[4].observed
    reasons = " ".join(judgement.reasons)
    assert "day=5881580-07-11" in reasons, reasons
    assert (judgement.rows_in, judgement.quarantined) == (301, 1)
    assert "5881580-07-11" in run.report.read_text()


def test_a_footer_of_such_times_refuses_no_night(
    project: Callable[..., config.Loaded], tmp_path: Path
) -> None:
    project(quality__input_suite="i.yaml", quality__on_failure="fail")
    text = yaml.safe_dump({"name": "times", "expectations": [_TIMES[2]]})
    (tmp_path / "conf" / "expectations" / "i.yaml").write_text(text)
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = pa.array([FAR] * table.num_rows).cast(pa.timestamp("s")).cast(pa.timestamp("us"))
    pq.write_table(table.append_column("at", at), path)
    judgement = judge_run(scored(config.load("p"), DAY))
    assert judgement.verdict == "ok"
    assert "10000-01-01" in judgement.quality.expectations[0].observed


def test_a_row_with_text_that_is_not_utf8_is_quarantined_and_costs_no_night(
    project: Callable[..., config.Loaded],
) -> None:
    loaded = project(quality__input_suite="i.yaml", quality__max_quarantined=0.01)
    asked = {"column": "word", "value_set": ["a", "b", "c"]}
    expectation = {"type": "expect_column_values_to_be_in_set", "kwargs": asked}
    suite = loaded.home / "conf" / "expectations" / "i.yaml"
    suite.write_text(yaml.safe_dump({"name": "i", "expectations": [expectation]}))
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    words = [word and word.encode() for word in table["word"].to_pylist()]
    words[5] = words[400] = b"caf\xe9"  # Latin-1
    table = table.set_column(table.schema.get_field_index("word"), "word", text(words))
    pq.write_table(table, path, row_group_size=250)

    loaded = config.load("p")
    manifest = night_of(loaded, DAY)

    assert (manifest.rows_published, manifest.rows_quarantined) == (598, 2)
    output = Places.of(loaded).output(manifest.partition)
    kept = [
        pq.read_table(output.state.quarantine_file(manifest.run_key, file.path))
        for file in manifest.quarantine
    ]
    rows = pa.concat_tables(kept).select(["source_row", "reason"]).to_pylist()
    why = "column word is no UTF-8 text"
    assert rows == [{"source_row": 5, "reason": why}, {"source_row": 400, "reason": why}]
    shown = quarantined_rows(loaded, manifest.partition)
    assert [row[shown.columns.index("word")] for row in shown.rows] == [
        "caf\N{REPLACEMENT CHARACTER}"
    ] * 2
    [found] = judgement_of(loaded, manifest).quality.expectations
    nulls = table["word"].null_count + 2  # as if they were not there
    assert (found.success, found.observed) == (
        True,
        f"0 of {600 - nulls} values unexpected; {nulls} null",
    )
