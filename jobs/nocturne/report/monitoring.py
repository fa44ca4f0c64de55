"""The monitoring run: a chart over all nights of a model version, in MLflow.

One run a pipeline and model version holds a point a night (step: days since 1970, time: the
partition's midnight). MLflow's metrics are append-only, so a night that changed would get a
second point. Then the run is made anew from the manifests, and the old one goes to the trash.

A tag a night says what is there: that its points were begun, then its manifest's id. A night that
was begun and no more may have points, so the run is made anew too; so is one that is not FINISHED,
and that of another model which still has the night.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from nocturne.model.tracking import connect, experiment_id, reachable
from nocturne.records import PublishedNight
from nocturne.report.night import metric_name, step_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

__all__ = ["night_points", "watch"]

_BATCH, _TAGS = 900, 90  # of the thousand points or hundred tags that MLflow takes at once
_NAMES = ("nocturne.monitoring", "nocturne.model", "nocturne.model_version")


def watch(
    night: PublishedNight,
    published: Callable[[], Iterable[PublishedNight]],
    *,
    tracking_uri: str,
    experiment: str,
) -> str:
    """Put a published night into the monitoring run of its model alone; returns the run's id.

    Args:
        night: the one that was published.
        published: gives the nights in force of all partitions; asked only if the run has to
            be made anew.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        where = experiment_id(client, experiment)
        runs = client.search_runs(
            [where], f"tags.`nocturne.monitoring` = '{night.manifest.pipeline}'"
        )
        of: dict[tuple[str, ...], list[MlflowRun]] = {_identity(night): []}
        for run in runs:
            of.setdefault(tuple(run.data.tags.get(name, "") for name in _NAMES), []).append(run)

        def nights() -> list[PublishedNight]:
            return [night, *published()]

        mine = of.pop(_identity(night))
        run_id = _added(client, mine, night) or _remade(
            client, where, _identity(night), mine, nights
        )
        for model, theirs in of.items():
            if any(_tag(night) in run.data.tags for run in theirs):
                _remade(client, where, model, theirs, nights)
        return run_id


def _added(client: MlflowClient, found: Sequence[MlflowRun], night: PublishedNight) -> str | None:
    """The run that has the night; None if it has to be made anew."""
    if len(found) != 1 or found[0].info.status != "FINISHED":
        return None
    run_id, tag = str(found[0].info.run_id), _tag(night)
    there = found[0].data.tags.get(tag)
    if there is None:
        client.set_tag(run_id, tag, "begun")
        _add(client, run_id, [night])
    return run_id if there in (None, night.manifest.id) else None


def _identity(night: PublishedNight) -> tuple[str, ...]:
    """Whose run has the night: the values of the tags ``_NAMES``."""
    manifest = night.manifest
    return manifest.pipeline, manifest.model.name, str(manifest.model.version)


def _tag(night: PublishedNight) -> str:
    return f"nocturne.night.{night.key}"


def _remade(
    client: MlflowClient,
    where: str,
    model: tuple[str, ...],
    old: Iterable[MlflowRun],
    nights: Callable[[], Iterable[PublishedNight]],
) -> str:
    """One run of a model's nights in the place of the ``old`` ones."""
    name, tags = f"monitoring {model[1]} version {model[2]}", dict(zip(_NAMES, model, strict=True))
    # Before the nights are asked for: who publishes one after that finds this run unfinished.
    made = str(client.create_run(where, tags=tags, run_name=name).info.run_id)
    by_key = {night.key: night for night in nights()}
    belong = [night for night in by_key.values() if _identity(night) == model]
    _add(client, made, belong)
    client.set_terminated(made, "FINISHED")
    for gone in [run.info.run_id for run in old] + [made] * (not belong):
        client.delete_run(gone)
    return made


def _add(client: MlflowClient, run_id: str, nights: Sequence[PublishedNight]) -> None:
    from mlflow.entities import RunTag

    points = [point for night in nights for point in night_points(night)]
    for first in range(0, len(points), _BATCH):
        client.log_batch(run_id, metrics=points[first : first + _BATCH])
    tags = [
        RunTag(_tag(night), night.manifest.id) for night in nights
    ]  # last: what is said is there
    for first in range(0, len(tags), _TAGS):
        client.log_batch(run_id, tags=tags[first : first + _TAGS])


def night_points(night: PublishedNight) -> list[Metric]:
    """Every number of the night, as points of the monitoring run."""
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
        for kind in ("psi", "threshold", "wasserstein", "null_rate", "new_rate"):
            values[metric_name("drift", feature.column, kind)] = getattr(feature, kind)
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
