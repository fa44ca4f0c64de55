"""The monitoring run: a chart over all nights of a model version, in MLflow.

One run a pipeline and model version holds a point a night (step: days since 1970, time: the
partition's midnight). MLflow's metrics are append-only, so a night that changed would get a
second point. Then the run is made anew from the manifests, and the old one goes to the trash.

A tag a night says what is there: that its points were begun, then its manifest's id. A night that
was begun and no more may have points, so the run is made anew too; so is one that is not FINISHED.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nocturne.records import Manifest
from nocturne.report.night import metric_name, step_of
from nocturne.tracking import connect, experiment_id, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

__all__ = ["night_points", "watch"]

_BATCH = 900
_VERDICTS = {"ok": 0, "warn": 1, "hold": 2, "fail": 3}


def watch(
    manifest: Manifest,
    published: Callable[[], Iterable[Manifest]],
    *,
    tracking_uri: str,
    experiment: str,
) -> str:
    """Put a published night into the monitoring run of its model; returns the run's id.

    Args:
        manifest: the night's, in force.
        published: gives the manifests in force of all partitions; asked only if the run has to
            be made anew.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        where = experiment_id(client, experiment)
        model, tag = _identity(manifest), _tag(manifest)
        found = _found(client, where, model)
        if len(found) == 1 and found[0].info.status == "FINISHED":
            run_id, there = str(found[0].info.run_id), found[0].data.tags.get(tag)
            if there == manifest.id:
                return run_id
            if there is None:
                client.set_tag(run_id, tag, "begun")
                _add(client, run_id, manifest)
                return run_id
        return _remade(client, where, model, found, lambda: [manifest, *published()])


def _identity(manifest: Manifest) -> dict[str, str]:
    return {
        "nocturne.monitoring": manifest.pipeline,
        "nocturne.model": manifest.model.name,
        "nocturne.model_version": str(manifest.model.version),
    }


def _tag(night: Manifest) -> str:
    return f"nocturne.night.{night.partition.key}"


def _found(client: MlflowClient, where: str, model: dict[str, str]) -> list[MlflowRun]:
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in model.items())
    return list(client.search_runs([where], query))


def _remade(
    client: MlflowClient,
    where: str,
    model: dict[str, str],
    old: Iterable[MlflowRun],
    nights: Callable[[], Iterable[Manifest]],
) -> str:
    """One run of a model's nights in the place of the ``old`` ones."""
    name = f"monitoring {model['nocturne.model']} version {model['nocturne.model_version']}"
    # Before the nights are asked for: who publishes one after that finds this run unfinished.
    made = str(client.create_run(where, tags=model, run_name=name).info.run_id)
    for night in {night.partition.key: night for night in nights()}.values():
        if _identity(night) == model:
            _add(client, made, night)
    client.set_terminated(made, "FINISHED")
    for run in old:
        client.delete_run(run.info.run_id)
    return made


def _add(client: MlflowClient, run_id: str, night: Manifest) -> None:
    points = night_points(night)
    for first in range(0, len(points), _BATCH):
        client.log_batch(run_id, metrics=points[first : first + _BATCH])
    client.set_tag(run_id, _tag(night), night.id)  # last: what is said is there


def night_points(night: Manifest) -> list[Metric]:
    """Every number of the night, as points of the monitoring run."""
    from mlflow.entities import Metric

    values: dict[str, float] = {
        "rows_in": night.rows_in,
        "rows_scored": night.rows_published,
        "rows_quarantined": night.rows_quarantined,
        "verdict": _VERDICTS[night.verdict],
        "columns_drifted": sum(f.alarmed for f in night.drift),
    }
    for feature in night.drift:
        for kind in ("psi", "threshold", "wasserstein", "null_rate", "new_rate"):
            values[metric_name("drift", feature.column, kind)] = getattr(feature, kind)
    for output, summary in night.score_summary.items():
        values |= {metric_name("score", output, kind): v for kind, v in summary.items()}
    time, step = _midnight(night.partition.key), step_of(night.partition.key)
    model = night.model.model_id
    return [Metric(name, float(value), time, step, model_id=model)
            for name, value in values.items()]  # fmt: skip


def _midnight(key: str) -> int:
    """Milliseconds since 1970, in UTC."""
    try:
        moment = dt.datetime.fromisoformat(key).replace(tzinfo=dt.UTC)
    except ValueError:
        return 0
    return int(moment.timestamp() * 1000)
