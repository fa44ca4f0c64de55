"""The monitoring run: a chart over all nights of a model version, in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from nocturne.model.tracking import connect, experiment_id, reachable
from nocturne.records.drift import MetricText
from nocturne.records.manifest import PublishedNight
from nocturne.report.night import DRIFT_RATES, metric_name
from nocturne.report.series import Entry, log_series

__all__ = ["log_to_monitoring", "night_entry"]


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
    monitored = [name for name, metric in metrics.items() if metric.monitored]
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        [run_id] = log_series(
            client,
            experiment_id(client, experiment),
            "monitoring",
            night.manifest.pipeline,
            [night_entry(night, monitored)],
            lambda: (night_entry(other, monitored) for other in published()),
        )
        return run_id


def night_entry(night: PublishedNight, metrics: Collection[str]) -> Entry:
    """Every number of the night; of drift only ``metrics``."""
    manifest = night.manifest
    model = manifest.model
    return Entry(
        night.key,
        manifest.id,
        (model.name, str(model.version)),
        lambda: _values(night, metrics),
        model.model_id,
    )


def _values(night: PublishedNight, metrics: Collection[str]) -> dict[str, float]:
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
    return values
