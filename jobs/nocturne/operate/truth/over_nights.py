"""The truth over nights, with what was expected before, and where another model took over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.errors import NocturneError
from nocturne.operate.reigns import took_over
from nocturne.operate.truth.estimates import Trust, estimate_of, trust
from nocturne.operate.truth.nights import beyond
from nocturne.operate.truth.sides import labels_of, truth_of
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.manifest import PublishedNight
from nocturne.records.truth import BETTER, Truth, part_order, told
from nocturne.store.run import Run

__all__ = ["TruthNight", "figures_of", "parts_of", "trust_now", "truth_nights"]


@dataclass(frozen=True)
class TruthNight:
    """A published night.

    Attributes:
        version: of its champion.
        truth: None if its scores were not counted by labels yet.
        estimate: what was, or is, expected of it; empty if nothing can be.
        promoted: that another model took over with this night, in words; "" if none did.
        problem: why its truth can't be read.
        beyond: what lies beyond ``labels.bounds``, in words.
    """

    key: str
    version: int
    truth: Truth | None
    estimate: dict[str, float] = field(default_factory=dict)
    promoted: str = ""
    problem: str = ""
    beyond: tuple[str, ...] = ()

    def figure(self, name: str, part: str = "all") -> float | None:
        """A figure of some of its rows."""
        counted = self.truth.parts.get(part) if self.truth is not None else None
        return counted.figures.get(name) if counted is not None else None


def truth_nights(loaded: Loaded, nights: Sequence[PublishedNight]) -> list[TruthNight]:
    """The truth of published nights, in their order.

    Raises:
        ConfigError: the pipeline has no ``labels``.
    """
    labels, there = labels_of(loaded), PublishedNights(loaded)
    found, before, estimates = [], None, True
    for night in nights:
        manifest, state = night.manifest, there.state_of(night.manifest.partition)
        truth, problem = None, ""
        try:
            truth = truth_of(state, manifest)
        except NocturneError as error:
            problem = str(error)
        if truth is not None:  # the last labels say what they are
            estimates = truth.kind == "classes"
        estimate = truth.estimate if truth is not None else {}
        if truth is None and not problem and estimates:
            estimate = _estimate(labels, there, night)
        now = manifest.model.version
        event = took_over(before, now)
        over = beyond(labels, truth) if truth is not None else ()
        found.append(TruthNight(night.key, now, truth, estimate, event, problem, over))
        before = now
    return found


def trust_now(nights: Sequence[TruthNight]) -> Trust | None:
    """Whether to believe the estimates of the last night's version; None without a night."""
    if not nights:
        return None
    return trust([night.truth for night in nights if night.truth is not None], nights[-1].version)


def figures_of(nights: Sequence[TruthNight], own: Sequence[str] = ()) -> list[str]:
    """The figures that the nights have, in the order in which they are shown.

    Args:
        own: the names of ``labels.metrics``.
    """
    there = {
        name
        for night in nights
        if night.truth is not None
        for name in night.truth.parts["all"].figures
    }
    return [name for name in (*BETTER, "bias", "positive", *own) if name in there]


def parts_of(nights: Sequence[TruthNight]) -> dict[str, str]:
    """The parts that the nights have: all rows, versions if there are several, segments.

    Each with its name for people, which says the arms too.
    """
    truths = [night.truth for night in nights if night.truth is not None]
    parts = {part for truth in truths for part in truth.parts}
    versions = {part for part in parts if part.startswith("version ")}
    shown = sorted(parts - versions if len(versions) == 1 else parts, key=part_order)
    return {part: told(part, truths) for part in shown}


def _estimate(labels: Labels, nights: PublishedNights, night: PublishedNight) -> dict[str, float]:
    try:
        run = Run.at(nights.state_of(night.manifest.partition), night.manifest.run_key)
        numbers = run.plan.encoding.numbers
        output = labels.output or next(iter(numbers), "")
        return estimate_of(labels, run, output)
    except (NocturneError, OSError):
        return {}
