"""A column over nights, and the expectations over nights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse

from nocturne import config
from nocturne.config import Loaded
from nocturne.operate.compared import compared_column
from nocturne.operate.judged import JudgedNight, judged_nights, partitions_until
from nocturne.operate.over_nights import (
    ColumnNight,
    column_over_nights,
    expectations_over_nights,
)
from nocturne.operate.reigns import took_over
from nocturne_airflow.page.charts import Point
from nocturne_airflow.page.site import default, html, pipeline

__all__ = ["column", "expectations"]

_NIGHTS = 60
_MOST = 400

Count = Annotated[int, default(_NIGHTS)]


def column(
    request: Request,
    dag_id: str,
    name: str = "",
    until: str | None = None,
    nights: Count = _NIGHTS,
) -> HTMLResponse:
    """A column over nights: its drift with the alarm, nulls, quantiles, and its histograms."""
    loaded = pipeline(dag_id)
    judged = _nights(loaded, until, nights)
    names = _names(judged)
    name = name or next(iter(names), "")
    hidden = name in loaded.pipeline.quality.sensitive
    found = column_over_nights(judged, name, hidden=hidden)
    compared = None
    if found and found[-1].drift is not None and not hidden:
        compared = compared_column(loaded, found[-1].night, name)
    return html(
        request,
        "column.html",
        loaded=loaded,
        name=name,
        names=names,
        hidden=hidden,
        found=found,
        points=_points(found),
        compared=compared,
        until=until,
        nights=nights,
    )


def expectations(
    request: Request, dag_id: str, until: str | None = None, nights: Count = _NIGHTS
) -> HTMLResponse:
    """Every expectation over nights: whether it held, and what was observed."""
    loaded = pipeline(dag_id)
    judged = _nights(loaded, until, nights)
    return html(
        request,
        "expectations.html",
        loaded=loaded,
        judged=judged,
        lines=expectations_over_nights(judged),
        strip=lambda line: zip((night.key for night in judged), line.results, strict=True),
        until=until,
        nights=nights,
        points=lambda line: [
            Point(
                night.key,
                {"value": result.value if result else None},
                f"{night.key}: {result.observed}" if result else "",
                mark="" if result is None or result.success else "is-failed",
                event=took_over(before.version, night.version),
            )
            for before, night, result in zip(
                [judged[0], *judged], judged, line.results, strict=False
            )
        ],
    )


def _nights(loaded: Loaded, until: str | None, count: int) -> list[JudgedNight]:
    names = loaded.pipeline.input.partition
    if until and names:
        config.parse(names, until)
    count = min(max(count, 1), _MOST)
    return judged_nights(loaded, partitions_until(loaded, until or None, count))


def _names(judged: Sequence[JudgedNight]) -> list[str]:
    """The columns of the last nights, the one that drifted most in the last night first."""
    names = dict[str, None]()
    for night in reversed(judged[-7:]):
        names |= dict.fromkeys(feature.column for feature in night.judgement.drift.columns)
    return list(names)


def _points(found: Sequence[ColumnNight]) -> list[Point]:
    points, version = [], None
    for there in found:
        drift, night = there.drift, there.night
        values = {
            "psi": drift.psi if drift else None,
            "alarm": drift.threshold if drift else None,
            "nulls": there.null_rate,
            "before": drift.baseline_null_rate if drift else None,
            **there.summary,
        }
        text = f"{night.key}, {night.status.shown}, model version {night.version}"
        if drift is not None:
            text += f": PSI {drift.psi:.4g}, alarm above {drift.threshold:.4g}"
        if there.summary:
            text += f"; median {there.summary['p50']:.4g}, mean {there.summary['mean']:.4g}"
        if there.null_rate is not None:
            text += f"; nulls {there.null_rate:.2%}"
        mark = "is-warned" if drift is not None and drift.alarmed else ""
        event = took_over(version, night.version)
        points.append(Point(night.key, values, text, mark, event))
        version = night.version
    return points
