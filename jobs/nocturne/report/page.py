"""The HTML report of a night: one file that needs no network, with the verdict first.

Values from data reach the page through Jinja's autoescape, or as JSON in a data block with ``<``
escaped. The page's Content-Security-Policy allows only the script whose hash it contains, so that
even a mistake here could not run a feature named ``<script>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from nocturne.objects import Location
from nocturne.records.arms import Served
from nocturne.records.challengers import Shown
from nocturne.records.drift import Baseline, ComparedBins, FeatureDrift, MetricText
from nocturne.records.manifest import Judgement, PublishedNight
from nocturne.records.plan import RunPlan
from nocturne.records.profile import Profile
from nocturne.report import assets
from nocturne.report.by_day import HEAT_LEVELS, heat_map, rows_by_day, scores_by_day
from nocturne.report.column_cards import ColumnCard, column_cards
from nocturne.report.days import Day, axis_keys, charted_days, output_names
from nocturne.report.formatting import cut, figure, percent
from nocturne.report.overview import anchored, facts, headline, quality_line, reasons, tiles
from nocturne.report.summary import quantiles

__all__ = ["heat_legend", "night_html", "rendered"]

_FEATURES = 30
_DRIFT_ROWS = 100
_EXPECTATIONS = 200
_OUTPUTS = 6
_EXAMPLES = 20
_REASONS = 50


def night_html(
    plan: RunPlan,
    judgement: Judgement,
    profile: Profile,
    baseline: Baseline | None,
    history: Sequence[PublishedNight],
    *,
    metrics: Mapping[str, MetricText],
    location: Location,
    quarantine_reasons: Mapping[str, int] | None = None,
    quarantine_examples: Sequence[Mapping[str, Any]] = (),
    compared: Mapping[str, ComparedBins] = MappingProxyType({}),
    challengers: Sequence[Shown] = (),
    arms: Served | None = None,
) -> str:
    """The report as the text of an HTML file, under 2 MB whatever the number of features.

    Args:
        profile: the profile of the whole night.
        baseline: the histograms are compared with it; None draws the night alone.
        history: published nights of this pipeline, in any order.
        metrics: the drift metrics by name.
        location: the folder where the scores are published.
        quarantine_reasons: rows by reason, summed over the splits.
        quarantine_examples: some quarantined rows, e.g. with file, row, reason and keys.
        compared: see ``column_cards``.
        challengers: those of the night, beside its champion.
        arms: how its keys were shared between models.
    """
    specs: list[dict[str, Any]] = []
    charted = charted_days(plan, judgement, profile, history)
    outputs = [name for name in output_names(plan) if name in profile.columns]
    ranked = [f.column for f in judgement.drift.columns]
    undrifted = [name for name in profile.columns if name not in ranked]
    hidden = {*outputs, *plan.sensitive}
    features = [name for name in (*ranked, *undrifted) if name not in hidden]
    output_cards = column_cards(
        outputs[:_OUTPUTS], judgement, profile, baseline, specs, height=190, compared=compared
    )
    numeric = [c for c in output_cards if any(c.column in day.scores for day in charted)]
    scores = [_score(card, baseline, charted, specs) for card in numeric]
    if len(charted) > 1:
        specs.append({"id": "rows", "spec": rows_by_day(charted, axis_keys(charted))})
        if ranked:
            heat = heat_map(ranked[:_FEATURES], charted, axis_keys(charted))
            specs.append({"id": "heat", "spec": heat})
    feature_cards = column_cards(
        features[:_FEATURES], judgement, profile, baseline, specs, compared=compared
    )
    failed = [(anchor, e) for anchor, e in anchored(judgement) if not e.success]
    held = [(anchor, e) for anchor, e in anchored(judgement) if e.success]
    examples = list(quarantine_examples)[:_EXAMPLES]
    by_rows = sorted((quarantine_reasons or {}).items(), key=lambda item: (-item[1], item[0]))
    return rendered(
        "page.html",
        specs,
        plan=plan,
        judgement=judgement,
        headline=headline(judgement),
        reasons=reasons(judgement)[:_REASONS],
        tiles=tiles(judgement),
        facts=facts(plan, judgement, location),
        quality_line=quality_line(judgement),
        docs_link=_docs_link(judgement),
        expectations=judgement.quality.expectations,
        failed=failed[:_EXPECTATIONS],
        held=held[:_EXPECTATIONS],
        expectations_left_out=sum(max(0, len(es) - _EXPECTATIONS) for es in (failed, held)),
        quarantine_line=_quarantine_line(judgement),
        quarantine_reasons=by_rows[:_REASONS],
        examples=examples,
        example_columns=list(dict.fromkeys(name for row in examples for name in row))[:12],
        scores=scores,
        day_count=len(charted),
        has_baseline=baseline is not None,
        heat_legend=heat_legend(),
        drift_rows=judgement.drift.columns[:_DRIFT_ROWS],
        metrics=metrics,
        segments=judgement.drift.segments,
        drift_left_out=max(0, len(ranked) - _DRIFT_ROWS),
        output_cards=[card for card in output_cards if card not in numeric],
        outputs_left_out=max(0, len(outputs) - _OUTPUTS),
        feature_cards=feature_cards,
        features_left_out=max(0, len(features) - _FEATURES),
        challengers=challengers,
        arms=arms,
    )


def rendered(template: str, specs: Sequence[Mapping[str, Any]] = (), **values: Any) -> str:
    """A page with its style, and its charts and their script: one file that needs no other."""
    script = assets.script() if specs else ""
    return _template(template).render(
        charts=_json(specs),
        style=assets.style(),
        script=script,
        script_digest=assets.digest(script),
        **values,
    )


def _docs_link(judgement: Judgement) -> str | None:
    """The link to Data Docs, relative to the report in the run directory."""
    docs = judgement.quality.data_docs
    return quote(docs) if docs else None


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cut": cut, "figure": figure, "percent": percent, "meter": _meter}
    return environment.get_template(name)


def _json(specs: Sequence[Mapping[str, Any]]) -> str:
    """JSON for a script block: no ``<`` in it can end the block or start a comment."""
    text = json.dumps(specs, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _score(
    card: ColumnCard, baseline: Baseline | None, charted: Sequence[Day], specs: list[dict[str, Any]]
) -> dict[str, Any]:
    """A numeric output over days, with its histogram."""
    trained = baseline.columns.get(card.column) if baseline else None
    reference: list[float] = []
    if trained and trained.profile and trained.kind == "numeric" and trained.profile.counts:
        reference = [float(q) for q in quantiles(trained.profile, (0.05, 0.5, 0.95))]
    place = f"days-{card.id}"
    spec = scores_by_day(card.column, charted, axis_keys(charted), reference)
    specs.append({"id": place, "spec": spec})
    return {"name": card.name, "id": place, "reference": bool(reference), "card": card}


def _quarantine_line(judgement: Judgement) -> str:
    share = judgement.quarantined / max(judgement.rows_in, 1)
    return (
        f"{judgement.quarantined:,} of {judgement.rows_in:,} rows ({percent(share)}) could not be "
        "scored. They are kept in the state's quarantine/ folder with source file, row number "
        "and reason."
    )


def heat_legend() -> list[str]:
    """The meaning of the heat map's colours."""
    levels = [f"{level:g}" for level in HEAT_LEVELS]
    between = [f"{a} to {b}" for a, b in pairwise(levels)]
    return [f"below {levels[0]}", *between, f"{levels[-1]} and more"]


def _meter(feature: FeatureDrift) -> str:
    """Length of the bar in percent: the middle is the alarm level."""
    return f"{min(feature.excess / 2, 1) * 100:.0f}"
