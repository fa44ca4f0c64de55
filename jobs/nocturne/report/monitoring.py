"""The monitoring run: a chart over all nights of a model version, in MLflow.

Each pipeline and model version has one run, with one point for each night (step: days since 1970,
time: the partition's midnight). MLflow's metrics are append-only, so a night that changed would
get a second point. Then the run is created again from the manifests, and the old run goes to the
trash.

A tag for each night says which points the run has. Before the points are logged, its value is
"begun"; then it is the manifest's id. The run is also created again if a night is only begun, since
it may have points; if the run is not FINISHED; and if it belongs to another model but still has the
night.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nocturne.model.tracking import connect, experiment_id, reachable
from nocturne.records.drift import MetricText
from nocturne.records.manifest import PublishedNight
from nocturne.report.night import DRIFT_RATES, metric_name, step_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

__all__ = ["log_to_monitoring", "night_points"]

_BATCH, _TAGS = 900, 90  # MLflow takes at most a thousand points or a hundred tags at once
_NAMES = ("nocturne.monitoring", "nocturne.model", "nocturne.model_version")
_Put = Callable[[str, Sequence[PublishedNight]], None]
"""Puts nights into the run of an id."""


def log_to_monitoring(
    night: PublishedNight,
    published: Callable[[], Iterable[PublishedNight]],
    *,
    metrics: Mapping[str, MetricText],
    tracking_uri: str,
    experiment: str,
) -> str:
    """Put a published night into the monitoring run of its model only; returns the run's id.

    Args:
        night: the published night.
        published: returns the nights in force of all partitions; called only if the run must be
            created again.
        metrics: the drift metrics by name; those that are ``monitored`` are logged.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        mlflow_experiment = experiment_id(client, experiment)
        runs = client.search_runs(
            [mlflow_experiment], f"tags.`nocturne.monitoring` = '{night.manifest.pipeline}'"
        )
        of: dict[tuple[str, ...], list[MlflowRun]] = {_identity(night): []}
        for run in runs:
            of.setdefault(tuple(run.data.tags.get(name, "") for name in _NAMES), []).append(run)

        def nights() -> list[PublishedNight]:
            return [night, *published()]

        put = partial(_put, client, [name for name, m in metrics.items() if m.monitored])
        mine = of.pop(_identity(night))
        run_id = _add_to_run(client, mine, night, put) or _recreate_run(
            client, mlflow_experiment, _identity(night), mine, nights, put
        )
        for model, others in of.items():
            if any(_tag(night) in run.data.tags for run in others):
                _recreate_run(client, mlflow_experiment, model, others, nights, put)
        return run_id


def _add_to_run(
    client: MlflowClient, runs: Sequence[MlflowRun], night: PublishedNight, put: _Put
) -> str | None:
    """Adds the night to the run and returns its id; None if the run must be created again."""
    if len(runs) != 1 or runs[0].info.status != "FINISHED":
        return None
    run_id, tag = str(runs[0].info.run_id), _tag(night)
    tag_value = runs[0].data.tags.get(tag)
    if tag_value is None:
        client.set_tag(run_id, tag, "begun")
        put(run_id, [night])
    return run_id if tag_value in (None, night.manifest.id) else None


def _identity(night: PublishedNight) -> tuple[str, ...]:
    """The values of the tags ``_NAMES`` of the run that the night belongs to."""
    manifest = night.manifest
    return manifest.pipeline, manifest.model.name, str(manifest.model.version)


def _tag(night: PublishedNight) -> str:
    return f"nocturne.night.{night.key}"


def _recreate_run(
    client: MlflowClient,
    experiment: str,
    model: tuple[str, ...],
    old: Iterable[MlflowRun],
    nights: Callable[[], Iterable[PublishedNight]],
    put: _Put,
) -> str:
    """Replaces the ``old`` runs with one run of the model's nights."""
    name, tags = f"monitoring {model[1]} version {model[2]}", dict(zip(_NAMES, model, strict=True))
    # Created before the nights are listed: a process that publishes one later finds it unfinished.
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    by_key = {night.key: night for night in nights()}
    belong = [night for night in by_key.values() if _identity(night) == model]
    put(run_id, belong)
    client.set_terminated(run_id, "FINISHED")
    for gone in [run.info.run_id for run in old] + [run_id] * (not belong):
        client.delete_run(gone)
    return run_id


def _put(
    client: MlflowClient, metrics: Collection[str], run_id: str, nights: Sequence[PublishedNight]
) -> None:
    from mlflow.entities import RunTag

    points = [point for night in nights for point in night_points(night, metrics)]
    for first in range(0, len(points), _BATCH):
        client.log_batch(run_id, metrics=points[first : first + _BATCH])
    # Tags come after the points that they stand for.
    tags = [RunTag(_tag(night), night.manifest.id) for night in nights]
    for first in range(0, len(tags), _TAGS):
        client.log_batch(run_id, tags=tags[first : first + _TAGS])


def night_points(night: PublishedNight, metrics: Collection[str]) -> list[Metric]:
    """Every number of the night as a point of the monitoring run; of drift only ``metrics``."""
    from mlflow.entities import Metric

    manifest, drift = night.manifest, night.judgement.drift
    values: dict[str, float] = {
        "rows_in": manifest.rows_in,
        "rows_scored": manifest.rows_published,
        "rows_quarantined": manifest.rows_quarantined,
        "verdict": manifest.verdict.rank,
        "columns_drifted": len(drift.alarmed),
    }
    for feature in drift.columns:
        measured = {name: v for name, v in feature.metrics.items() if name in metrics}
        measured |= {rate: getattr(feature, rate) for rate in DRIFT_RATES}
        values |= {metric_name("drift", feature.column, m): v for m, v in measured.items()}
    for output, summary in manifest.score_summary.items():
        values |= {metric_name("score", output, kind): v for kind, v in summary.items()}
    time, step = _midnight(night.key), step_of(night.key)
    model = manifest.model.model_id
    return [
        Metric(name, float(value), time, step, model_id=model) for name, value in values.items()
    ]


def _midnight(key: str) -> int:
    """Milliseconds since 1970, in UTC."""
    try:
        moment = dt.datetime.fromisoformat(key).replace(tzinfo=dt.UTC)
    except ValueError:
        return 0
    return int(moment.timestamp() * 1000)
