"""A card for each column: its histogram against the baseline, and a line of facts above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nocturne.records.drift import Baseline, ComparedBins, FeatureDrift
from nocturne.records.manifest import Judgement
from nocturne.records.profile import ColumnProfile, Profile
from nocturne.report.bars import category_bars, numeric_bars
from nocturne.report.formatting import cut, figure, percent
from nocturne.report.histograms import Bin, Histogram, histogram

__all__ = ["ColumnCard", "column_cards"]

_ROUNDING = 1e-9
_BARS = 14
"""As many bins as a number has, and nulls."""
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
    compared: Mapping[str, ComparedBins] = MappingProxyType({}),
) -> list[ColumnCard]:
    """The cards of columns; their charts are added to ``specs``.

    Args:
        compared: of columns that were compared with a part of the baseline, the bins of both: they
            are drawn in place of the whole baseline, beside which the PSI could not be understood.
    """
    drift = {feature.column: feature for feature in judgement.drift.columns}
    cards = []
    for name in names:
        column = profile.columns[name]
        trained = baseline.columns.get(name) if baseline else None
        reference = trained.profile if trained and trained.kind == column.kind else None
        bins = compared.get(name)
        bars = _of_bins(bins) if bins else histogram(column, reference)
        place = f"c{len(specs)}"
        if bars.bins:
            numeric = column.kind == "numeric" and bins is None
            spec = (numeric_bars if numeric else category_bars)(bars, height)
            against = f" beside {bins.reference}" if bins else ""
            spec["description"] = f"Histogram of {cut(name)}{against}"
            specs.append({"id": place, "spec": spec})
        feature = drift.get(name)
        facts = _facts(column, feature, bars) + ([f"beside {bins.reference}"] if bins else [])
        text = " · ".join(facts)
        cards.append(
            ColumnCard(place, name, cut(name), text, feature is not None and feature.alarmed)
        )
    return cards


def _of_bins(compared: ComparedBins) -> Histogram:
    """The bins that drift compared, as bars; of many, those with the fewest rows become one."""
    rows = zip(compared.labels, compared.current, compared.baseline, strict=True)
    bars = [Bin(label, 0, 0, now, then) for label, now, then in rows if now or then]
    if len(bars) > _BARS:
        kept = sorted(bars, key=lambda bar: max(bar.current, bar.baseline or 0))[-_BARS + 1 :]
        rest = [bar for bar in bars if bar not in kept]
        shares = sum(bar.current for bar in rest), sum(bar.baseline or 0 for bar in rest)
        name = f"{len(rest)} more values"
        bars = [*(bar for bar in bars if bar in kept), Bin(name, 0, 0, *shares)]
    return Histogram(tuple(bars))


def _facts(column: ColumnProfile, feature: FeatureDrift | None, bars: Histogram) -> list[str]:
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
    if column.kind == "category" and bars.outside > _ROUNDING:
        facts.append(f"{percent(bars.outside)} of rows in other values")
    elif bars.outside > _CUT_TAILS:
        facts.append(f"{percent(bars.outside)} of rows outside the plot")
    if not bars.bins:
        facts.append("no values to draw")
    return facts or ["no nulls"]
