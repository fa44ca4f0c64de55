"""What labels have shown of a pipeline's nights, and what is expected of those without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.operate.truth.evidence import evidence_of
from nocturne.operate.truth.over_nights import (
    TruthNight,
    figures_of,
    parts_of,
    trust_now,
    truth_nights,
)
from nocturne.pipeline.nights import PublishedNights, night_in_force
from nocturne.pipeline.places import Places
from nocturne.records.evidence import Evidence
from nocturne.records.manifest import PublishedNight
from nocturne.records.partition import Partition
from nocturne.records.truth import TruthPart
from nocturne_airflow.page.charts import Point
from nocturne_airflow.page.site import default, html, pipeline

__all__ = ["truth"]

_NIGHTS, _MOST = 60, 400
_ARMS = 8

Count = Annotated[int, default(_NIGHTS)]


def truth(
    request: Request,
    dag_id: str,
    figure: str = "",
    until: str | None = None,
    nights: Count = _NIGHTS,
) -> HTMLResponse:
    """A figure over nights, with its estimate; versions, challengers and segments apart."""
    loaded = pipeline(dag_id)
    labels = loaded.pipeline.labels
    found = truth_nights(loaded, _published(loaded, until, nights)) if labels else []
    names = figures_of(found, list(labels.metrics) if labels else ())
    figure = figure if figure in names else next(iter(names), "")
    last = next((night for night in reversed(found) if night.truth is not None), None)
    challengers = dict.fromkeys(c for night in found if night.truth for c in night.truth.against)
    return html(
        request,
        "truth.html",
        loaded=loaded,
        labels=labels,
        found=found,
        names=names,
        figure=figure,
        last=last,
        until=until,
        nights=nights,
        points=_points(found, figure),
        parts=[
            (told, _of_part(found, figure, part))
            for part, told in [*parts_of(found).items()][1 : 1 + _ARMS]
        ],
        challengers=[(c, _of_challenger(found, figure, c)) for c in challengers],
        reliability=_reliability(last),
        trust=trust_now(found),
        evidence=_evidence(loaded),
    )


def _published(loaded: Loaded, until: str | None, count: int) -> list[PublishedNight]:
    names, nights = loaded.pipeline.input.partition, PublishedNights(loaded)
    if not names:
        only = night_in_force(Places.of(loaded).output(Partition("all")))
        return [only] if only is not None else []
    before = None
    if until:
        moment = config.later(names, config.parse(names, until), 1)
        before = moment.strftime(config.key_format(names)) if moment else None
    return nights.all(before=before, last=min(max(count, 1), _MOST))


def _points(found: Sequence[TruthNight], figure: str) -> list[Point]:
    points = []
    for night in found:
        value, expected = night.figure(figure), night.estimate.get(figure)
        text = f"{night.key}, model version {night.version}"
        if value is not None:
            text += f": {figure} {value:.4g}"
        low, high = night.figure(f"{figure}_low"), night.figure(f"{figure}_high")
        if low is not None and high is not None:
            text += f" ({low:.4g} to {high:.4g})"
        if expected is not None:
            text += f"; expected {expected:.4g}"
        values = {"value": value, "low": low, "high": high, "expected": expected}
        mark = "is-warned" if any(b.startswith(f"{figure} ") for b in night.beyond) else ""
        points.append(Point(night.key, values, text, mark, night.promoted))
    return points


def _of_part(found: Sequence[TruthNight], figure: str, part: str) -> list[Point]:
    return [
        Point(
            night.key,
            {
                "value": (value := night.figure(figure, part)),
                "low": night.figure(f"{figure}_low", part),
                "high": night.figure(f"{figure}_high", part),
            },
            f"{night.key}, {part}: {value:.4g}" if value is not None else "",
            event=night.promoted,
        )
        for night in found
    ]


def _of_challenger(found: Sequence[TruthNight], figure: str, name: str) -> list[Point]:
    points = []
    for night in found:
        against = night.truth.against.get(name) if night.truth is not None else None
        difference = against.differences.get(figure) if against is not None else None
        values: dict[str, float | None] = {"zero": 0.0}
        text = ""
        if against is not None and difference is not None:
            values |= {"value": difference.value, "low": difference.low, "high": difference.high}
            text = f"{night.key}: version {against.version} less {night.version} is "
            text += f"{difference.value:+.4g}, {against.rows:,} rows"
        points.append(Point(night.key, values, text, event=night.promoted))
    return points


def _reliability(night: TruthNight | None) -> list[Point]:
    """The bins of a night: mean score, share of positives, and where both would be equal."""
    part: TruthPart | None = night.truth.parts["all"] if night and night.truth else None
    return [
        Point(
            f"{score:.2f}",
            {"positive": positive, "score": score},
            f"scores around {score:.3f}: {positive:.1%} of {rows:,} rows are positive",
        )
        for rows, score, positive in (part.bins if part is not None else ())
    ]


def _evidence(loaded: Loaded) -> Evidence | None:
    if loaded.pipeline.promote is None:
        return None
    try:
        return evidence_of(loaded, ask=False)
    except NocturneError:
        return None
