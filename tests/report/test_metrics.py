"""Every drift metric reaches those who show it, by its entry alone."""

from __future__ import annotations

from typing import Any

import pytest

from nocturne.drift import METRICS
from nocturne.report.monitoring import night_entry
from nocturne.report.night import metrics
from report.pages import html_of

RATES = {"threshold", "null_rate", "new_rate"}


@pytest.fixture(scope="module")
def page(night: Any) -> str:
    return html_of(night)


@pytest.mark.parametrize("name", METRICS)
def test_the_report_has_a_column_of_each_metric_that_is_to_be_shown(name: str, page: str) -> None:
    assert (f">{METRICS[name].heading}</th>" in page) is METRICS[name].shown


def test_the_nights_run_has_every_metric_of_a_column(night: Any) -> None:
    logged = metrics(night.plan, night.judgement, night.profile)
    for column in ("temp", "carrier"):
        drift = {
            n.removeprefix(f"drift.{column}.") for n in logged if n.startswith(f"drift.{column}.")
        }
        assert drift == METRICS.keys() | RATES


def test_the_monitoring_run_has_those_that_are_monitored(night: Any) -> None:
    monitored = [name for name, metric in METRICS.items() if metric.monitored]
    names = set(night_entry(night.history[0], monitored).values())
    drift = {n.removeprefix("drift.temp.") for n in names if n.startswith("drift.temp.")}
    assert drift == {*monitored, *RATES}


def test_what_mlflow_has_of_a_column_are_these() -> None:
    """Whoever charts them by name finds them; more may come."""
    assert {"psi", "js", "ks", "linf", "wasserstein"} <= METRICS.keys()
    assert {name for name, metric in METRICS.items() if metric.monitored} >= {"psi", "wasserstein"}
