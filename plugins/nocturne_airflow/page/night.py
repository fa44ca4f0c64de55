"""The page of a partition: its verdict, what to do, its report and its history."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.models.dagrun import DagRun
from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from nocturne.config import Loaded, key_format, later, parse
from nocturne.drift import METRICS
from nocturne.errors import NocturneError
from nocturne.operate.remedies import Remedy, deciding, remedies
from nocturne.operate.sensitive import judgement_without_values
from nocturne.operate.status import PartitionStatus, status_of
from nocturne.operate.timeline import Event, timeline
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import mlflow_page
from nocturne.records.drift import FeatureDrift
from nocturne.records.findings import Finding
from nocturne.records.manifest import Judgement, Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef, RunPlan
from nocturne.records.quality import Expectation
from nocturne.records.texts import in_utc
from nocturne.store.record_files import read
from nocturne.store.run_folder import RunFolder
from nocturne_airflow.page.documents import is_file
from nocturne_airflow.page.gates import asking
from nocturne_airflow.page.site import html, is_paused, partition_of, pipeline

__all__ = ["NightPage", "night", "night_page"]

_WORST = 8
_FAILED = 20
_RUNS = 200
"""The runs of a partition are looked for among so many of a DAG's newest runs."""


def night(request: Request, dag_id: str, key: str, session: SessionDep) -> HTMLResponse:
    """One partition."""
    loaded = pipeline(dag_id)
    partition = partition_of(loaded, key)
    is_whole = not loaded.pipeline.input.partition
    runs = _dag_runs(dag_id, None if is_whole else key, session)
    asked = asking([dag_id], session)
    waiting = asked.pop((dag_id, partition.key), [])
    is_full = (
        not waiting and sum(map(len, asked.values())) >= loaded.pipeline.schedule.max_active_runs
    )
    return html(
        request,
        "night.html",
        loaded=loaded,
        key=key,
        whole=is_whole,
        day=dt.datetime.now(dt.UTC).date().isoformat() if is_whole else key,
        night=night_page(loaded, partition),
        metrics=METRICS,
        runs=runs[:10],
        waiting=waiting,
        behind=sorted(other for _, other in asked) if is_full else [],
        paused=is_paused(dag_id, session),
        beside=None if is_whole else _beside(loaded, key),
    )


def _beside(loaded: Loaded, key: str) -> tuple[str | None, str | None]:
    """The keys of the partitions before and after."""
    names = loaded.pipeline.input.partition
    moments = (later(names, parse(names, key), n) for n in (-1, 1))
    before, after = (m.strftime(key_format(names)) if m else None for m in moments)
    return before, after


def _dag_runs(dag_id: str, key: str | None, session: Session) -> list[Any]:
    """The partition's runs, newest first. A manual run names it by its key or by its day.

    Args:
        key: None for a table that is scored as a whole: every run belongs to it.
    """
    newest_runs = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(_RUNS)
    )
    return [
        run
        for run in newest_runs
        if key is None or key in (run.partition_key, dict(run.conf or {}).get("day"))
    ]


@dataclass(frozen=True)
class NightPage:
    """A partition: its status, the last judgement, and every manifest that was in force.

    ``restorable``: ids of earlier manifests whose files are kept, so that a rollback is possible.
    ``events``: what happened, the latest first. ``model``: that of the run. ``remedies``: what to
    do, the usual first.
    """

    status: PartitionStatus
    run: str | None = None
    judgement: Judgement | None = None
    manifests: list[Manifest] = field(default_factory=list)
    restorable: frozenset[str] = frozenset()
    mlflow: str | None = None
    has_report: bool = False
    has_docs: bool = False
    damaged: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)
    model: ModelRef | None = None
    remedies: list[Remedy] = field(default_factory=list)

    @property
    def findings(self) -> list[tuple[Finding, bool]]:
        """The findings of the judgement, each with whether it decided the verdict; these first.

        What a person wanted comes before all. None if a later run could not be planned.
        """
        unfinished = self.status.unfinished
        if self.judgement is None or (unfinished is not None and not unfinished.run_key):
            return []
        decided = deciding(self.status, self.judgement)
        decides = {finding: finding in decided for finding in self.judgement.findings}
        return sorted(decides.items(), key=lambda item: (not item[1], item[0].subject != "person"))

    @property
    def why(self) -> str:
        """Why it can't be read or is not published, if the findings do not say it; else ""."""
        status = self.status
        if status.problem or status.unfinished is None:
            return status.problem
        if status.state != "held":
            return status.message
        if status.unpublishable is not None:
            return str(status.unpublishable)
        return "" if deciding(status, self.judgement) else status.message

    @property
    def worst(self) -> tuple[FeatureDrift, ...]:
        """The columns that drifted most."""
        return self.judgement.drift.columns[:_WORST] if self.judgement else ()

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        return self.judgement.quality.expectations if self.judgement else ()

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return self.judgement.quality.failed[:_FAILED] if self.judgement else ()

    @property
    def volume(self) -> str:
        """How the rows compare with earlier nights, and when they arrived."""
        volume = self.judgement.volume if self.judgement else None
        if volume is None:
            return ""
        parts = [volume.in_words] if volume.in_words else []
        if volume.arrived is not None:
            parts.append(f"the input arrived {in_utc(volume.arrived)}")
        return "; ".join(parts)

    @property
    def rows_per_second(self) -> float | None:
        seconds = self.judgement.seconds.get("score", 0) if self.judgement else 0
        return self.judgement.rows_in / seconds if self.judgement and seconds else None


def night_page(loaded: Loaded, partition: Partition) -> NightPage:
    """The page of a partition; a file that can't be read is left out and listed as damaged."""
    places = Places.of(loaded)
    output = places.output(partition)
    status = status_of(loaded, partition, places)
    manifests, broken = output.state.known_lineage(status.manifest)
    damaged = [str(broken)] if broken else []
    restorable = [m for m in manifests[1:] if output.kept(m) is not None]
    ids = frozenset(m.id for m in restorable)
    run = status.run
    if run is None:
        return NightPage(
            status,
            manifests=manifests,
            restorable=ids,
            damaged=tuple(damaged),
            remedies=remedies(loaded, status),
        )
    judgement, mlflow_run = None, None
    try:
        if run.is_judged:
            judgement = judgement_without_values(run.judgement(), status.sensitive)
            mlflow_run = run.mlflow_run_id()
    except NocturneError as error:
        damaged.append(str(error))
    events, unread = timeline(output.state, status, manifests)
    damaged += [problem for problem in unread if problem not in damaged]
    return NightPage(
        status,
        run=run.name,
        judgement=judgement,
        manifests=manifests,
        restorable=ids,
        mlflow=_mlflow(loaded, mlflow_run),
        has_report=is_file(run.report),
        has_docs=is_file(run.docs_page),
        damaged=tuple(damaged),
        events=events,
        model=_model(run),
        remedies=remedies(
            loaded, status, judgement, next(iter(restorable), None), accepted=_accepted(events)
        ),
    )


def _accepted(events: list[Event]) -> bool:
    """Whether somebody accepted the drift of what is in force now."""
    line = [event for event in events if event.manifest]
    return bool(line) and any(
        event.what == "drift accepted" and event.manifest == line[0].manifest for event in line
    )


def _model(run: RunFolder) -> ModelRef | None:
    """The model of a run; None if its plan can't be read."""
    with suppress(NocturneError):
        return read(RunPlan, run.plan_file).model
    return None


def _mlflow(loaded: Loaded, run_id: str | None) -> str | None:
    try:
        return mlflow_page(loaded, run_id)
    except NocturneError:
        return None
