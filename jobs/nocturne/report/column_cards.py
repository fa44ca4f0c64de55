"""A card for each column: its histogram against the baseline, and a line of facts above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nocturne.records.drift import Baseline, FeatureDrift
from nocturne.records.manifest import Judgement
from nocturne.records.profile import ColumnProfile, Profile
from nocturne.report.bars import category_bars, numeric_bars
from nocturne.report.formatting import cut, figure, percent
from nocturne.report.histograms import Histogram, category_histogram, numeric_histogram

__all__ = ["ColumnCard", "column_cards"]

_ROUNDING = 1e-9
_CUT_TAILS = 0.02
"""Plots leave out about 1% of the rows by design; from this fraction on, the card says so."""


@dataclass(frozen=True)
class ColumnCard:
    """The card of a column; ``id`` is the id of the element that its chart is drawn into."""

    id: str
    column: str
    name: str
    facts: str
    alarmed: bool


def column_cards(
    names: Sequence[str],
    judgement: Judgement,
    profile: Profile,
    baseline: Baseline | None,
    specs: list[dict[str, Any]],
    height: int = 120,
) -> list[ColumnCard]:
    """The cards of columns; their charts are added to ``specs``."""
    drift = {feature.column: feature for feature in judgement.drift.columns}
    cards = []
    for name in names:
        column = profile.columns[name]
        trained = baseline.columns.get(name) if baseline else None
        reference = trained.profile if trained and trained.kind == column.kind else None
        histogram = _histogram(column, reference)
        place = f"c{len(specs)}"
        if histogram.bins:
            draw = numeric_bars if column.kind == "numeric" else category_bars
            specs.append({"id": place, "spec": draw(histogram, height)})
        feature = drift.get(name)
        text = " · ".join(_facts(column, feature, histogram))
        cards.append(
            ColumnCard(place, name, cut(name), text, feature is not None and feature.alarmed)
        )
    return cards


def _histogram(column: ColumnProfile, reference: ColumnProfile | None) -> Histogram:
    draw = numeric_histogram if column.kind == "numeric" else category_histogram
    return draw(column, reference)


def _facts(column: ColumnProfile, feature: FeatureDrift | None, histogram: Histogram) -> list[str]:
    facts = []
    if feature is not None:
        facts.append(f"PSI {figure(feature.psi)}, alarm above {figure(feature.threshold)}")
    missing = (column.null + column.nan) / max(column.rows, 1)
    if missing or (feature and feature.baseline_null_rate):
        before = f" (training {percent(feature.baseline_null_rate)})" if feature else ""
        facts.append(f"nulls {percent(missing)}{before}")
    if column.distinct:
        facts.append(f"about {column.distinct:,} different values")
    if feature and feature.new_rate:
        facts.append(f"new values {percent(feature.new_rate)}")
    if column.kind == "category" and histogram.outside > _ROUNDING:
        facts.append(f"{percent(histogram.outside)} of rows in other values")
    elif histogram.outside > _CUT_TAILS:
        facts.append(f"{percent(histogram.outside)} of rows outside the plot")
    if not histogram.bins:
        facts.append("no values to draw")
    return facts or ["no nulls"]
