"""How far a column is over its alarm level is one number, wherever a report shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from nocturne.records.drift import FeatureDrift
from nocturne.report import span_html
from report.pages import Page, html_of


def without_level(feature: FeatureDrift, psi: float) -> FeatureDrift:
    return replace(feature, metrics=feature.metrics | {"psi": psi}, threshold=0.0, alarmed=psi > 0)


@pytest.mark.parametrize(("psi", "excess"), [(0.4, 1.0), (0.0, 0.0)])
def test_without_a_threshold_any_psi_is_at_the_alarm_level_in_every_report(
    night: Any, psi: float, excess: float
) -> None:
    """A threshold of 0: the floor is 0, and training days do not differ at all."""
    drift = night.judgement.drift
    features = tuple(without_level(feature, psi) for feature in drift.columns)
    assert {feature.excess for feature in features} == {excess}
    judgement = replace(night.judgement, drift=replace(drift, columns=features))
    page = html_of(replace(night, judgement=judgement))
    assert set(re.findall(r'<i class="(?:is-warn)?" style="width:(\d+)%', page)) == {
        f"{excess * 50:.0f}"
    }
    [heat] = [chart for chart in Page(page).charts if chart["id"] == "heat"]
    today = [r for r in heat["spec"]["data"]["values"] if r["d"] == night.plan.partition.key]
    assert {(row["r"], row["a"]) for row in today} == {(excess, psi > 0)}
    nights = [replace(night.history[0], judgement=judgement)]
    worst = re.findall(
        r'<td class="n">([\d.]+)</td><td>[\d-]*</td>', span_html("p", nights, (), {})
    )
    assert {float(figure) for figure in worst} == {excess}


def test_the_heat_map_marks_what_alarmed(night: Any) -> None:
    [heat] = [chart for chart in Page(html_of(night)).charts if chart["id"] == "heat"]
    today = [r for r in heat["spec"]["data"]["values"] if r["d"] == night.plan.partition.key]
    assert sum(row["a"] for row in today) == len(night.judgement.drift.alarmed)
