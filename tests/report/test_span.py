"""The report of a range: what stood out, and every night with a link to its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from nocturne.records import FeatureDrift, Finding, Partition, PublishedNight, Verdict
from nocturne.report import span_html
from report.pages import BROWSER, Page, check_in_browser

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def span(night: Any) -> list[PublishedNight]:
    """29 nights; one paged, one has another model and lost rows."""
    nights = list(night.history)
    page = Finding("drift.page", Verdict.WARN, "a person should look")
    nights[4] = published(nights[4], findings=(page,), verdict=Verdict.WARN)
    model = replace(nights[9].manifest.model, version=4)
    lost = Finding("quality.quarantined", Verdict.OK, "7 rows lost")
    nights[9] = published(nights[9], model=model, rows_quarantined=7, findings=(lost,))
    return nights


def published(night: PublishedNight, **changes: Any) -> PublishedNight:
    return replace(night, manifest=replace(night.manifest, **changes))


def drifted(night: PublishedNight, columns: tuple[FeatureDrift, ...]) -> PublishedNight:
    drift = replace(night.judgement.drift, columns=columns)
    return replace(night, judgement=replace(night.judgement, drift=drift))


def _page(nights: list[PublishedNight], missing: tuple[str, ...] = (), **links: str) -> Page:
    return Page(span_html("flight_delay", nights, missing, links))


def test_it_says_first_what_stood_out(span: list[PublishedNight]) -> None:
    shown = _page(span, ("2013-03-31",))
    assert "29 nights published: " in shown.text
    assert "a person should look at the drift of 2013-03-06" in shown.text
    assert "not published: 2013-03-31" in shown.text
    assert "version 3, flight_delay version 4" in shown.text
    assert "7 quarantined" in shown.text
    assert shown.text.index("published") < shown.text.index("Scores")


def test_every_night_is_listed_newest_first_with_its_report(span: list[PublishedNight]) -> None:
    shown = _page(span, **{"2013-03-11": "../ds%3D2013-03-11/report.html"})
    table = shown.text[shown.text.rindex("Partition") :]
    places = [table.index(night.key) for night in reversed(span)]
    assert places == sorted(places)
    assert shown.loads == ["a href=../ds%3D2013-03-11/report.html"]
    assert "7 rows lost" in table


def test_columns_come_by_how_often_they_alarmed(span: list[PublishedNight]) -> None:
    shown = _page(span)
    assert {f.column for f in span[0].judgement.drift.columns} <= set(shown.text.split())
    counts = [int(found) for found in re.findall(r"(\d+) of 29", shown.text)]
    assert len(counts) == len(span[0].judgement.drift.columns)
    assert counts == sorted(counts, reverse=True)


def test_the_charts_are_valid_and_have_their_places(span: list[PublishedNight]) -> None:
    shown = _page(span)
    assert {chart["id"] for chart in shown.charts} == {"rows", "heat", "score-0"}
    for chart in shown.charts:
        assert chart["id"] in shown.ids
        vl_convert.vegalite_to_vega(chart["spec"])


def test_a_year_stays_under_two_megabytes(span: list[PublishedNight]) -> None:
    year = [published(span[0], partition=Partition(f"2012-{i:04}")) for i in range(365)]
    assert len(span_html("flight_delay", year, (), {}).encode()) < 2_000_000


def test_nights_without_drift_say_so(span: list[PublishedNight]) -> None:
    bare = [drifted(night, ()) for night in span]
    assert "Drift was not measured on these nights" in _page(bare).text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_and_runs_nothing_from_data(
    span: list[PublishedNight], tmp_path: Path, scheme: str
) -> None:
    drift = tuple(
        replace(f, column=ATTACK) if i == 0 else f
        for i, f in enumerate(span[0].judgement.drift.columns)
    )
    said = Finding("drift.columns", Verdict.WARN, ATTACK)
    bad = drifted(published(span[0], findings=(said,)), drift)
    text = span_html(ATTACK, [bad, *span[1:]], (ATTACK,), {})
    assert text.lower().count("<script") == text.lower().count("</script") == 2
    check_in_browser(text, tmp_path, scheme)
