"""Columns and expectations over nights, nights beside each other, and quarantined rows."""

from __future__ import annotations

import csv
import datetime as dt
import html
import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from conftest import sample
from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.errors import Held, InputError, NocturneError
from nocturne.operate.decisions import approve_held
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from page.reading import Page, page_of
from pipeline.conftest import DAYS, night_of, scored, shift

Make = Callable[..., Loaded]


def _table(page: Page, head: str) -> list[list[str]]:
    """The rows of the table with a heading cell."""
    for table in page.root.iterfind(".//table"):
        heads = [
            " ".join("".join(cell.itertext()).split()) for cell in table.iterfind(".//thead//th")
        ]
        if head in heads:
            return [
                [" ".join("".join(cell.itertext()).split()) for cell in row]
                for row in table.iterfind("./tbody/tr")
            ]
    raise AssertionError(f"no table has a column {head}")


def test_a_column_is_followed_over_nights_held_ones_too(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(drift__on_drift="hold")
    for day in DAYS[:3]:
        night_of(loaded, day)
    shift(tmp_path, DAYS[3], "y", by=4.0)
    run = scored(loaded, DAYS[3])
    judged = judge_run(run)
    with suppress(Held):
        publish_run(run)
    drift = next(f for f in judged.drift.columns if f.column == "y")
    page = page_of(client, "/p/columns?name=y")
    rows = _table(page, "Alarm above")
    assert [row[0] for row in rows] == [*reversed(DAYS[:4])]
    _, verdict, version, excess, psi, alarm, nulls, *values = rows[0]
    assert (verdict, version) == (run.state.status().state, "1")  # type: ignore[union-attr]
    assert float(psi) == pytest.approx(drift.psi, abs=5e-4)
    assert float(alarm) == pytest.approx(drift.threshold, abs=5e-4)
    assert float(excess) == pytest.approx(drift.excess, rel=0.01)
    assert nulls == "0.00%"
    _, median, mean, _ = map(float, values)
    assert median == pytest.approx(4.0, abs=0.3)
    assert mean == pytest.approx(4.0, abs=0.2)
    titles = page.all(".//section/h2")
    assert f"{DAYS[3]} beside the training data" in titles
    # The bars are the counts that were compared, which add up to all rows.
    bars = page.all(".//svg//title")
    shares = [float(t.split(f"{DAYS[3]} ")[1].split("%")[0]) for t in bars if f": {DAYS[3]} " in t]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_a_sensitive_column_shows_its_drift_but_no_value(project: Make, client: Any) -> None:
    loaded = project(quality__sensitive=["word"])
    for day in DAYS[:2]:
        night_of(loaded, day)
    page = page_of(client, "/p/columns?name=word")
    assert "Its values are not shown: quality.sensitive names it." in page.text
    assert len(_table(page, "Alarm above")) == 2
    assert "Median, half" not in page.text
    compared = page_of(client, f"/p/compare?a={DAYS[0]}&b={DAYS[1]}")
    assert not [title for title in compared.all(".//h2") if title.startswith("word")]


def test_expectations_are_followed_over_nights(project: Make, tmp_path: Path, client: Any) -> None:
    project(quality__input_suite="s.yaml", quality__on_failure="warn")
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 600}}
    nulls = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}}
    text = yaml.safe_dump({"name": "s", "expectations": [rows, nulls]})
    (tmp_path / "conf" / "expectations" / "s.yaml").write_text(text)
    loaded = config.load("p")
    pq.write_table(sample(550), tmp_path / "data" / f"ds={DAYS[2]}" / "part-0.parquet")
    for day in DAYS[:4]:
        night_of(loaded, day)
    page = page_of(client, "/p/expectations")
    first, second = page.root.iterfind(".//section")
    said = " ".join("".join(first.itertext()).split())
    assert "expect_table_row_count_to_be_between" in said
    assert "Failed in 1 of 4 nights. Last: 600" in said
    squares = [a.get("aria-label") for a in first.iterfind(".//a")]
    assert f"{DAYS[2]}: failed, 550" in squares
    assert "Held in 4 nights" in "".join(second.itertext())


def test_two_nights_and_two_versions_stand_beside_each_other(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project()
    first = night_of(loaded, DAYS[0])
    shift(tmp_path, DAYS[1], "y", by=4.0)
    night_of(loaded, DAYS[1])
    page = page_of(client, f"/p/compare?a={DAYS[0]}&b={DAYS[1]}")
    rows = _table(page, "Apart")
    assert rows[0][0] == "y"  # what differs most comes first
    assert float(rows[0][1].rstrip("%")) > 80
    medians = float(rows[0][2]), float(rows[0][3])
    assert medians[1] - medians[0] == pytest.approx(4.0, abs=0.4)
    same = page_of(client, f"/p/compare?a={DAYS[0]}:{first.id}&b={DAYS[0]}")
    assert {row[1] for row in _table(same, "Apart")} == {"0.0%"}
    of_version = page_of(client, f"/p/compare?a=v1&b={DAYS[1]}")
    assert "2" in _table(of_version, "v1")[0]
    assert "1,200" in _table(of_version, "v1")[3]
    for name, said in (
        ("v9", "was scored by version 9"),
        (f"{DAYS[0]}:000009-a", "has no manifest '000009-a': expected one of"),
        (DAYS[4], "is not judged"),
    ):
        assert said in page_of(client, f"/p/compare?a={name}&b={DAYS[1]}", 400).text


def test_nulls_set_two_nights_apart(project: Make, tmp_path: Path, client: Any) -> None:
    loaded = project()
    night_of(loaded, DAYS[0])
    path = tmp_path / "data" / f"ds={DAYS[1]}" / "part-0.parquet"
    table = pq.read_table(tmp_path / "data" / f"ds={DAYS[0]}" / "part-0.parquet")
    half = [None if n % 2 else v for n, v in enumerate(table["y"].to_pylist())]
    at = table.schema.get_field_index("y")
    pq.write_table(table.set_column(at, "y", pa.array(half)), path, row_group_size=250)
    night_of(loaded, DAYS[1])
    page = page_of(client, f"/p/compare?a={DAYS[0]}&b={DAYS[1]}")
    shares = {row[0]: float(row[1].rstrip("%")) for row in _table(page, "Apart")}
    assert shares["y"] == pytest.approx(50, abs=5)
    assert shares["x"] == shares["word"] == 0
    drawn = page_of(client, f"/p/compare?a={DAYS[0]}&b={DAYS[1]}&name=y")
    titles = drawn.all(".//svg//title")
    assert f"null: {DAYS[1]} 50.0%, {DAYS[0]} 0.0%" in titles
    bars = [float(title.split(f"{DAYS[1]} ")[1].split("%")[0]) for title in titles]
    assert sum(bars) == pytest.approx(100, abs=3)


def test_only_what_can_be_compared_is_offered(project: Make, client: Any) -> None:
    loaded = project()
    for day in DAYS[:2]:
        run = scored(loaded, day, hold="look at it")
        judge_run(run)
        with pytest.raises(Held):
            publish_run(run)
    page = page_of(client, "/p/compare")
    offered = [option.get("value") for option in page.root.iterfind(".//datalist/option")]
    assert offered == [DAYS[1], DAYS[0]]
    assert "v1" not in page.text
    night_of(loaded, DAYS[2])
    page = page_of(client, "/p/compare")
    offered = [str(option.get("value")) for option in page.root.iterfind(".//datalist/option")]
    assert offered == ["v1", DAYS[2], DAYS[1], DAYS[0]]
    assert "recent nights in force that version 1 scored" in page.text
    for name in offered:
        page_of(client, f"/p/compare?a={name}&b={DAYS[0]}")


def test_a_mistyped_date_empties_no_view(project: Make, tmp_path: Path, client: Any) -> None:
    loaded = project(quality__input_suite="s.yaml")
    kwargs = {"min_value": 1}
    _suite(tmp_path, {"type": "expect_table_row_count_to_be_between", "kwargs": kwargs})
    for day in DAYS[:2]:
        night_of(loaded, day)
    folder = tmp_path / "data" / "ds=2099-01-01"
    folder.mkdir()
    pq.write_table(sample(600), folder / "part-0.parquet")
    night_of(loaded, "2099-01-01")
    assert len(_table(page_of(client, "/p/columns?name=y"), "Alarm above")) == 2
    assert page_of(client, "/p/compare").all(".//h1") == [f"{DAYS[0]} beside {DAYS[1]}"]
    assert "Held in 2 nights" in page_of(client, "/p/expectations").text
    [row] = _table(page_of(client, "/p/columns?name=y&until=2099-01-01&nights=9"), "Alarm above")
    assert row[0] == "2099-01-01"


def _bad(root: Path, day: str) -> None:
    """Three rows without a key, one with a word that a spreadsheet would run."""
    table = sample(600)
    ids = [None if n in (3, 5, 7) else n for n in range(600)]
    words = table["word"].to_pylist()
    words[3], words[5], words[7] = "=cmd|' /C calc'!A0", "plain", None
    table = table.set_column(0, "id", pa.array(ids, pa.int64()))
    table = table.set_column(3, "word", pa.array(words))
    pq.write_table(table, root / "data" / f"ds={day}" / "part-0.parquet", row_group_size=250)


@pytest.mark.parametrize("held", [True, False])
def test_quarantined_rows_are_filtered_sorted_and_downloaded(
    project: Make, tmp_path: Path, client: Any, held: bool
) -> None:
    loaded = project(quality__max_quarantined=0.0 if held else 0.5)
    night_of(loaded, DAYS[0])
    _bad(tmp_path, DAYS[1])
    run = scored(loaded, DAYS[1])
    judge_run(run)
    with suppress(Held):
        publish_run(run)
    page = page_of(client, f"/p/{DAYS[1]}/rows")
    [(reason, count)] = _table(page, "Reason")
    assert count == "3"
    rows = _table(page, "source_row")
    assert [row[1] for row in rows] == ["3", "5", "7"]
    down = page_of(client, f"/p/{DAYS[1]}/rows?sort=source_row&down=true&reason={reason}")
    assert [row[1] for row in _table(down, "source_row ↓")] == ["7", "5", "3"]
    history = [t for t in down.all(".//svg//title") if "rows" in t]
    assert history[-2:] == [f"{DAYS[0]}: 0 rows", f"{DAYS[1]}: 3 rows"]
    assert _table(page_of(client, f"/p/{DAYS[1]}/rows?reason=other"), "source_row") == []

    answer = client.get(f"/p/{DAYS[1]}/rows.csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert {*lines[0]} == {"source_file", "source_row", "reason", "id", "x", "y", "word"}
    assert [line["word"] for line in lines] == ["'=cmd|' /C calc'!A0", "plain", ""]
    assert float(lines[0]["y"]) == sample(600)["y"][3].as_py()  # numbers stay numbers


def test_quarantined_rows_leave_out_sensitive_columns(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(quality__max_quarantined=0.5, quality__sensitive=["word"])
    _bad(tmp_path, DAYS[0])
    night_of(loaded, DAYS[0])
    page = page_of(client, f"/p/{DAYS[0]}/rows")
    assert "Without the sensitive columns word." in page.text
    answer = client.get(f"/p/{DAYS[0]}/rows.csv").text
    for text in (page.source, answer):
        assert "calc" not in text
        assert "plain" not in text
    assert "there is nothing" not in page.text


_LATER_HIDDEN = [
    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "y", "max_value": 0}},
    {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "kwargs": {"column_A": "y", "column_B": "x"},
    },
    {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "word", "value_set": ["other"]},
    },
    {"type": "expect_column_max_to_be_between", "kwargs": {"column": "x", "max_value": 0}},
]


def _suite(root: Path, *expectations: dict[str, Any], name: str = "s") -> None:
    text = yaml.safe_dump({"name": name, "expectations": [*expectations]})
    (root / "conf" / "expectations" / f"{name}.yaml").write_text(text)


def _quality(root: Path, **settings: Any) -> None:
    """Change the pipeline's settings of quality."""
    path = root / "conf" / "pipelines" / "p.yaml"
    changed = yaml.safe_load(path.read_text())
    changed["quality"] |= settings
    path.write_text(yaml.safe_dump(changed))


@pytest.mark.parametrize("on_failure", ["warn", "hold", "fail"])
def test_what_became_sensitive_later_is_not_shown_of_earlier_nights(
    project: Make, tmp_path: Path, client: Any, on_failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(quality__input_suite="s.yaml", quality__on_failure=on_failure)
    monkeypatch.setattr("nocturne.quality.failed_for_certain", lambda *_: [])
    _suite(tmp_path, *_LATER_HIDDEN)
    run = scored(config.load("p"), DAYS[0])
    judged = judge_run(run)
    with suppress(Held, NocturneError):
        publish_run(run)
    observed = [e.observed for e in judged.quality.expectations]
    assert len(judged.quality.failed) == 4
    values = [observed[0], *(said.partition("such as ")[2] for said in observed[1:3])]
    assert all(values)

    def shown() -> dict[str, str]:
        paths = ("/", "/p", f"/p/{DAYS[0]}", "/p/expectations")
        said = {
            path: client.get(path, headers={"cache-control": "no-cache"}).text for path in paths
        }
        for command in (["status", "p"], ["status", "p", "--json"], ["status"], ["watch", "p"]):
            done = CliRunner(env={"COLUMNS": "2000"}).invoke(app, command)
            said[" ".join(command)] = done.output
        return {where: html.unescape(text) for where, text in said.items()}

    assert all(values[0] in text for where, text in shown().items() if where != "status")
    _quality(tmp_path, sensitive=["y", "word"])
    after = shown()
    for where, text in after.items():
        assert not [value for value in values if value in text], where
    said = " ".join(after[f"/p/{DAYS[0]}"].split())
    reason = (
        "4 of 4 expectations failed: expect_column_max_to_be_between on y (input): (not shown: "
        "quality.sensitive); "
    )
    assert reason in said
    assert observed[3] in said  # x is not sensitive
    assert observed[3] in after["/p/expectations"]


def test_a_maximum_in_the_footers_is_not_shown_once_it_is_sensitive(
    project: Make, tmp_path: Path, client: Any
) -> None:
    project(quality__input_suite="s.yaml", quality__on_failure="fail")
    _suite(tmp_path, _LATER_HIDDEN[0], _LATER_HIDDEN[3])
    with pytest.raises(InputError) as refused:
        scored(config.load("p"), DAYS[0])
    y, x = (line.split("a value is ")[1] for line in str(refused.value).splitlines()[1:])
    _quality(tmp_path, sensitive=["y"])
    said = page_of(client, f"/p/{DAYS[0]}").text
    assert y not in said
    assert "on y: a value is above 0" in said
    assert f"on x: a value is {x}" in said


def test_quarantined_rows_are_there_after_a_later_run_could_not_be_planned(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(quality__max_quarantined=0.5)
    _bad(tmp_path, DAYS[0])
    night_of(loaded, DAYS[0])
    path = tmp_path / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
    pq.write_table(sample(600).drop_columns(["y"]), path)
    with pytest.raises(NocturneError):
        scored(loaded, DAYS[0])
    rows = _table(page_of(client, f"/p/{DAYS[0]}/rows"), "source_row")
    assert [row[1] for row in rows] == ["3", "5", "7"]


def test_a_wrong_parameter_is_a_page_too(project: Make, client: Any) -> None:
    night_of(project(), DAYS[0])
    assert "nights: got 'abc'" in page_of(client, "/p/columns?nights=abc", 422).text


@pytest.mark.parametrize(
    "path",
    [
        "/p/columns?name=&until=&nights=",
        "/p/expectations?until=&nights=",
        "/p/compare?a=&b=&name=",
        "/p?until=",
        f"/p/{DAYS[0]}/rows?reason=&sort=&down=&page=",
        "/?page=",
    ],
)
def test_an_emptied_field_means_the_default(project: Make, client: Any, path: str) -> None:
    loaded = project()
    for day in DAYS[:2]:
        night_of(loaded, day)
    assert page_of(client, path).text == page_of(client, path.partition("?")[0]).text


def test_every_time_of_a_night_is_in_utc_and_says_so(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(schedule__timezone="America/New_York", slo__within_minutes=1)
    part = tmp_path / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
    arrived = dt.datetime(2024, 7, 1, 2, 35, tzinfo=dt.UTC).timestamp()
    os.utime(part, (arrived, arrived))
    run = scored(loaded, DAYS[0], hold="look at it")
    judge_run(run)
    with suppress(Held):
        publish_run(run)
    approve_held(loaded, run.plan.partition, "ada")
    page = page_of(client, f"/p/{DAYS[0]}")
    assert "the input arrived 2024-07-01 02:35 UTC" in page.text
    times = re.findall(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?:.{4})?", page.text)
    assert len(times) >= 7  # arrived, in force since, published, and what happened
    assert [time for time in times if not time.endswith(" UTC")] == []


def test_a_night_without_quarantined_rows_says_so(project: Make, client: Any) -> None:
    night_of(project(), DAYS[0])
    assert "No row is quarantined" in page_of(client, f"/p/{DAYS[0]}/rows").text
    assert "was never scored" in page_of(client, f"/p/{DAYS[4]}/rows", 404).text


def test_a_table_that_is_scored_as_a_whole_has_the_same_views(
    project: Make, tmp_path: Path, client: Any
) -> None:
    loaded = project(input__partition={}, input__path="whole")
    (tmp_path / "whole").mkdir()
    pq.write_table(sample(600), tmp_path / "whole" / "part-0.parquet", row_group_size=250)
    night_of(loaded, "2026-01-01")
    [row] = page_of(client, "/").all(".//table[@class='pipelines']/tbody/tr")
    assert "× alarm" in row
    today = dt.datetime.now().date().isoformat()
    assert page_of(client, "/p/all").ways()[-1][1] == f"nocturne score p --date {today}"
    for view in ("columns?name=y&until=all", "expectations?until=all", "all/rows"):
        page_of(client, f"/p/{view}")
    assert "to compare: score one more" in page_of(client, "/p/compare", 400).text
    first = night_of(loaded, "2026-01-01", force=True)
    second = night_of(loaded, "2026-01-01", force=True)
    sides = f"a=all:{first.id}&b=all:{second.id}"
    assert {row[1] for row in _table(page_of(client, f"/p/compare?{sides}"), "Apart")} == {"0.0%"}


def test_what_is_not_there_is_a_page_for_people_and_text_for_programs(client: Any) -> None:
    page = page_of(client, "/nobody", 404)
    assert page.all(".//h1") == ["There is no such page"]
    answer = client.get("/nobody", headers={"accept": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (
        404,
        "text/plain; charset=utf-8",
    )
