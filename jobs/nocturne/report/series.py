"""Runs of MLflow with a point for each night, one run for each model version.

MLflow's metrics are append-only, so a night that changed would get a second point. Then the run is
created again, and the old run goes to the trash.

A tag for each night says which points the run has. Before the points are logged, its value is
"begun"; then it is the id of what was logged. The run is also created again if a night is only
begun, since it may have points; if the run is not FINISHED; and if it belongs to another model but
still has the night.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nocturne.report.night import step_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

__all__ = ["Entry", "log_series", "points"]

_BATCH, _TAGS = 900, 90  # MLflow takes at most a thousand points or a hundred tags at once
_MODEL = ("nocturne.model", "nocturne.model_version")


@dataclass(frozen=True)
class Entry:
    """What a model version has of a night.

    Attributes:
        key: the night's partition.
        id: of what was measured: another id is another point.
        model: name and version.
        values: returns the numbers by name.
        model_id: of the logged model in MLflow, if it is known.
    """

    key: str
    id: str
    model: tuple[str, str]
    values: Callable[[], Mapping[str, float]]
    model_id: str | None = None


def log_series(
    client: MlflowClient,
    experiment: str,
    kind: str,
    pipeline: str,
    night: Sequence[Entry],
    everything: Callable[[], Iterable[Entry]],
) -> list[str]:
    """Put a night into the runs of its models only; returns the ids of these runs.

    Args:
        experiment: its id.
        kind: of the series; the tag ``nocturne.<kind>`` of its runs is the pipeline.
        night: its entries, one for each model that has part in it; at least one.
        everything: returns the entries of all nights; called only if a run must be created again.
    """
    names = (f"nocturne.{kind}", *_MODEL)
    runs = client.search_runs([experiment], f"tags.`{names[0]}` = '{pipeline}'")
    of: dict[tuple[str, ...], list[MlflowRun]] = {}
    for run in runs:
        of.setdefault(tuple(run.data.tags.get(name, "") for name in names), []).append(run)

    def recreated(identity: tuple[str, ...], old: Iterable[MlflowRun]) -> str:
        tags = dict(zip(names, identity, strict=True))
        title = f"{kind} {identity[1]} version {identity[2]}"
        # Created before the nights are listed: who logs one later finds it unfinished. So it stays
        # if this fails, and the next night makes all of it again.
        run_id = str(client.create_run(experiment, tags=tags, run_name=title).info.run_id)
        found = (*night, *everything())
        by_key = {entry.key: entry for entry in found if entry.model == identity[1:]}
        _put(client, run_id, list(by_key.values()))
        client.set_terminated(run_id, "FINISHED")
        for gone in [run.info.run_id for run in old] + [run_id] * (not by_key):
            client.delete_run(gone)
        return run_id

    ids = []
    identity: tuple[str, ...]
    for entry in night:
        identity = (pipeline, *entry.model)
        mine = of.pop(identity, [])
        ids.append(_added(client, mine, entry) or recreated(identity, mine))
    for identity, others in of.items():
        if any(_tag(night[0].key) in run.data.tags for run in others):
            recreated(identity, others)
    return ids


def _added(client: MlflowClient, runs: Sequence[MlflowRun], entry: Entry) -> str | None:
    """Adds the entry to the run and returns its id; None if the run must be created again."""
    if len(runs) != 1 or runs[0].info.status != "FINISHED":
        return None
    run_id, tag = str(runs[0].info.run_id), _tag(entry.key)
    logged = runs[0].data.tags.get(tag)
    if logged is None:
        client.set_tag(run_id, tag, "begun")
        _put(client, run_id, [entry])
    return run_id if logged in (None, entry.id) else None


def _tag(key: str) -> str:
    return f"nocturne.night.{key}"


def _put(client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> None:
    from mlflow.entities import RunTag

    found = [point for entry in entries for point in points(entry)]
    for first in range(0, len(found), _BATCH):
        client.log_batch(run_id, metrics=found[first : first + _BATCH])
    # Tags come after the points that they stand for.
    tags = [RunTag(_tag(entry.key), entry.id) for entry in entries]
    for first in range(0, len(tags), _TAGS):
        client.log_batch(run_id, tags=tags[first : first + _TAGS])


def points(entry: Entry) -> list[Metric]:
    """Every number as a point: at the step of the night, and the time of its midnight."""
    from mlflow.entities import Metric

    time, step = _midnight(entry.key), step_of(entry.key)
    return [
        Metric(name, float(value), time, step, model_id=entry.model_id)
        for name, value in entry.values().items()
    ]


def _midnight(key: str) -> int:
    """Milliseconds since 1970, in UTC."""
    try:
        moment = dt.datetime.fromisoformat(key).replace(tzinfo=dt.UTC)
    except ValueError:
        return 0
    return int(moment.timestamp() * 1000)
