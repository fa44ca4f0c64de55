"""The rules that give a night its verdict: each finds what it is for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nocturne.config import Pipeline
from nocturne.pipeline.rules import RULES, Evidence, findings_of
from nocturne.quality.duplicates import Duplicates
from nocturne.records.drift import DriftResult, FeatureDrift, SegmentDrift
from nocturne.records.findings import Verdict, verdict_of
from nocturne.records.profile import Profile
from nocturne.records.quality import Expectation, QualityResult
from nocturne.records.result import RAISED, SplitResult
from nocturne.records.volume import Volume

SETTINGS = Pipeline.model_validate(
    {
        "name": "p",
        "model": {"name": "m", "alias": "champion"},
        "input": {"path": "in"},
        "output": {"path": "out", "keys": ["id"]},
        "quality": {"on_failure": "hold", "max_quarantined": 0.01},
        "drift": {"on_drift": "hold"},
    }
)


def result(**changes: Any) -> SplitResult:
    fields = {"rows_in": 100, "rows_out": 100, "quarantined": 0, "reasons": {}} | changes
    return SplitResult(
        key="k",
        index=0,
        file="f",
        sha256="",
        size=0,
        quarantine_file=None,
        started=0.0,
        finished=1.0,
        profile=Profile(100, {}),
        **fields,
    )


def feature(column: str, *, is_output: bool = False) -> FeatureDrift:
    return FeatureDrift(
        column=column,
        kind="numeric",
        is_output=is_output,
        threshold=0.1,
        alarmed=True,
        null_rate=0.0,
        baseline_null_rate=0.0,
        new_rate=0.0,
        new_values=(),
        counts=(),
        metrics={"psi": 0.4},
    )


CALM = Evidence(SETTINGS, [result()], QualityResult(), None, DriftResult(), Volume(100))
FAILED = Expectation("in", "expect_column_to_exist", "x", False, "not there", "x")
MOVED = DriftResult((feature("x"),))
PAGED = DriftResult((feature("score", is_output=True),), paged=True)
APART = DriftResult(segments=(SegmentDrift("origin=JFK", 10, (feature("x"),)),))
RAISING = result(rows_out=0, quarantined=100, reasons={f"{RAISED}ValueError": 100})

EXAMPLES: dict[str, tuple[Evidence, Verdict, str]] = {
    "quality.expectations": (
        replace(CALM, quality=QualityResult((FAILED,))),
        Verdict.HOLD,
        "1 of 1 expectations failed: expect_column_to_exist on x (in): not there",
    ),
    "quality.unique_keys": (
        replace(CALM, duplicates=Duplicates(4, ("id=1 (2 times)",))),
        Verdict.HOLD,
        "4 rows have a key that another row has too, such as id=1 (2 times)",
    ),
    "quality.model": (
        replace(CALM, results=[RAISING]),
        Verdict.FAIL,
        "not one of 100 rows has a score",
    ),
    "quality.quarantined": (
        replace(CALM, results=[result(rows_out=98, quarantined=2, reasons={"a null": 2})]),
        Verdict.HOLD,
        "2 of 100 rows (2.00%) are quarantined, over the limit of 1.00%",
    ),
    "quality.volume": (
        replace(CALM, volume=Volume(0, 5412.0, 4900, 5900, "the last 8 Sundays")),
        Verdict.WARN,
        "0 rows came, 100% fewer than the median 5,412 of the last 8 Sundays; ordinary are 4,900",
    ),
    "drift.columns": (
        replace(CALM, drift=MOVED),
        Verdict.WARN,
        "1 column drifted: x (PSI 0.40, alarm at 0.10)",
    ),
    "drift.page": (
        replace(CALM, drift=PAGED),
        Verdict.HOLD,
        "a person should look: score drifted",
    ),
    "drift.segments": (
        replace(CALM, drift=APART),
        Verdict.WARN,
        "drifted in a segment alone: x where origin=JFK (PSI 0.40, alarm at 0.10)",
    ),
    "person.hold": (replace(CALM, hold="look at it"), Verdict.HOLD, "look at it"),
}
"""Rule -> a night on which it finds something, the verdict by it, and how its reason begins."""


def test_a_calm_night_has_no_findings_and_is_ok() -> None:
    assert findings_of(CALM) == ()
    assert verdict_of(()) == Verdict.OK


@pytest.mark.parametrize("name", RULES)
def test_each_rule_finds_what_it_is_for(name: str) -> None:
    assert name in EXAMPLES, f"give the rule {name} an example here"
    night, verdict, reason = EXAMPLES[name]
    [finding] = [finding for finding in findings_of(night) if finding.rule == name]
    assert finding.verdict == verdict
    assert finding.reason.startswith(reason)
    assert finding.subject in ("quality", "drift", "person")


def test_the_nights_verdict_is_the_worst_of_its_findings() -> None:
    night = replace(CALM, drift=MOVED, hold="look", results=[RAISING])
    findings = findings_of(night)
    assert verdict_of(findings) == Verdict.FAIL
    assert verdict_of(findings, "drift") == Verdict.WARN
    assert verdict_of(findings, "person") == Verdict.HOLD
    assert [finding.rule for finding in findings] == [
        "quality.model",
        "drift.columns",
        "person.hold",
    ]


def test_few_quarantined_rows_are_told_and_hold_nothing() -> None:
    night = replace(CALM, results=[result(rows_in=1000, rows_out=999, quarantined=1)])
    [finding] = findings_of(night)
    assert (finding.rule, finding.verdict) == ("quality.quarantined", Verdict.OK)
    assert "within the limit" in finding.reason


def test_verdicts_have_one_order() -> None:
    assert [verdict.rank for verdict in Verdict] == [0, 1, 2, 3]
    assert Verdict.worst([Verdict.WARN, Verdict.FAIL, Verdict.OK]) == Verdict.FAIL
    assert [verdict for verdict in Verdict if verdict.publishes] == [Verdict.OK, Verdict.WARN]
