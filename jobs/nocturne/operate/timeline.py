"""What happened to a night: planned, judged, decided, published, replaced, in order of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nocturne.errors import NocturneError
from nocturne.operate.sensitive import judgement_without_values, text_without_values
from nocturne.operate.status import PartitionStatus
from nocturne.records.manifest import Accepted, Judgement, Manifest
from nocturne.records.plan import RunPlan
from nocturne.store.partition_state import PartitionState
from nocturne.store.record_files import find, read
from nocturne.store.run_folder import RunFolder

__all__ = ["Event", "timeline"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a night.

    Attributes:
        at: when, with the time zone.
        what: planned, judged: hold, approved, rejected, published, rolled back, adopted, drift
            accepted, held or failed.
        by: who did it, if it was a person.
        why: what belongs to it: the reasons of a verdict, a rejection, an error; a model.
        run: the name of its run directory; "" if there is none.
        manifest: the id of the manifest that it made; "" if it made none.
    """

    at: dt.datetime
    what: str
    by: str = ""
    why: str = ""
    run: str = ""
    manifest: str = ""


def timeline(
    state: PartitionState, status: PartitionStatus, line: Sequence[Manifest]
) -> tuple[list[Event], list[str]]:
    """The events of a partition, the latest first, and what can't be read.

    Args:
        line: the manifests that are and were in force.
    """
    events, damaged = list[Event](), list[str]()
    for run in state.runs():
        try:
            events += _of_run(run, status.sensitive)
        except NocturneError as error:
            damaged.append(str(error))
    for manifest in line:
        events.append(_published(manifest))
        try:
            accepted = find(Accepted, state.accepted(manifest.id))
        except NocturneError as error:
            damaged.append(str(error))
            continue
        if accepted is not None:
            events.append(
                Event(_moment(accepted.at), "drift accepted", accepted.by, manifest=manifest.id)
            )
    last = status.unfinished
    if last is not None and last.state == "failed":
        run_name = status.run.name if status.run is not None else ""
        events.append(Event(_moment(last.at), "failed", "", status.message, run_name))
    return sorted(events, key=_order, reverse=True), damaged


_STEPS = ("planned", "judged", "approved", "rejected", "published", "rolled back", "adopted")
"""As they come, since times have whole seconds."""


def _order(event: Event) -> tuple[dt.datetime, int]:
    step = event.what.partition(":")[0]
    return event.at, _STEPS.index(step) if step in _STEPS else len(_STEPS)


def _of_run(run: RunFolder, sensitive: frozenset[str]) -> Iterator[Event]:
    if not run.plan_file.is_file():
        return
    plan = read(RunPlan, run.plan_file)
    model = f"{plan.model.name} version {plan.model.version}"
    rows = f"{plan.rows:,} rows, " if plan.rows else ""
    yield Event(_moment(plan.created), "planned", plan.asked_by, f"{rows}model {model}", run.name)
    if run.is_judged:
        judgement = judgement_without_values(read(Judgement, run.judgement_file), sensitive)
        written = dt.datetime.fromtimestamp(int(run.judgement_file.stat().st_mtime), dt.UTC)
        reasons = "; ".join(judgement.reasons)
        yield Event(written, f"judged: {judgement.verdict}", judgement.by, reasons, run.name)
    for what, decision in (("approved", run.approval()), ("rejected", run.rejection())):
        if decision is not None:
            why = text_without_values(decision.why, sensitive)
            yield Event(_moment(decision.at), what, decision.by, why, run.name)


def _published(manifest: Manifest) -> Event:
    what = "published"
    if manifest.restores:
        what = "rolled back"
    elif manifest.adopted:
        what = "adopted"
    why = f"{manifest.rows_published:,} rows, model version {manifest.model.version}"
    if manifest.restores:
        why += f", as manifest {manifest.restores} had them"
    by = manifest.approved_by or ""
    at, run = _moment(manifest.published), manifest.run_key[:16]
    return Event(at, what, by, why, run, manifest.id)


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
