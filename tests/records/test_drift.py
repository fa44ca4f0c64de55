"""A column's drift as it is stored: metrics by name, read too where each had a field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nocturne.codec import dump, load
from nocturne.errors import StateError
from nocturne.records.drift import FeatureDrift, from_flat
from nocturne.records.manifest import Judgement

FLAT: dict[str, Any] = {
    "column": "temp",
    "kind": "numeric",
    "is_output": False,
    "psi": 0.4,
    "js": 0.2,
    "threshold": 0.1,
    "alarmed": True,
    "null_rate": 0.0,
    "baseline_null_rate": 0.0,
    "new_rate": 0.0,
    "new_values": [],
    "counts": [1, 2],
    "wasserstein": 0.5,
    "ks": 0.3,
    "linf": 0.25,
}
METRICS = {"psi": 0.4, "js": 0.2, "wasserstein": 0.5, "ks": 0.3, "linf": 0.25}


def test_flat_fields_become_metrics_by_name_and_the_rest_stays() -> None:
    before = dict(FLAT)
    fields = from_flat(FLAT)
    assert fields["metrics"] == METRICS
    assert fields == {k: v for k, v in before.items() if k not in METRICS} | {"metrics": METRICS}
    assert before == FLAT


def test_a_metric_that_an_early_night_did_not_measure_is_not_made_up() -> None:
    early = {k: v for k, v in FLAT.items() if k not in ("wasserstein", "ks", "linf")}
    assert from_flat(early)["metrics"] == {"psi": 0.4, "js": 0.2}


def test_a_record_is_written_by_name_and_read_again() -> None:
    feature = load(FeatureDrift, json.dumps(from_flat(FLAT)))
    assert (feature.psi, feature.metrics, feature.excess) == (0.4, METRICS, 4.0)
    assert load(FeatureDrift, dump(feature)) == feature
    assert json.loads(dump(feature))["metrics"] == METRICS


def test_a_judgement_of_before_opens_with_its_metrics_by_name() -> None:
    before = {
        "verdict": "ok",
        "reasons": [],
        "rows_in": 1,
        "rows_out": 1,
        "quarantined": 0,
        "quality": {"expectations": []},
        "drift": {
            "columns": [FLAT],
            "segments": [{"name": "origin=JFK", "rows": 1, "columns": [FLAT]}],
        },
        "profile": {"rows": 1, "columns": {}},
    }
    drift = load(Judgement, json.dumps(before)).drift
    assert [column.metrics for column in drift.columns] == [METRICS]
    assert [column.metrics for column in drift.segments[0].columns] == [METRICS]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({**from_flat(FLAT), "metrics": {"js": 0.2}}, "metrics: got js, expected psi too"),
        ({**from_flat(FLAT), "metrics": {"psi": "many"}}, "metrics.psi"),
        ({**from_flat(FLAT), "psi": 0.4}, "psi"),
        (FLAT, "metrics: Field required"),
    ],
)
def test_a_record_whose_metrics_are_wrong_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(StateError, match=said):
        load(FeatureDrift, json.dumps(wrong))
