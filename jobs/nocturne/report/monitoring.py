"""The monitoring run: a chart over all nights of a model version, in MLflow.

One run a pipeline and model version holds a point a night (step: days since 1970, time: the
partition's midnight). MLflow's metrics are append-only, so a night that changed would get a
second point. Then the run is made anew from the manifests, and the old one goes to the trash.
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
        found = _found(client, where, manifest)
        tag = f"nocturne.night.{manifest.partition.key}"
        if found is not None and found.data.tags.get(tag) == manifest.id:
            return str(found.info.run_id)
        if found is not None and tag not in found.data.tags:
            _add(client, found, [manifest])
            return str(found.info.run_id)
        nights = [manifest] if found is None else []
        nights += [m for m in published() if _belongs(m, manifest)]
        made = _created(client, where, manifest)
        _add(client, made, {m.partition.key: m for m in nights}.values())
        if found is not None:
            client.delete_run(found.info.run_id)
        return str(made.info.run_id)


def _belongs(one: Manifest, other: Manifest) -> bool:
    return (one.model.name, one.model.version) == (other.model.name, other.model.version)


def _identity(manifest: Manifest) -> dict[str, str]:
    return {
        "nocturne.monitoring": manifest.pipeline,
        "nocturne.model": manifest.model.name,
        "nocturne.model_version": str(manifest.model.version),
    }


def _found(client: MlflowClient, where: str, manifest: Manifest) -> MlflowRun | None:
    wanted = _identity(manifest).items()
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted)
    return next(iter(client.search_runs([where], query, max_results=1)), None)


def _created(client: MlflowClient, where: str, manifest: Manifest) -> MlflowRun:
    name = f"monitoring {manifest.model.name} version {manifest.model.version}"
    made = client.create_run(where, tags=_identity(manifest), run_name=name)
    client.set_terminated(made.info.run_id, "FINISHED")
    return made


def _add(client: MlflowClient, run: MlflowRun, nights: Iterable[Manifest]) -> None:
    from mlflow.entities import RunTag

    for night in nights:
        points = night_points(night)
        for first in range(0, len(points), _BATCH):
            client.log_batch(run.info.run_id, metrics=points[first : first + _BATCH])
        tag = RunTag(f"nocturne.night.{night.partition.key}", night.id)
        client.log_batch(run.info.run_id, tags=[tag])  # last: what is said is there


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
