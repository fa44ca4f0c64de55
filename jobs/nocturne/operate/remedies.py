"""What a person can do about a night: the usual way first, each with its command."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nocturne.config import Loaded, key_format, later, parse
from nocturne.errors import Superseded
from nocturne.operate.decisions import alarms
from nocturne.operate.status import PartitionStatus
from nocturne.records.findings import Finding, Verdict
from nocturne.records.manifest import Judgement, Manifest

__all__ = ["Remedy", "deciding", "remedies", "scoring"]


@dataclass(frozen=True)
class Remedy:
    """One way to go on with a night.

    Attributes:
        action: the action of the pipeline's DAG that does it; ``rows``: to look at the quarantined
            rows; ``range``: to score several nights; "" if only the command line can.
        label: what a button says.
        why: when it is right, and what it does.
        command: the same on the command line.
        to: the id of the manifest that a rollback puts in force.
        run: the run whose held scores are approved or rejected, by the name of its directory.
        first, last: the keys of the nights of a range.
    """

    action: str
    label: str
    why: str
    command: str
    to: str = ""
    run: str = ""
    first: str = ""
    last: str = ""


def deciding(status: PartitionStatus, judgement: Judgement | None) -> list[Finding]:
    """The findings by which a night is where it is; what a person wanted comes first.

    None if it is there otherwise than by its verdict: it failed with an error of its own, or a
    held night was judged anew and may be published now.
    """
    if judgement is None or judgement.verdict == Verdict.OK:
        return []
    if status.state == "failed" and judgement.verdict != Verdict.FAIL:
        return []
    if status.state == "held" and judgement.verdict.publishes:
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
        judgement: that of the last run, if it was judged and can be read.
        restorable: the newest manifest that could be put in force again.
        accepted: whether a person has accepted the drift and the rows of the night already.
    """
    whole = not loaded.pipeline.input.partition  # then every date is the same
    date = dt.date.today().isoformat() if whole else status.key
    made = _Remedies(loaded.pipeline.name, date, status)
    if status.state == "running":
        return []
    if status.problem:
        return [*made.for_problem()]
    if status.state == "held":
        return [*made.for_held(judgement)]
    if status.state in ("failed", "rejected"):
        return [*made.for_unpublished(judgement)]
    if status.state == "published":
        return [*made.for_published(judgement, restorable, accepted)]
    return [made.score("Nobody has scored it yet.")]


def scoring(loaded: Loaded, keys: Sequence[str]) -> list[Remedy]:
    """The ways to score partitions, oldest first; nothing between them is scored."""
    stretches = _stretches(loaded.pipeline.input.partition, keys)
    command = f"nocturne score {shlex.quote(loaded.pipeline.name)} --date"
    made = list[Remedy]()
    for first, last in stretches:
        to = f" --to {last}" if last != first else ""
        label = f"Score {first}" + (f" to {last}" if to else "")
        why = "Nobody has scored them yet."
        made.append(Remedy("range", label, why, f"{command} {first}{to}", first=first, last=last))
    return made


def _stretches(names: Mapping[str, str], keys: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last key of each stretch of keys without gaps."""
    found = list[tuple[str, str]]()
    for key in keys:
        before = later(names, parse(names, key), -1)
        if found and before is not None and found[-1][1] == before.strftime(key_format(names)):
            found[-1] = found[-1][0], key
        else:
            found.append((key, key))
    return found


class _Remedies:
    """Makes the remedies of one night."""

    def __init__(self, pipeline: str, date: str, status: PartitionStatus) -> None:
        self._of, self._status = f"{shlex.quote(pipeline)} --date {shlex.quote(date)}", status

    def _made(self, action: str, label: str, why: str, options: str = "") -> Remedy:
        return Remedy(action, label, why, f"nocturne {action} {self._of}{options}")

    def for_problem(self) -> Iterator[Remedy]:
        """What is published, or what may be held, isn't known: nothing is scored over it."""
        cause = self._status.cause
        if cause == "foreign":
            yield self._made(
                "adopt", "Adopt", "Other programs have changed its rows: take it as it is now."
            )
        elif cause == "lost":
            yield self.score("Its input and model give the rows again.", "Score again")
            yield self.verify("Says what is missing; a copy of it may be put back.")
        elif cause == "newer":
            yield self.verify("Nothing is wrong with the night: install the newer Nocturne here.")
        else:
            yield self.verify("Says what can't be read: mend that first, or put a copy of it back.")

    def for_held(self, judgement: Judgement | None) -> Iterator[Remedy]:
        """By the rule that holds it."""
        rules = [finding.rule for finding in deciding(self._status, judgement)]
        first = rules[0] if rules else ""
        wrong = "The input is wrong: mend it, then score it again."
        if (error := self._status.unpublishable) is not None:
            yield self.score(str(error), "Score again")
            if isinstance(error, Superseded):
                yield self.reject()
            return
        if judgement is None:
            yield self.judge("Its judgement can't be read, and nobody can approve it without.")
            yield self.score(wrong, "Score again")
            yield self.reject()
            return
        if judgement.verdict.publishes:
            yield self.approve("It was judged anew, and may be published: publish these scores.")
            yield self.reject()
            yield self.score(wrong, "Score again")
            return
        approve = self.approve("The scores are right all the same: publish exactly these.")
        if first.startswith("quality.quarantined"):
            yield self.rows("See which rows could not be scored, and why.")
        if first.startswith("quality."):
            partial = "The input was not complete: once it is, score it again."
            yield self.score(partial if first == "quality.volume" else wrong, "Score again")
            if first == "quality.expectations":
                yield self.judge("A suite asks for too much: correct it, then judge it again.")
            yield approve
        else:
            yield approve
            yield self.judge("A threshold is too strict: change it, then judge it again.")
        yield self.reject()
        if not first.startswith("quality."):
            yield self.score(wrong, "Score again")

    def for_unpublished(self, judgement: Judgement | None) -> Iterator[Remedy]:
        """A night that failed, or that was rejected."""
        if self._status.state == "rejected":
            yield self.score("Once the input or the model is mended.", "Score again")
        else:
            yield self.score(
                "Once what it says is mended; what is scored already is kept.", "Score again"
            )
        if deciding(self._status, judgement) and self._status.unpublishable is None:
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

    def approve(self, why: str) -> Remedy:
        return self._decided("approve", "Approve", why)

    def reject(self) -> Remedy:
        why = "The scores are wrong: they are not published; what is published stays."
        return self._decided("reject", "Reject", why, " --why '...'")

    def _decided(self, action: str, label: str, why: str, options: str = "") -> Remedy:
        """A decision about the scores that are held now, and no others."""
        run = self._status.run.name if self._status.run is not None else ""
        made = self._made(action, label, why, (f" --run {run}" if run else "") + options)
        return replace(made, run=run)

    def rows(self, why: str) -> Remedy:
        return self._made("rows", "Open the rows", why)

    def verify(self, why: str) -> Remedy:
        return Remedy("", "", why, f"nocturne verify {self._of}")
