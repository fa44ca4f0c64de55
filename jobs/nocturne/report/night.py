"""Logs the night as an MLflow run, which is found by its run key: logging twice adds nothing.

MLflow's metrics are append-only: it keeps an identical point once and adds a changed point to the
old one, and does not define which is "latest". So if a night was already logged, its run is
completed if its numbers agree, and replaced by a new run if they do not. Timings differ each
time; they stay as they were measured first.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from nocturne.errors import StateError
from nocturne.model.tracking import connect, reachable
from nocturne.records.arms import Served
from nocturne.records.manifest import Judgement
from nocturne.records.plan import RunPlan
from nocturne.records.profile import Profile
from nocturne.records.volume import Volume
from nocturne.report.days import output_names
from nocturne.report.description import describe_night, description_tags
from nocturne.report.experiment import experiment_of_nights
from nocturne.report.formatting import cut
from nocturne.report.night_state import (
    DECISION,
    STATE,
    NightState,
    runs_of_night,
    state_of,
    supersede,
)
from nocturne.report.overview import rows_per_second
from nocturne.report.summary import score_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

__all__ = ["log_night", "metric_name", "metrics", "step_of", "tags"]

DRIFT_RATES = ("threshold", "null_rate", "new_rate")
"""Numbers of a column's drift that are logged in addition to its metrics."""

_NAME = 250
_BATCH = 900  # MLflow takes at most a thousand items at once; this leaves room for the tags
_TAG = 5000


def log_night(
    plan: RunPlan,
    judgement: Judgement,
    profile: Profile,
    artifacts: Sequence[Path],
    *,
    state: NightState | None = None,
    decision: Mapping[str, str] | None = None,
    arms: Served | None = None,
    compared: Mapping[str, float | None] = MappingProxyType({}),
    tracking_uri: str,
    experiment: str,
) -> str:
    """Log the night to ``experiment``; returns the id of its MLflow run.

    Args:
        profile: the profile of the whole night.
        artifacts: files and folders; each is stored under its own name.
        state: what became of it. Default: it was just judged, so that decisions on it are void, and
            other runs of the night that are not published are superseded.
        decision: the tags of the decision on it (``decision_tags``).
        arms: how its keys were shared between models.
        compared: of a challenger, the figures of its comparison with the champion.

    Raises:
        StateError: an artifact is missing, or two have the same name.
        RegistryUnavailable: the MLflow server did not answer.
    """
    _check(artifacts)
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        mlflow_experiment = experiment_of_nights(client, experiment, plan.pipeline, plan.page)
        numbers = metrics(plan, judgement, profile) | arm_metrics(arms)
        numbers |= {
            metric_name("compare", name): value
            for name, value in compared.items()
            if value is not None and "per_million" not in name  # that differs each time
        }
        runs = runs_of_night(client, mlflow_experiment, plan)
        logged = _run_that_agrees(client, runs, plan, numbers) or _create_run(
            client, mlflow_experiment, plan
        )
        run_id = str(logged.info.run_id)
        tagged = {
            **tags(plan, judgement),
            **description_tags(
                logged.data.tags, describe_night(plan, judgement, mlflow_experiment)
            ),
            **({"nocturne.arms": cut(f"{arms.name}: {arms.told}", _TAG)} if arms else {}),
            **(decision or {}),
            STATE: state or state_of(judgement.verdict),
        }
        _log_batch(client, logged, numbers, tagged, step_of(plan.partition.key))
        if state is None:
            for name in (name for name in DECISION if name in logged.data.tags):
                client.delete_tag(run_id, name)
            supersede(client, runs, plan, ("judged", "held"))
        for path in artifacts:
            if path.is_dir():
                client.log_artifacts(run_id, str(path), path.name)
            else:
                client.log_artifact(run_id, str(path))
        if logged.info.status == "RUNNING":
            client.set_terminated(run_id, "FAILED" if judgement.verdict == "fail" else "FINISHED")
    return run_id


def metrics(plan: RunPlan, judgement: Judgement, profile: Profile) -> dict[str, float]:
    """Every number of the night by its MLflow name."""
    speed = rows_per_second(judgement)
    values = {
        "rows_in": judgement.rows_in,
        "rows_scored": judgement.rows_out,
        "rows_quarantined": judgement.quarantined,
        "expectations": len(judgement.quality.expectations),
        "expectations_failed": len(judgement.quality.failed),
        "columns_drifted": len(judgement.drift.alarmed),
        **({} if speed is None else {"rows_per_second": speed}),
        **_volume(judgement.volume),
        **{metric_name("seconds", step): s for step, s in judgement.seconds.items()},
    }
    for feature in judgement.drift.columns:
        measured = feature.metrics | {rate: getattr(feature, rate) for rate in DRIFT_RATES}
        values |= {metric_name("drift", feature.column, m): v for m, v in measured.items()}
    for output, summary in score_summary(profile, output_names(plan)).items():
        values |= {metric_name("score", output, kind): v for kind, v in summary.items()}
    return {name: float(value) for name, value in values.items()}


def arm_metrics(arms: Served | None) -> dict[str, float]:
    """The numbers of the models that scored a share of the keys."""
    values = dict[str, float]()
    for arm in arms.in_it if arms else ():
        numbers = {"rows": arm.rows, "rows_failed": arm.failed, "difference": arm.difference}
        values |= {
            metric_name("arm", arm.name, name): float(value)
            for name, value in numbers.items()
            if value is not None
        }
    return values


def _volume(volume: Volume | None) -> dict[str, float]:
    """What was ordinary for its rows, and when they arrived, as far as it is known."""
    if volume is None:
        return {}
    compared = {"median": volume.median, "low": volume.low, "high": volume.high}
    values = {f"volume.{name}": v for name, v in compared.items()} if volume.reference else {}
    after = volume.seconds_after
    return values if after is None else values | {"volume.arrived_after_seconds": after}


def tags(plan: RunPlan, judgement: Judgement) -> dict[str, str]:
    """The tags by which the night can be searched."""
    return {
        **_identity(plan),
        "nocturne.model": plan.model.name,
        "nocturne.model_version": str(plan.model.version),
        "nocturne.model_sha256": plan.model.sha256,
        "nocturne.verdict": judgement.verdict,
        "nocturne.quality_verdict": judgement.verdict_of("quality"),
        "nocturne.drift_verdict": judgement.verdict_of("drift"),
        "nocturne.reasons": cut("\n".join(judgement.reasons), _TAG),
    }


def metric_name(*parts: str) -> str:
    """The parts joined with dots, in MLflow's alphabet and length.

    If that changes a part, eight digits of its hash are added, so that names stay distinct.
    """
    safe = []
    for part in parts:
        plain = re.sub(r"[^A-Za-z0-9_.:\- ]", "_", part)[: _NAME // 2]
        if plain != part:
            plain += "_" + hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:8]
        safe.append(plain)
    return ".".join(safe)


def _identity(plan: RunPlan) -> dict[str, str]:
    return {
        "nocturne.run_key": plan.run_key,
        "nocturne.pipeline": plan.pipeline,
        "nocturne.partition": plan.partition.key,
    }


def _check(artifacts: Sequence[Path]) -> None:
    for path in artifacts:
        if not path.exists():
            raise StateError(
                f"{path} does not exist, so it can't be logged to MLflow; expected the file that "
                "the step `judge` writes. Run that step again",
                path=str(path),
            )
    names = [path.name for path in artifacts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise StateError(
            f"two artifacts are named {repeated[0]!r}, and one would replace the other in MLflow; "
            "rename one of them",
            name=repeated[0],
        )


def _run_that_agrees(
    client: MlflowClient, runs: Sequence[MlflowRun], plan: RunPlan, numbers: Mapping[str, float]
) -> MlflowRun | None:
    """The run of this plan if its numbers agree; a run whose numbers differ goes to the trash.

    Args:
        runs: all runs of the night.
    """
    for run in (run for run in runs if run.data.tags.get("nocturne.run_key") == plan.run_key):
        logged = run.data.metrics
        compared = [name for name in logged if name in numbers and not _is_timing(name)]
        if all(math.isclose(numbers[name], logged[name], rel_tol=1e-12) for name in compared):
            return run
        client.delete_run(run.info.run_id)
    return None


def _is_timing(name: str) -> bool:
    return name == "rows_per_second" or name.startswith("seconds.")


def _create_run(client: MlflowClient, mlflow_experiment: str, plan: RunPlan) -> MlflowRun:
    return client.create_run(
        mlflow_experiment,
        start_time=_started(plan),
        tags=_identity(plan),
        run_name=plan.partition.key,
    )


def _started(plan: RunPlan) -> int:
    """When the run was prepared, in milliseconds, so that MLflow shows how long it took."""
    try:
        return int(dt.datetime.fromisoformat(plan.created).timestamp() * 1000)
    except ValueError:
        return int(time.time() * 1000)


def _log_batch(
    client: MlflowClient,
    logged: MlflowRun,
    numbers: Mapping[str, float],
    tagged: Mapping[str, str],
    step: int,
) -> None:
    """Logs everything in one request, unless there are very many numbers."""
    from mlflow.entities import Metric, RunTag

    points = [
        Metric(name, value, logged.info.start_time, step)
        for name, value in numbers.items()
        if name not in logged.data.metrics
    ]
    run_tags = [RunTag(name, value) for name, value in tagged.items()]
    for first in range(0, max(1, len(points)), _BATCH):
        batch = points[first : first + _BATCH]
        client.log_batch(logged.info.run_id, metrics=batch, tags=() if first else run_tags)


def step_of(key: str) -> int:
    """Days (or hours, for hourly partitions) since 1970, so that nights line up on an axis."""
    try:
        moment = dt.datetime.fromisoformat(key).replace(tzinfo=dt.UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) // (3600 if "T" in key else 86_400)
