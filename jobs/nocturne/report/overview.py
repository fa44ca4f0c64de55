"""The summary at the top of a night's report: headline, reasons, figures and facts."""

from __future__ import annotations

from collections.abc import Sized
from typing import NamedTuple

from nocturne.objects import Location
from nocturne.records.manifest import Judgement
from nocturne.records.plan import RunPlan
from nocturne.records.quality import Expectation

__all__ = [
    "Tile",
    "anchored",
    "facts",
    "headline",
    "quality_line",
    "reasons",
    "rows_per_second",
    "tiles",
]

HEADLINES = {
    "ok": "OK: nothing stands in the way of publishing",
    "warn": "Warning: this does not stop publishing, but is worth a look",
    "hold": "Held: not published until a person decides",
    "fail": "Failed: not published",
}


class Tile(NamedTuple):
    """A figure at the top of the page; ``mood`` colours it."""

    value: str
    label: str
    mood: str = ""


def headline(judgement: Judgement) -> str:
    """The verdict in a line."""
    return HEADLINES[judgement.verdict]


def reasons(judgement: Judgement) -> list[str]:
    """The judgement's reasons; if it has none, what was checked."""
    if judgement.reasons:
        return list(judgement.reasons)
    expectations, columns = len(judgement.quality.expectations), judgement.drift.columns
    lines = [f"{expectations} expectations checked, {len(judgement.quality.failed)} failed"]
    if columns:
        alarmed = len(judgement.drift.alarmed)
        lines.append(f"{len(columns)} columns compared with training, {alarmed} drifted")
    lines.append(f"{judgement.quarantined:,} of {judgement.rows_in:,} rows quarantined")
    return lines


def rows_per_second(judgement: Judgement) -> float | None:
    """Rows per second of scoring; None if the seconds were not measured."""
    seconds = judgement.seconds.get("score", 0.0)
    return judgement.rows_in / seconds if seconds > 0 else None


def tiles(judgement: Judgement) -> list[Tile]:
    """The figures of the night."""
    speed = rows_per_second(judgement)
    failed, alarmed = len(judgement.quality.failed), len(judgement.drift.alarmed)
    checked, compared = len(judgement.quality.expectations), len(judgement.drift.columns)
    return [
        Tile(f"{judgement.rows_in:,}", "rows in"),
        Tile(f"{judgement.rows_out:,}", "rows scored"),
        Tile(f"{judgement.quarantined:,}", "quarantined", "warn" if judgement.quarantined else ""),
        Tile("not known" if speed is None else f"{speed:,.0f}", "rows/s"),
        Tile(f"{failed} of {checked}", "expectations failed", "fail" if failed else ""),
        Tile(f"{alarmed} of {compared}", "columns drifted", "warn" if alarmed else ""),
    ]


def facts(plan: RunPlan, judgement: Judgement, location: Location) -> list[tuple[str, str]]:
    """The run's identity as (name, value); ``location`` is the folder where it is published."""
    model = plan.model
    pairs = [
        ("Pipeline", plan.pipeline),
        ("Partition", plan.partition.path or plan.partition.key),
        ("Model", f"{model.name} version {model.version} ({model.selector}, {model.backend})"),
        ("Model digest", model.sha256),
        (
            "Input",
            f"{plan.input_dir}{f', {plan.input_version}' if plan.input_version else ''} "
            f"({_count(plan.files, 'file')}, {_count(plan.splits, 'split')})",
        ),
        ("Output", str(location)),
        ("Run key", plan.run_key),
    ]
    if judgement.seconds:
        steps = ", ".join(
            f"{step} {seconds:.{1 if seconds >= 1 else 2}f} s"
            for step, seconds in judgement.seconds.items()
        )
        pairs.append(("Time", steps))
    return pairs


def _count(things: Sized, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def anchored(judgement: Judgement) -> list[tuple[str, Expectation]]:
    """The expectations, each with its anchor on the page of expectations."""
    return [(f"expectation-{n}", e) for n, e in enumerate(judgement.quality.expectations, 1)]


def quality_line(judgement: Judgement) -> str:
    """How many expectations hold."""
    total, failed = len(judgement.quality.expectations), len(judgement.quality.failed)
    if failed:
        return f"{failed} of {total} expectations failed."
    return f"All {total} expectations hold."
