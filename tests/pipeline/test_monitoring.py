"""The monitoring run of a model: each night one point in one run, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from conftest import ENCODING, Small, sample
from nocturne.config import Loaded
from nocturne.contract import log_torch_model
from nocturne.model.tracking import connect, experiment_id
from nocturne.operate.decisions import roll_back
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from pipeline.conftest import DAYS, night_of, scored

MakeProject = Callable[..., Loaded]

Runs = list[tuple[str, dict[str, list[float]]]]


def _runs(root: Path) -> Runs:
    """Model version, and day -> rows, of the monitoring runs that are not in the trash."""
    client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nocturne/p")
    assert experiment is not None
    found: Runs = []
    for run in client.search_runs([experiment.experiment_id]):
        if "nocturne.monitoring" in run.data.tags:
            assert run.info.status == "FINISHED"
            rows: dict[str, list[float]] = {}
            for point in client.get_metric_history(run.info.run_id, "rows_in"):
                rows.setdefault(DAYS[point.step - 19723], []).append(point.value)
            found.append((run.data.tags["nocturne.model_version"], rows))
    return sorted(found, key=str)


def _correct(root: Path, day: str) -> None:
    """Twice the rows."""
    path = root / "data" / f"ds={day}" / "part-0.parquet"
    (path.parent / "part-1.parquet").write_bytes(path.read_bytes())


def _failing(monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[[str], bool]) -> None:
    """Has a request to MLflow fail where ``when`` says so of its arguments."""
    really = getattr(MlflowClient, name)

    def request(*args: object, **options: object) -> object:
        if when(str((args, options))):
            raise RuntimeError("MLflow went away")
        return really(*args, **options)

    monkeypatch.setattr(MlflowClient, name, request)


def test_a_night_whose_points_nothing_confirms_is_one_point_when_it_is_corrected(
    project: MakeProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = project()
    night_of(loaded, DAYS[0])
    with pytest.MonkeyPatch.context() as patch:
        for request in ("set_tag", "log_batch"):  # after the points: what says that they are there
            _failing(
                patch,
                request,
                lambda said: f"nocturne.night.{DAYS[1]}" in said and "begun" not in said,
            )
        night_of(loaded, DAYS[1])
    assert "is not in the monitoring run yet" in caplog.text
    caplog.clear()
    _correct(tmp_path, DAYS[1])
    night_of(loaded, DAYS[1])
    assert "monitoring run" not in caplog.text
    assert _runs(tmp_path) == [("1", {DAYS[0]: [600], DAYS[1]: [1200]})]


@pytest.mark.parametrize("request_", ["log_batch", "set_terminated", "delete_run"])
def test_a_run_whose_making_was_cut_short_is_made_again(
    project: MakeProject, tmp_path: Path, request_: str
) -> None:
    loaded = project()
    for day in DAYS[:2]:
        night_of(loaded, day)
    _correct(tmp_path, DAYS[0])
    run = scored(loaded, DAYS[0])
    judge_run(run)
    with pytest.MonkeyPatch.context() as patch:
        _failing(patch, request_, lambda _: True)
        publish_run(run)
    night_of(loaded, DAYS[2])
    assert _runs(tmp_path) == [("1", {DAYS[0]: [1200], DAYS[1]: [600], DAYS[2]: [600]})]


def _next_version(root: Path) -> None:
    """Version 2 of the model, alias champion."""
    client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    data = pa.concat_tables([sample(600, seed) for seed in (50, 51)])
    labels = [f"2023-12-{1 + i // 600:02d}" for i in range(len(data))]
    log_torch_model(
        Small(),
        ENCODING,
        data,
        name="small",
        partitions=labels,
        registered_model_name="small",
        alias="champion",
    )


def test_a_night_that_another_model_scored_anew_is_in_the_run_of_that_model_alone(
    project: MakeProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = project()
    for day in DAYS[:2]:
        night_of(loaded, day)
    _next_version(tmp_path)
    run = scored(loaded, DAYS[0])
    judge_run(run)
    with pytest.MonkeyPatch.context() as patch:
        _failing(patch, "delete_run", lambda _: True)
        publish_run(run)
    assert "is not in the monitoring run yet" in caplog.text
    publish_run(run)
    assert _runs(tmp_path) == [("1", {DAYS[1]: [600]}), ("2", {DAYS[0]: [600]})]
    night_of(loaded, DAYS[1])
    assert _runs(tmp_path) == [("2", {DAYS[0]: [600], DAYS[1]: [600]})]
    back = roll_back(loaded, run.plan.partition, None, "ada")
    assert back.model.version == 1
    assert _runs(tmp_path) == [("1", {DAYS[0]: [600]}), ("2", {DAYS[1]: [600]})]
