"""The summary at the top of a night's report: headline, reasons, figures and facts."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import NamedTuple

from nocturne.objects import Location
from nocturne.records.manifest import Judgement
from nocturne.records.plan import RunPlan
from nocturne.records.quality import Expectation
from nocturne.records.texts import in_utc
from nocturne.report.formatting import duration

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
    if judgement.volume:
        lines.append(f"{judgement.rows_in:,} rows came, {judgement.volume.in_words}")
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
        Tile(f"{judgement.rows_in:,}", "rows in", "warn" if _alarmed(judgement) else ""),
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
        *_volume(plan, judgement),
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


def _volume(plan: RunPlan, judgement: Judgement) -> Iterator[tuple[str, str]]:
    """How the rows compare with earlier nights, and when they arrived."""
    volume = judgement.volume
    if volume is None:
        return
    yield "Rows", f"{volume.rows:,}, {volume.in_words}"
    if volume.arrived is None:
        return
    arrived = in_utc(volume.arrived)
    if volume.seconds_after is not None:
        side = "before" if volume.seconds_after < 0 else "after"
        what = "hour" if "T" in plan.partition.key else "day"
        arrived += f", {duration(abs(volume.seconds_after))} {side} the {what} was over"
    yield "Input arrived", arrived


def _alarmed(judgement: Judgement) -> bool:
    return judgement.volume is not None and judgement.volume.alarmed


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
