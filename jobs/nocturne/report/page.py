"""The HTML report of a night: one file that needs no network, the verdict first.

What comes from data reaches the page through Jinja's autoescape, or as JSON in a data block
with ``<`` escaped; and the page's Content-Security-Policy lets run the one script whose
hash it names, so that even a slip could not run a feature named ``<script>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from nocturne.records import Baseline, FeatureDrift, Judgement, Profile, PublishedNight, RunPlan
from nocturne.report import assets
from nocturne.report.by_day import HEAT_LEVELS, heat_map, rows_by_day, scores_by_day
from nocturne.report.cards import Card, cards
from nocturne.report.days import Day, axis, days, output_names
from nocturne.report.summary import quantiles
from nocturne.report.words import (
    cut,
    facts,
    figure,
    headline,
    percent,
    quality_line,
    reasons,
    tiles,
)

__all__ = ["heat_legend", "html", "rendered"]

_FEATURES = 30
_DRIFT_ROWS = 100
_EXPECTATIONS = 200
_OUTPUTS = 6
_EXAMPLES = 20
_REASONS = 50


def html(
    plan: RunPlan,
    judgement: Judgement,
    profile: Profile,
    baseline: Baseline | None,
    history: Sequence[PublishedNight],
    *,
    location: Path,
    quarantine_reasons: Mapping[str, int] | None = None,
    quarantine_examples: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The report as the text of an HTML file, under 2 MB whatever the number of features.

    Args:
        profile: of the whole night.
        baseline: what the histograms are compared with; None draws the night alone.
        history: published nights of this pipeline, in any order.
        location: where the scores are published.
        quarantine_reasons: rows by reason, summed over the splits.
        quarantine_examples: some quarantined rows, e.g. with file, row, reason and keys.
    """
    specs: list[dict[str, Any]] = []
    shown = days(plan, judgement, profile, history)
    outputs = [name for name in output_names(plan) if name in profile.columns]
    ranked = [f.column for f in judgement.drift.columns]
    others = [name for name in profile.columns if name not in ranked]
    hidden = {*outputs, *plan.sensitive}
    features = [name for name in (*ranked, *others) if name not in hidden]
    output_cards = cards(outputs[:_OUTPUTS], judgement, profile, baseline, specs, height=190)
    numeric = [c for c in output_cards if any(c.column in day.scores for day in shown)]
    scores = [_score(card, baseline, shown, specs) for card in numeric]
    if len(shown) > 1:
        specs.append({"id": "rows", "spec": rows_by_day(shown, axis(shown))})
        if ranked:
            heat = heat_map(ranked[:_FEATURES], shown, axis(shown))
            specs.append({"id": "heat", "spec": heat})
    feature_cards = cards(features[:_FEATURES], judgement, profile, baseline, specs)
    failed = judgement.quality.failed
    held = [e for e in judgement.quality.expectations if e.success]
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
        day_count=len(shown),
        has_baseline=baseline is not None,
        heat_legend=heat_legend(),
        drift_rows=judgement.drift.columns[:_DRIFT_ROWS],
        segments=judgement.drift.segments,
        drift_left_out=max(0, len(ranked) - _DRIFT_ROWS),
        output_cards=[card for card in output_cards if card not in numeric],
        outputs_left_out=max(0, len(outputs) - _OUTPUTS),
        feature_cards=feature_cards,
        features_left_out=max(0, len(features) - _FEATURES),
    )


def rendered(template: str, specs: Sequence[Mapping[str, Any]], **values: Any) -> str:
    """A page with its charts, style and script: one file that needs no other."""
    script = assets.script()
    return _template(template).render(
        charts=_json(specs),
        style=assets.style(),
        script=script,
        script_digest=assets.digest(script),
        **values,
    )


def _docs_link(judgement: Judgement) -> str | None:
    """Data Docs as seen from the report, which lies in the run directory."""
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
    card: Card, baseline: Baseline | None, shown: Sequence[Day], specs: list[dict[str, Any]]
) -> dict[str, Any]:
    """A numeric output over days, beside its histogram."""
    known = baseline.columns.get(card.column) if baseline else None
    reference: list[float] = []
    if known and known.profile and known.kind == "numeric" and known.profile.counts:
        reference = [float(q) for q in quantiles(known.profile, (0.05, 0.5, 0.95))]
    place = f"days-{card.id}"
    spec = scores_by_day(card.column, shown, axis(shown), reference)
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
    """What the heat map's colours mean."""
    levels = [f"{level:g}" for level in HEAT_LEVELS]
    between = [f"{a} to {b}" for a, b in pairwise(levels)]
    return [f"below {levels[0]}", *between, f"{levels[-1]} and more"]


def _meter(feature: FeatureDrift) -> str:
    """Length of the bar in percent: the middle is the alarm level."""
    ratio = feature.psi / feature.threshold if feature.threshold else 0.0
    return f"{min(ratio / 2, 1) * 100:.0f}"
