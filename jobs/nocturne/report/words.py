"""What the report says in words and figures."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import NamedTuple

from nocturne.records import Judgement, RunPlan

__all__ = [
    "Tile",
    "cut",
    "facts",
    "figure",
    "headline",
    "percent",
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


def cut(text: object, limit: int = 80) -> str:
    """The text at most ``limit`` characters long, and encodable."""
    whole = str(text).encode("utf-8", "replace").decode()
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def figure(value: float) -> str:
    """Three digits after the point, or three significant ones if it is smaller."""
    return f"{value:.3f}" if abs(value) >= 0.001 or not value else f"{value:.2g}"


def percent(share: float) -> str:
    """A fraction in percent; what is not zero never reads as 0%."""
    if not share:
        return "0%"
    return "<0.1%" if share < 0.001 else f"{share:.1%}"


def headline(judgement: Judgement) -> str:
    """The verdict in a line."""
    return HEADLINES[judgement.verdict]


def reasons(judgement: Judgement) -> list[str]:
    """Why, in the judgement's own words; for a night without any, what was found in order."""
    if judgement.reasons:
        return list(judgement.reasons)
    expectations, columns = len(judgement.quality.expectations), judgement.drift.columns
    found = [f"{expectations} expectations checked, {len(judgement.quality.failed)} failed"]
    if columns:
        alarmed = len(judgement.drift.alarmed)
        found.append(f"{len(columns)} columns compared with training, {alarmed} drifted")
    found.append(f"{judgement.quarantined:,} of {judgement.rows_in:,} rows quarantined")
    return found


def rows_per_second(judgement: Judgement) -> float | None:
    """Rows in over the seconds of scoring, where they were measured."""
    seconds = judgement.seconds.get("score", 0.0)
    return judgement.rows_in / seconds if seconds > 0 else None


def tiles(judgement: Judgement) -> list[Tile]:
    """The night in figures."""
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


def facts(plan: RunPlan, judgement: Judgement, location: Path) -> list[tuple[str, str]]:
    """The run's identity, name by value; ``location`` is where it is published."""
    model = plan.model
    found = [
        ("Pipeline", plan.pipeline),
        ("Partition", plan.partition.path or plan.partition.key),
        ("Model", f"{model.name} version {model.version} ({model.selector}, {model.backend})"),
        ("Model digest", model.sha256),
        (
            "Input",
            f"{plan.input_dir} ({_count(plan.files, 'file')}, {_count(plan.splits, 'split')})",
        ),
        ("Output", str(location)),
        ("Run key", plan.run_key),
    ]
    if judgement.seconds:
        steps = ", ".join(
            f"{step} {seconds:.{1 if seconds >= 1 else 2}f} s"
            for step, seconds in judgement.seconds.items()
        )
        found.append(("Time", steps))
    return found


def _count(things: Sized, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def quality_line(judgement: Judgement) -> str:
    """How many expectations hold."""
    total, failed = len(judgement.quality.expectations), len(judgement.quality.failed)
    if failed:
        return f"{failed} of {total} expectations failed."
    return f"All {total} expectations hold."
