"""Tags the MLflow run of a night with what became of it, and with what a person decided."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from nocturne import report
from nocturne.config import Loaded
from nocturne.model.tracking import briefly, without_secret
from nocturne.pipeline.runs import logged_to
from nocturne.records.manifest import Manifest
from nocturne.records.plan import RunPlan
from nocturne.report import NightState
from nocturne.store.run import Run

__all__ = ["decision_on", "tag", "tag_decision"]

log = logging.getLogger(__name__)


def decision_on(run: Run) -> dict[str, str]:
    """The tags of the decision on a held run; none if nobody has decided."""
    for what, decision in (("rejected", run.rejection()), ("approved", run.approval())):
        if decision is not None:
            return report.decision_tags(what, decision.by, decision.at, decision.why)
    return {}


def tag_decision(
    loaded: Loaded,
    night: RunPlan | Manifest,
    decision: Mapping[str, str],
    state: NightState | None = None,
) -> None:
    """As ``tag``, for a decision that a person waits for: a server that is down is soon given up.

    Args:
        decision: made by ``report.decision_tags``.
    """
    with briefly():
        tag(loaded, night, state, decision)


def tag(
    loaded: Loaded,
    night: RunPlan | Manifest,
    state: NightState | None,
    decision: Mapping[str, str],
) -> None:
    """Tag the night's run. If MLflow does not answer, a warning is logged and nothing else happens.

    Args:
        night: the plan of the run or its manifest.
        state: see ``report.tag_night``.
        decision: its tags; empty: nobody decided.
    """
    try:
        report.tag_night(night, state=state, decision=decision, **logged_to(loaded))
    except Exception as error:
        log.warning(
            "%s: %s, but its MLflow run does not say so: %s: %s",
            night.partition.key,
            decision.get("nocturne.decision", state),
            type(error).__name__,
            # What follows is advice to run the command again, which is done.
            without_secret(str(error).partition(";")[0]),
        )
