"""What became of a night in MLflow, and what a person decided: tags that stay true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nocturne.records.findings import Verdict
from nocturne.records.manifest import Judgement
from nocturne.report import decision_tags
from report.mlflow_store import Store

STATE, DECISION = "nocturne.state", "nocturne.decision"


def judged(night: Any, verdict: Verdict) -> Judgement:
    changed: Judgement = replace(night.judgement, verdict=verdict)
    return changed


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("ok", "judged"), ("warn", "judged"), ("hold", "held"), ("fail", "failed")],
)
def test_a_judged_night_has_the_state_of_its_verdict(
    store: Store, night: Any, verdict: str, state: str
) -> None:
    tags = store.tags(store.log(night, judged(night, Verdict(verdict))))
    assert (tags[STATE], DECISION in tags) == (state, False)


def test_a_published_run_supersedes_the_others_of_its_night(store: Store, night: Any) -> None:
    held = store.log(night, judged(night, Verdict.HOLD))
    rejected = store.log(night, judged(night, Verdict.HOLD), run_key="11" * 32)
    store.client.set_tag(rejected, STATE, "rejected")
    before = store.log(night, run_key="22" * 32)
    assert store.tags(held)[STATE] == "superseded"
    store.client.set_tag(before, STATE, "published")
    last = replace(night, plan=replace(night.plan, run_key="33" * 32))
    run_id = store.log(last)
    assert store.tags(before)[STATE] == "published", "until the next one is"
    store.tag(last, state="published")
    states = [store.tags(run)[STATE] for run in (held, rejected, before, run_id)]
    assert states == ["superseded", "rejected", "superseded", "published"]


def test_the_last_decision_counts_in_whatever_order_it_is_told(store: Store, night: Any) -> None:
    run_id = store.log(night)
    accepted = decision_tags("drift accepted", "bob", "2024-01-02T00:00:00+00:00")
    approved = decision_tags("approved", "ada", "2024-01-01T00:00:00+00:00", "looked at it")
    for decision in (approved, accepted, approved):
        store.tag(night, state="published", decision=decision)
    assert store.tags(run_id).items() >= accepted.items()


def test_a_night_that_is_judged_again_is_decided_on_again(store: Store, night: Any) -> None:
    run_id = store.log(night, judged(night, Verdict.HOLD))
    rejected = decision_tags("rejected", "ada", "2024-01-01T00:00:00+00:00", "the feed was down")
    store.tag(night, state="rejected", decision=rejected)
    assert store.tags(run_id).items() >= {STATE: "rejected", **rejected}.items()
    assert store.log(night, judged(night, Verdict.HOLD)) == run_id
    tags = store.tags(run_id)
    assert tags[STATE] == "held"
    assert not tags.keys() & rejected.keys()


def test_a_night_without_a_run_is_not_tagged(store: Store, night: Any) -> None:
    store.tag(night, state="published")  # not even the experiment is there
    assert store.experiment() is None
    store.log(night, run_key="11" * 32)
    store.tag(night, state="rejected")
    assert [run.data.tags[STATE] for run in store.runs()] == ["judged"]
