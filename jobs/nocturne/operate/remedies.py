"""What a person can do about a night: the usual way first, each with its command."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from nocturne.config import Loaded
from nocturne.operate.decisions import alarms
from nocturne.operate.status import PartitionStatus
from nocturne.records.findings import Finding, Verdict
from nocturne.records.manifest import Judgement, Manifest

__all__ = ["Remedy", "deciding", "remedies"]


@dataclass(frozen=True)
class Remedy:
    """One way to go on with a night.

    Attributes:
        action: the action of the pipeline's DAG that does it; ``rows``: to look at the quarantined
            rows; "" if only the command line can.
        label: what a button says.
        why: when it is right, and what it does.
        command: the same on the command line.
        to: the id of the manifest that a rollback puts in force.
        run: the key of the run that is approved or rejected.
    """

    action: str
    label: str
    why: str
    command: str
    to: str = ""
    run: str = ""


def deciding(status: PartitionStatus, judgement: Judgement | None) -> list[Finding]:
    """The findings by which a night is where it is; what a person wanted comes first.

    None if it failed otherwise than by its verdict: then its own error says why.
    """
    if judgement is None or judgement.verdict == Verdict.OK:
        return []
    if status.state == "failed" and judgement.verdict != Verdict.FAIL:
        return []
    decided = [f for f in judgement.findings if f.verdict == judgement.verdict]
    return sorted(decided, key=lambda finding: finding.subject != "person")


def remedies(
    loaded: Loaded,
    status: PartitionStatus,
    judgement: Judgement | None = None,
    restorable: Manifest | None = None,
    *,
    accepted: bool = False,
) -> list[Remedy]:
    """The ways to go on with a partition, the usual one first; empty while it runs.

    Args:
        judgement: that of the last run, if it was judged.
        restorable: the newest manifest that could be put in force again.
        accepted: whether a person has accepted the drift and the rows of the night already.
    """
    whole = not loaded.pipeline.input.partition  # then every date is the same
    date = dt.date.today().isoformat() if whole else status.key
    made = _Remedies(loaded.pipeline.name, date)
    if status.state == "running":
        return []
    if status.is_foreign:
        return [made.adopt(), made.score("Only if nobody else's rows are there.")]
    if status.problem:
        return [made.verify(), made.score("If there is no copy: everything is scored anew.")]
    rules = [finding.rule for finding in deciding(status, judgement)]
    if status.state == "held":
        return [*made.for_held(rules)]
    if status.state in ("failed", "rejected"):
        return [*made.for_unpublished(rules, status)]
    if status.state == "published":
        return [*made.for_published(judgement, restorable, accepted)]
    return [made.score("Nobody has scored it yet.")]


class _Remedies:
    """Makes the remedies of one night."""

    def __init__(self, pipeline: str, date: str) -> None:
        self._of = f"{shlex.quote(pipeline)} --date {shlex.quote(date)}"

    def _made(self, action: str, label: str, why: str, options: str = "") -> Remedy:
        return Remedy(action, label, why, f"nocturne {action} {self._of}{options}")

    def for_held(self, rules: list[str]) -> Iterator[Remedy]:
        """By the rule that holds it."""
        first = rules[0] if rules else ""
        approve = self._made(
            "approve", "Approve", "The scores are right all the same: publish exactly these."
        )
        if first.startswith("quality.quarantined"):
            yield self.rows("See which rows could not be scored, and why.")
        if first.startswith("quality."):
            wrong = "The input is wrong: mend it, then score it again."
            partial = "The input was not complete: once it is, score it again."
            yield self.score(partial if first == "quality.volume" else wrong, "Score again")
            if first == "quality.expectations":
                yield self.judge("A suite asks for too much: correct it, then judge it again.")
            yield approve
        else:
            yield approve
            yield self.judge("A threshold is too strict: change it, then judge it again.")
        yield self._made(
            "reject",
            "Reject",
            "The scores are wrong: they are not published; what is published stays.",
            " --why '...'",
        )
        if not first.startswith("quality."):
            yield self.score("The input is wrong: mend it, then score it again.", "Score again")

    def for_unpublished(self, rules: list[str], status: PartitionStatus) -> Iterator[Remedy]:
        """A night that failed, or that was rejected."""
        if status.state == "rejected":
            yield self.score("Once the input or the model is mended.", "Score again")
        else:
            yield self.score(
                "Once what it says is mended; what is scored already is kept.", "Score again"
            )
        if rules:
            yield self.judge("If a suite or a threshold was wrong: correct it first.")

    def for_published(
        self, judgement: Judgement | None, restorable: Manifest | None, accepted: bool
    ) -> Iterator[Remedy]:
        """A night with or without a warning."""
        if judgement is not None and alarms(judgement) and not accepted:
            yield self._made(
                "accept",
                "Accept it",
                "This is how the data is now: later nights like it don't alarm.",
            )
        if judgement is not None and judgement.quarantined:
            yield self.rows("See which rows could not be scored, and why.")
            yield self._made(
                "requeue",
                "Requeue",
                "What the model lacked is there now: score these rows again, with the same model "
                "and input.",
            )
        if restorable is not None:
            version = restorable.model.version
            yield Remedy(
                "rollback",
                "Roll back",
                f"Put manifest {restorable.id} (model version {version}) in force again.",
                f"nocturne rollback {self._of} --to {restorable.id}",
                restorable.id,
            )
        yield self.score("The input or the model has changed.", "Score again")

    def score(self, why: str, label: str = "Score") -> Remedy:
        return self._made("score", label, why)

    def judge(self, why: str) -> Remedy:
        return self._made("judge", "Judge again", why, " --publish")

    def rows(self, why: str) -> Remedy:
        return self._made("rows", "Open the rows", why)

    def verify(self) -> Remedy:
        why = "Put a copy of what is damaged back; this says which files."
        return Remedy("", "", why, f"nocturne verify {self._of}")

    def adopt(self) -> Remedy:
        return self._made(
            "adopt", "Adopt", "Other programs have written rows there: take them as they are."
        )
