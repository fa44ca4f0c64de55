"""Nights in MLflow: one run each, in a real SQLite store, however often they are logged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nocturne.errors import RegistryUnavailable, StateError
from nocturne.records.findings import Verdict
from nocturne.records.partition import Partition
from nocturne.records.volume import Volume
from nocturne.report import log_night
from nocturne.report.night import metric_name, metrics
from report.mlflow_store import EXPERIMENT, Store


def test_a_night_becomes_one_run_with_its_tags_metrics_and_artifacts(
    store: Store, night: Any
) -> None:
    run_id = store.log(night, night.judgement)
    (logged,) = store.runs()
    assert logged.info.run_id == run_id
    assert logged.info.run_name == "2013-03-31"
    assert logged.info.status == "FINISHED"
    tags = logged.data.tags
    assert tags["nocturne.run_key"] == night.plan.run_key
    assert tags["nocturne.verdict"] == "warn"
    assert tags["nocturne.model_version"] == "3"
    assert tags["nocturne.pipeline"] == "flight_delay"
    values = logged.data.metrics
    assert values == pytest.approx(metrics(night.plan, night.judgement, night.profile))
    assert values["rows_in"] == 900
    assert values["rows_per_second"] == 720
    worst = night.judgement.drift.columns[0]
    assert values[f"drift.{worst.column}.psi"] == pytest.approx(worst.psi)
    assert 0 < values["score.score.mean"] < 1
    names = [artifact.path for artifact in store.client.list_artifacts(run_id)]
    assert names == ["data_docs", "report.html"]


def test_what_is_ordinary_for_the_rows_is_logged_if_it_is_known(night: Any) -> None:
    def logged(volume: Volume) -> dict[str, float]:
        judgement = replace(night.judgement, volume=volume)
        found = metrics(night.plan, judgement, night.profile)
        return {name: value for name, value in found.items() if name.startswith("volume.")}

    compared = Volume(900, 2000.0, 1800, 2300, "the last 4 Sundays", seconds_after=-60)
    assert logged(compared) == {
        "volume.median": 2000,
        "volume.low": 1800,
        "volume.high": 2300,
        "volume.arrived_after_seconds": -60,
    }
    assert logged(Volume(900, note="not compared")) == {}


def test_logging_a_night_again_adds_no_run_and_no_point(store: Store, night: Any) -> None:
    first = store.log(night, night.judgement)
    ended = store.client.get_run(first).info.end_time
    assert store.log(night, night.judgement) == first
    assert len(store.runs()) == 1
    for name in metrics(night.plan, night.judgement, night.profile):
        assert len(store.client.get_metric_history(first, name)) == 1
    assert store.client.get_run(first).info.end_time == ended


def test_timings_of_a_second_judgement_do_not_make_a_new_run(store: Store, night: Any) -> None:
    first = store.log(night, night.judgement)
    slower = replace(night.judgement, seconds={"score": 2.5})
    assert store.log(night, slower) == first
    assert store.client.get_run(first).data.metrics["rows_per_second"] == 720


def test_a_run_that_was_cut_off_is_completed(store: Store, night: Any) -> None:
    whole = store.log(night, night.judgement)
    wanted = store.client.get_run(whole).data
    store.client.delete_run(whole)
    experiment = store.client.get_experiment_by_name(EXPERIMENT).experiment_id
    cut = store.client.create_run(experiment, tags=wanted.tags).info.run_id
    store.client.log_metric(cut, "rows_in", wanted.metrics["rows_in"])
    assert store.log(night, night.judgement) == cut
    completed = store.client.get_run(cut)
    assert (completed.data.metrics, completed.info.status) == (wanted.metrics, "FINISHED")


def test_another_judgement_of_the_same_night_replaces_its_run(store: Store, night: Any) -> None:
    first = store.log(night, night.judgement)
    other = replace(night.judgement, quarantined=5, rows_out=895, verdict=Verdict.HOLD)
    second = store.log(night, other)
    assert second != first
    (logged,) = store.runs()
    assert logged.data.metrics["rows_quarantined"] == 5
    assert logged.data.tags["nocturne.verdict"] == "hold"
    assert store.client.get_run(first).info.lifecycle_stage == "deleted"


def test_metrics_of_others_on_the_run_are_left_alone(store: Store, night: Any) -> None:
    first = store.log(night, night.judgement)
    store.client.log_metric(first, "labels.auc", 0.7)
    assert store.log(night, night.judgement) == first
    assert store.client.get_run(first).data.metrics["labels.auc"] == 0.7


def test_two_partitions_of_equal_content_are_two_runs(store: Store, night: Any) -> None:
    store.log(night, night.judgement)
    store.log(night, night.judgement, partition=Partition("2013-04-01"))
    assert len(store.runs()) == 2


def test_nights_line_up_by_day_and_by_hour(store: Store, night: Any) -> None:
    for key, step in (("2013-03-31", 15_795), ("2013-03-31T05", 379_085), ("all", 0)):
        run_id = store.log(night, night.judgement, partition=Partition(key))
        (point,) = store.client.get_metric_history(run_id, "rows_in")
        assert point.step == step


def test_a_failed_night_is_a_failed_run(store: Store, night: Any) -> None:
    run_id = store.log(night, replace(night.judgement, verdict=Verdict.FAIL))
    assert store.client.get_run(run_id).info.status == "FAILED"


def test_more_metrics_than_mlflow_takes_at_once_are_all_logged(store: Store, night: Any) -> None:
    worst = night.judgement.drift.columns[0]
    many = tuple(replace(worst, column=f"feature {i}") for i in range(450))
    judgement = replace(night.judgement, drift=replace(night.judgement.drift, columns=many))
    logged = store.client.get_run(store.log(night, judgement)).data.metrics
    assert sum(name.startswith("drift.") for name in logged) == 8 * 450


@pytest.mark.parametrize(
    "column",
    ["<script>alert(1)</script>", "a/../b", "ünïcode", "x" * 1000, "", "a//b", "tab\t", "%s"],
)
def test_a_feature_may_be_named_anything(store: Store, night: Any, column: str) -> None:
    worst = replace(night.judgement.drift.columns[0], column=column)
    judgement = replace(night.judgement, drift=replace(night.judgement.drift, columns=(worst,)))
    logged = store.client.get_run(store.log(night, judgement)).data.metrics
    assert logged[metric_name("drift", column, "psi")] == pytest.approx(worst.psi)


def test_metric_names_that_had_to_change_stay_apart() -> None:
    assert metric_name("drift", "temp", "psi") == "drift.temp.psi"
    changed = {metric_name("drift", name, "psi") for name in ("a%", "a$", "a/", "a_")}
    assert len(changed) == 4
    assert all(re.fullmatch(r"[\w.:\- ]{1,250}", name, re.ASCII) for name in changed)
    assert metric_name("drift", "x" * 300, "psi") != metric_name("drift", "x" * 301, "psi")


def test_a_missing_artifact_is_refused_before_anything_is_logged(
    store: Store, night: Any, tmp_path: Path
) -> None:
    with pytest.raises(StateError, match=r"gone\.html does not exist.*judge.*Run that step again"):
        log_night(
            night.plan,
            night.judgement,
            night.profile,
            [tmp_path / "gone.html"],
            tracking_uri=store.uri,
            experiment=EXPERIMENT,
        )
    assert store.client.get_experiment_by_name(EXPERIMENT) is None


def test_two_artifacts_of_one_name_are_refused(store: Store, night: Any) -> None:
    with pytest.raises(StateError, match=r"two artifacts are named 'report\.html'"):
        log_night(
            night.plan,
            night.judgement,
            night.profile,
            [store.report, store.report],
            tracking_uri=store.uri,
            experiment=EXPERIMENT,
        )


def test_a_server_that_is_down_can_be_tried_again(
    night: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryUnavailable, match="did not answer"):
        log_night(
            night.plan,
            night.judgement,
            night.profile,
            [],
            tracking_uri="http://127.0.0.1:9",
            experiment="e",
        )
