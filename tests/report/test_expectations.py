"""The page of the expectations, as a browser reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nocturne.records.quality import Expectation
from nocturne.report import expectations_html
from report.pages import BROWSER, chromium
from report.test_page import ATTACK, attacked

HOLDS = Expectation(
    "input", "expect_table_row_count_to_equal", None, True, "4", "Must have exactly 4 rows."
)
FAILED = Expectation(
    "output",
    "expect_column_mean_to_be_between",
    "p",
    False,
    "0.9",
    "p mean must be below .5.",
    0.9,
    "Ask who trained the model.",
)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("attack", [False, True])
def test_it_shows_both_suites_without_scripts_and_loads_nothing(
    nights: Callable[..., Any], night: Any, tmp_path: Any, attack: bool
) -> None:
    hostile = attacked(nights)
    if attack:
        plan, judgement = hostile.plan, hostile.judgement
    else:
        quality = replace(night.judgement.quality, expectations=(HOLDS, FAILED))
        plan, judgement = night.plan, replace(night.judgement, quality=quality)
    file = tmp_path / "index.html"
    file.write_text(expectations_html(plan, judgement), encoding="utf-8")
    assert file.stat().st_size < 50_000
    wrong, asked = list[str](), list[str]()
    with chromium() as browser:
        page = browser.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(f"{file.as_uri()}#expectation-{1 if attack else 2}")
        row = page.locator("tr:target")
        text, scripts = row.inner_text(), page.locator("script, img, iframe").count()
        first = page.locator("tbody tr").first.get_attribute("id")
        headings = page.locator("h2").all_inner_texts()
        top = page.locator(".verdict a").get_attribute("href")
    assert wrong == []
    assert {url.partition("#")[0] for url in asked} == {file.as_uri()}
    assert scripts == 0
    if attack:
        assert text.count(ATTACK) >= 3
        return
    for part in ("failed", "p mean must be below .5.", "0.9", "Ask who trained the model."):
        assert part in text
    assert (first, top) == ("expectation-1", "#expectation-2")
    assert headings == ["On the input", "On the scores"]
