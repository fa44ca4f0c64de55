"""Runs of MLflow with a point for each night, one run for each model version.

MLflow's metrics are append-only, so a night that changed would get a second point. Then the run is
created again, and the old run goes to the trash.

A tag for each night, the id of what was logged, says which points the run has. Who adds a night
says so before, by a tag of its own that is removed afterwards. So of two that add the same night at
once, one sees the other's tag, as does who comes after one that was killed; then the run is created
again. It is also created again if it is not FINISHED, or if it belongs to another model but still
has the night.

Who creates it lists the nights after that. So a run that another process has created meanwhile has
all that this one knows of, and of two that are FINISHED either may go.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

    def runs_of() -> defaultdict[tuple[str, ...], list[MlflowRun]]:
        found: defaultdict[tuple[str, ...], list[MlflowRun]] = defaultdict(list)
        for run in client.search_runs([experiment], f"tags.`{names[0]}` = '{pipeline}'"):
            found[tuple(run.data.tags.get(name, "") for name in names)].append(run)
        return found

    of = runs_of()

    def recreated(identity: tuple[str, ...], old: Iterable[MlflowRun]) -> str:
        tags = dict(zip(names, identity, strict=True))
        title = f"{kind} {identity[1]} version {identity[2]}"
        # Created before the nights are listed: who logs one later finds it unfinished. So it stays
        # if this fails, and the next night makes all of it again.
        run_id = str(client.create_run(experiment, tags=tags, run_name=title).info.run_id)
        found = (*night, *everything())
        by_key = {entry.key: entry for entry in found if entry.model == identity[1:]}

        def fill() -> None:
            _put(client, run_id, list(by_key.values()))
            client.set_terminated(run_id, "FINISHED")

        if not _unless_deleted(client, run_id, fill):
            return run_id  # another process has begun after this one, and knows all of it
        gone = [run.info.run_id for run in old] + [run_id] * (not by_key)
        now = [run for run in runs_of()[identity] if run.info.status == "FINISHED"]
        others = {run.info.run_id for run in now} - {*gone}
        for other in {*gone, *(others - {max(others, default="")})}:
            _unless_deleted(client, other, partial(client.delete_run, other))
        return max(others, default=run_id)

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
    if len(runs) != 1:
        return None
    run_id = str(runs[0].info.run_id)
    if (logged := _logged(runs[0], entry)) is not None:
        return run_id if logged == entry.id else None
    mine, added = f"{_adding(entry)}{os.urandom(8).hex()}", False

    def add() -> None:
        nonlocal added
        client.set_tag(run_id, mine, "")
        if _logged(client.get_run(run_id), entry, mine) is not None:
            return
        _put(client, run_id, [entry])
        client.delete_tag(run_id, mine)
        added = True

    return run_id if _unless_deleted(client, run_id, add) and added else None


def _logged(run: MlflowRun, entry: Entry, mine: str = "") -> str | None:
    """The id of what a run has of a night; None if it has nothing, "" if that is not known.

    Args:
        mine: the tag of this process, which is adding to the run.
    """
    tags: dict[str, str] = run.data.tags
    others = [name for name in tags if name.startswith(_adding(entry)) and name != mine]
    if others or run.info.status != "FINISHED" or run.info.lifecycle_stage == "deleted":
        return ""
    return tags.get(_tag(entry.key))


def _adding(entry: Entry) -> str:
    """What the tags of those begin with who add the entry's night to a run."""
    return f"nocturne.adding.{entry.key}."


def _unless_deleted(client: MlflowClient, run_id: str, act: Callable[[], None]) -> bool:
    """Act on a run; False if another process deletes it meanwhile, and that fails."""
    try:
        act()
    except Exception:
        if client.get_run(run_id).info.lifecycle_stage != "deleted":
            raise
        return False
    return True


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
