"""The HTML report: complete, escaped, small, and loading nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from nocturne.records.drift import DriftResult
from nocturne.records.findings import Finding, Verdict
from nocturne.records.manifest import PublishedNight
from nocturne.records.partition import Partition
from nocturne.records.volume import Volume
from nocturne.report.overview import anchored
from report.conftest import Night
from report.pages import BROWSER, Page, check_in_browser, html_of

ATTACK = "<script>alert(1)</script>"


def said(reason: str) -> Finding:
    return Finding("drift.columns", Verdict.WARN, reason)


def page(night: Any, **more: Any) -> Page:
    return Page(html_of(night, **more))


@pytest.fixture(scope="module")
def ordinary(night: Any) -> Page:
    return page(night)


def test_the_verdict_comes_first_with_its_reasons(night: Any, ordinary: Page) -> None:
    assert ordinary.text.index("Warning") < ordinary.text.index("rows in")
    assert all(reason in ordinary.text for reason in night.judgement.reasons)


def test_an_ok_night_without_reasons_says_what_was_found(night: Any) -> None:
    judgement = replace(night.judgement, verdict=Verdict.OK, findings=())
    text = page(replace(night, judgement=judgement)).text
    assert "OK: nothing stands in the way" in text
    assert "3 expectations checked, 0 failed" in text


@pytest.mark.parametrize(("verdict", "words"), [("hold", "until a person"), ("fail", "Failed")])
def test_every_verdict_has_plain_words(night: Any, verdict: Any, words: str) -> None:
    assert words in page(replace(night, judgement=replace(night.judgement, verdict=verdict))).text


def test_the_summary_names_the_run(night: Any, ordinary: Page) -> None:
    for fact in (
        "flight_delay",
        "ds=2013-03-31",
        "version 3 (alias champion",
        night.plan.run_key,
    ):
        assert fact in ordinary.text
    assert "900 rows in" in ordinary.text
    assert "720 rows/s" in ordinary.text


def test_failed_expectations_come_before_those_that_hold(held: Any) -> None:
    text = page(held).text
    assert "1 of 4 expectations failed" in text
    assert text.index("0.71") < text.index("3 that hold")
    assert "All expectations on a page of their own (Data Docs)" in text


def test_quarantine_shows_reasons_by_rows_and_examples(held: Any) -> None:
    shown = page(
        held,
        quarantine_reasons={"null key: flight": 3, "temp is not a number": 9},
        quarantine_examples=[{"file": "part-0.parquet", "row": 17, "reason": "null key: flight"}],
    )
    assert "12 of 900 rows (1.3%)" in shown.text
    assert shown.text.index("temp is not a number 9") < shown.text.index("null key: flight 3")
    assert "part-0.parquet 17 null key" in shown.text


def test_every_column_is_in_the_drift_table_worst_first(night: Any, ordinary: Page) -> None:
    table = ordinary.text[ordinary.text.index("Alarm above") :]
    places = [table.index(f.column) for f in night.judgement.drift.columns[:4]]
    assert places == sorted(places)


def test_the_charts_people_expect_are_there_and_have_their_places(
    night: Any, ordinary: Page
) -> None:
    ids = [chart["id"] for chart in ordinary.charts]
    assert set(ids) <= set(ordinary.ids)
    assert {"heat", "rows"} <= set(ids)
    assert len(ids) == 3 + 15
    heat = next(c["spec"] for c in ordinary.charts if c["id"] == "heat")
    assert len(heat["data"]["values"]) == 30 * 15


def test_it_shows_how_many_rows_are_ordinary_and_when_they_arrived(night: Any) -> None:
    arrived = {"arrived": "2013-04-01T03:12:00+00:00", "seconds_after": 11520}
    volume = Volume(900, 2000.0, 1800, 2300, "the last 4 Sundays", **arrived)
    shown = page(replace(night, judgement=replace(night.judgement, volume=volume)))
    assert "900, 55% fewer than the median 2,000 of the last 4 Sundays; ordinary" in shown.text
    assert "2013-04-01 03:12 UTC, 3 h 12 min after the day was over" in shown.text
    rows = next(c["spec"] for c in shown.charts if c["id"] == "rows")
    assert [(r["low"], r["high"]) for r in rows["data"]["values"] if "low" in r] == [(1800, 2300)]
    vl_convert.vegalite_to_vega(rows)


def test_every_chart_is_valid_vega_lite(ordinary: Page) -> None:
    for chart in ordinary.charts:
        vl_convert.vegalite_to_vega(chart["spec"])


def test_without_a_baseline_the_night_is_drawn_alone(night: Any) -> None:
    judgement = replace(night.judgement, drift=DriftResult(note="Drift was not measured."))
    shown = page(replace(night, judgement=judgement, baseline=None, history=()))
    assert "Drift was not measured." in shown.text
    assert "baseline (training)" not in shown.text
    assert len(shown.charts) == 1 + 15


def test_without_earlier_days_the_report_says_so(night: Any) -> None:
    assert "No other partition is published yet" in page(replace(night, history=())).text


def test_the_page_loads_nothing(ordinary: Page, night: Any) -> None:
    text = html_of(night)
    assert ordinary.loads == []
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text[: text.index("</style>")])
    assert "http" not in json.dumps(ordinary.charts)


def test_vega_is_inlined_once_and_the_page_stays_under_two_megabytes(night: Any) -> None:
    judged, base = night.judgement, night.baseline.columns
    copies = {f"{name}_{i}": name for i in range(20) for name in base if name != "score"}
    drift = tuple(
        replace(f, column=copy)
        for copy, name in copies.items()
        for f in judged.drift.columns
        if f.column == name
    )
    profile = {copy: night.profile.columns[name] for copy, name in copies.items()}
    judgement = replace(judged, drift=DriftResult(drift))
    baseline = replace(night.baseline, columns={copy: base[n] for copy, n in copies.items()})
    history = [
        PublishedNight(
            replace(night.history[0].manifest, partition=Partition(f"2012-{i:04}")), judgement
        )
        for i in range(120)
    ]
    counted = replace(night.profile, columns=profile)
    text = html_of(Night(night.plan, judgement, counted, baseline, tuple(history)))
    assert 1_200_000 < len(text.encode()) < 2_000_000
    assert len(re.findall(r"window\.vegaEmbed ?=", text)) == 1
    shown = Page(text)
    assert "30 are shown; 250 with less drift are left out" in shown.text
    assert "180 more columns" in shown.text


def test_the_page_stays_small_whatever_the_values_are(night: Any) -> None:
    huge = "x" * 1_000_000
    judgement = replace(night.judgement, findings=(said(huge),))
    plan = replace(night.plan, input_dir=huge)
    big = Night(plan, judgement, night.profile, night.baseline, ())
    text = html_of(big, quarantine_examples=[{huge: huge}] * 50)
    assert len(text) < 2_000_000


def attacked(nights: Callable[..., Any]) -> Any:
    """A night in which every text that comes from data is an attack."""
    night = nights(days=2, new_carrier=ATTACK)
    judged, base = night.judgement, night.baseline
    columns = {ATTACK if n == "temp" else n: c for n, c in night.profile.columns.items()}
    drift = tuple(
        replace(f, column=ATTACK, metrics=f.metrics | {"psi": 99.0}) if f.column == "temp" else f
        for f in judged.drift.columns
    )
    expectation = replace(
        judged.quality.expectations[0],
        success=False,
        column=ATTACK,
        observed=ATTACK,
        detail=ATTACK,
        type=ATTACK,
        suite=ATTACK,
    )
    judgement = replace(
        judged,
        findings=(said(ATTACK),),
        quarantined=1,
        drift=replace(judged.drift, columns=drift, note=ATTACK),
        quality=replace(judged.quality, expectations=(expectation,), data_docs=ATTACK),
    )
    baseline = replace(
        base, columns={ATTACK if n == "temp" else n: c for n, c in base.columns.items()}
    )
    plan = replace(night.plan, pipeline=ATTACK, input_dir=ATTACK)
    counted = replace(night.profile, columns=columns)
    return Night(plan, judgement, counted, baseline, night.history)


def test_what_comes_from_data_is_text_and_never_markup(nights: Callable[..., Any]) -> None:
    shown = page(
        attacked(nights),
        location=ATTACK,
        quarantine_reasons={ATTACK: 1},
        quarantine_examples=[{ATTACK: ATTACK}],
    )
    assert len(shown.scripts) == 2
    assert shown.text.count(ATTACK) >= 12
    assert ATTACK[:20] in json.dumps(shown.charts)


def test_a_script_block_can_not_be_ended_by_data(nights: Callable[..., Any]) -> None:
    night = attacked(nights)
    text = html_of(night)
    assert text.lower().count("<script") == text.lower().count("</script") == 2
    assert "<!--" not in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_every_chart_and_runs_nothing_else(
    nights: Callable[..., Any], tmp_path: Path, scheme: str
) -> None:
    night = attacked(nights)
    text = html_of(night)
    check_in_browser(text, tmp_path, scheme)


def test_data_docs_are_linked_from_the_report_beside_them(night: Any) -> None:
    quality = replace(night.judgement.quality, data_docs="data_docs/index.html")
    shown = page(replace(night, judgement=replace(night.judgement, quality=quality)))
    assert "a href=data_docs/index.html" in shown.loads
    anchors = [f"a href=data_docs/index.html#{anchor}" for anchor, _ in anchored(night.judgement)]
    assert anchors
    assert {*anchors} <= {*shown.loads}
