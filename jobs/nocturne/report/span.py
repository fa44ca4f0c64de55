"""The HTML report of a range of published nights, in one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nocturne.records.challengers import Shown
from nocturne.records.findings import Verdict
from nocturne.records.manifest import PublishedNight
from nocturne.report.by_day import figure_by_day, heat_map, rows_by_day, scores_by_day
from nocturne.report.days import JudgedDay, axis_keys, published_day
from nocturne.report.overview import Tile
from nocturne.report.page import heat_legend, rendered

__all__ = ["TruthSection", "span_html"]

_COLUMNS = 30
_OUTPUTS = 6


@dataclass(frozen=True)
class TruthSection:
    """What labels have shown of the nights.

    Attributes:
        figures: name -> the figure of each night.
        trust: whether to believe what was expected before the labels came, in words.
        rows: the lines of the table: of what, rows, and the figures by name.
        against: challengers less the champion: challenger, figure, nights, the mean difference with
            its interval in words.
    """

    figures: dict[str, list[JudgedDay]]
    trust: str
    rows: list[tuple[str, int, dict[str, float]]]
    against: list[tuple[str, str, int, str]]


def span_html(
    pipeline: str,
    nights: Sequence[PublishedNight],
    missing: Sequence[str],
    links: Mapping[str, str],
    challengers: Sequence[Shown] = (),
    truth: TruthSection | None = None,
) -> str:
    """The report as the text of an HTML file.

    Args:
        nights: published nights, oldest partition first; at least one.
        missing: partitions of the range that are not published.
        links: partition -> the path of its own report, relative to this one.
        challengers: how they compare with the champion over the nights.
        truth: what labels have shown; None without any.
    """
    charted = [published_day(night) for night in nights]
    days = axis_keys(charted)
    columns = _columns(nights)
    outputs = list(dict.fromkeys(name for night in nights for name in night.manifest.score_summary))
    specs: list[dict[str, Any]] = [{"id": "rows", "spec": rows_by_day(charted, days)}]
    scores = []
    for number, name in enumerate(outputs[:_OUTPUTS]):
        specs.append({"id": f"score-{number}", "spec": scores_by_day(name, charted, days)})
        scores.append({"name": name, "id": f"score-{number}"})
    if columns:
        names = [column["name"] for column in columns[:_COLUMNS]]
        specs.append({"id": "heat", "spec": heat_map(names, charted, days)})
    for number, (figure, judged) in enumerate(truth.figures.items() if truth else ()):
        specs.append({"id": f"truth-{number}", "spec": figure_by_day(figure, judged, days)})
    return rendered(
        "span.html",
        specs,
        pipeline=pipeline,
        first=nights[0].key,
        last=nights[-1].key,
        headline=_headline(nights),
        mood=Verdict.worst(night.manifest.verdict for night in nights),
        lines=_lines(nights, missing),
        tiles=_tiles(nights, missing),
        scores=scores,
        columns=columns[:_COLUMNS],
        columns_left_out=max(0, len(columns) - _COLUMNS),
        heat_legend=heat_legend(),
        challengers=challengers,
        truth=truth,
        nights=[_night(night, links.get(night.key)) for night in reversed(nights)],
    )


def _headline(nights: Sequence[PublishedNight]) -> str:
    counts = Counter[str](night.manifest.verdict for night in nights)
    outcomes = {
        "ok": "without a remark",
        "warn": "with a warning",
        "hold": "approved by a person",
        "fail": "failed",
    }
    parts = [f"{counts[verdict]} {outcomes[verdict]}" for verdict in Verdict if counts[verdict]]
    return f"{_nights(len(nights))} published: {', '.join(parts)}"


def _nights(count: int) -> str:
    return f"{count} night" if count == 1 else f"{count} nights"


def _lines(nights: Sequence[PublishedNight], missing: Sequence[str]) -> list[str]:
    lines = []
    paged = [night.key for night in nights if night.manifest.pages]
    if paged:
        lines.append(f"a person should look at the drift of {_listed(paged)}")
    if missing:
        lines.append(f"not published: {_listed(missing)}")
    manifests = [night.manifest for night in nights]
    models = dict.fromkeys(f"{m.model.name} version {m.versions}" for m in manifests)
    lines.append(f"scored with {_listed(list(models))}")
    return lines


def _listed(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _tiles(nights: Sequence[PublishedNight], missing: Sequence[str]) -> list[Tile]:
    rows, lost = (
        sum(getattr(n.manifest, f"rows_{kind}") for n in nights) for kind in ("in", "quarantined")
    )
    drifted = sum(night.manifest.verdict_of("drift") != Verdict.OK for night in nights)
    return [
        Tile(f"{len(nights):,}", "nights"),
        Tile(f"{rows:,}", "rows in"),
        Tile(f"{lost:,}", "quarantined", "warn" if lost else ""),
        Tile(f"{drifted:,}", "nights with drift", "warn" if drifted else ""),
        Tile(f"{len(missing):,}", "nights missing", "warn" if missing else ""),
    ]


def _columns(nights: Sequence[PublishedNight]) -> list[dict[str, Any]]:
    """Every column for which drift was measured, most often alarmed first."""
    by_name: dict[str, dict[str, Any]] = {}
    for night in nights:
        for feature in night.judgement.drift.columns:
            entry = by_name.setdefault(
                feature.column,
                {
                    "name": feature.column,
                    "is_output": feature.is_output,
                    "alarmed": 0,
                    "nights": 0,
                    "worst": 0.0,
                    "worst_night": "",
                },
            )
            entry["nights"] += 1
            entry["alarmed"] += feature.alarmed
            if feature.excess > entry["worst"]:
                entry["worst"], entry["worst_night"] = feature.excess, night.key
    return sorted(by_name.values(), key=lambda c: (-c["alarmed"], -c["worst"], c["name"]))


def _night(night: PublishedNight, link: str | None) -> dict[str, Any]:
    manifest = night.manifest
    return {
        "key": night.key,
        "link": link,
        "verdict": manifest.verdict,
        "rows": manifest.rows_in,
        "quarantined": manifest.rows_quarantined,
        "model": manifest.versions,
        "drifted": len(manifest.drifted),
        "reasons": manifest.reasons[:3],
    }
