"""What became of a night, and what a person decided on it, as tags of its MLflow run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

from nocturne.model.tracking import connect, reachable
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Manifest
from nocturne.records.plan import RunPlan
from nocturne.report.formatting import cut

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

__all__ = [
    "DECISION",
    "STATE",
    "NightState",
    "decision_tags",
    "runs_of_night",
    "state_of",
    "supersede",
    "tag_night",
]

NightState = Literal["judged", "held", "failed", "rejected", "published", "superseded"]
"""``judged``: it may be published, and is not yet. ``superseded``: a later run of the night was
judged or published instead, or the night was rolled back."""

STATE = "nocturne.state"
_DECIDED_AT = "nocturne.decided_at"
DECISION = ("nocturne.decision", "nocturne.decided_by", _DECIDED_AT, "nocturne.why")
"""The tags of the last decision of a person."""

_TEXT = 5000


def state_of(verdict: Verdict) -> NightState:
    """The state of a night that was just judged."""
    if verdict.publishes:
        return "judged"
    return "held" if verdict == Verdict.HOLD else "failed"


def decision_tags(what: str, by: str, at: str, why: str = "") -> dict[str, str]:
    """The tags of a decision.

    Args:
        what: approved, rejected, rolled back, drift accepted or adopted.
        at: ISO 8601, in UTC.
    """
    return dict(zip(DECISION, (what, by, at, cut(why, _TEXT)), strict=True))


def tag_night(
    night: RunPlan | Manifest,
    *,
    state: NightState | None = None,
    decision: Mapping[str, str] | None = None,
    tracking_uri: str,
    experiment: str,
) -> None:
    """Tag the MLflow run of a night; if it has none, nothing is tagged.

    Args:
        night: the plan of the run or its manifest.
        state: its new state; if it is published, other runs of the night are superseded. None: the
            state does not change.
        decision: the tags of a decision. A later one that is there stays.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return
        runs = runs_of_night(client, str(found.experiment_id), night)
        for run in runs:
            if run.data.tags.get("nocturne.run_key") == night.run_key:
                tags = dict(decision or {})
                if run.data.tags.get(_DECIDED_AT, "") > tags.get(_DECIDED_AT, ""):
                    tags = {}
                _set(client, run, tags | ({STATE: state} if state else {}))
        if state == "published":
            supersede(client, runs, night, ("judged", "held", "published", None))


def runs_of_night(
    client: MlflowClient, experiment_id: str, night: RunPlan | Manifest
) -> list[MlflowRun]:
    """All runs of the partition, the oldest first; deleted runs are not among them."""
    names = {"nocturne.pipeline": night.pipeline, "nocturne.partition": night.partition.key}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in names.items())
    order = ["attributes.start_time ASC"]
    return list(client.search_runs([experiment_id], query, order_by=order))


def supersede(
    client: MlflowClient,
    runs: Collection[MlflowRun],
    night: RunPlan | Manifest,
    states: Collection[str | None],
) -> None:
    """Mark the other runs of the night that have one of the ``states`` as superseded."""
    for run in runs:
        tags = run.data.tags
        if tags.get("nocturne.run_key") != night.run_key and tags.get(STATE) in states:
            _set(client, run, {STATE: "superseded"})


def _set(client: MlflowClient, run: MlflowRun, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    changed = [
        RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value
    ]
    if changed:
        client.log_batch(run.info.run_id, tags=changed)
