"""Charts over days as Vega-Lite specs: drift of the columns, the scores, the rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nocturne.report.days import Day, JudgedDay
from nocturne.report.vega import FIT, Spec, labels, number, short, tips

__all__ = ["HEAT_LEVELS", "figure_by_day", "heat_map", "rows_by_day", "scores_by_day"]

HEAT_LEVELS = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Steps of the heat map's colours, as multiples of the alarm level."""

_LINED = 100
"""Up to this many days, cells have lines between them; with more, lines would hide the cells."""

_ROOM = {"left": 5, "top": 5, "right": 28, "bottom": 5}
"""Padding around a chart; on the right there is room for half of a day's label."""


def _days_axis(domain: Sequence[str]) -> Spec:
    axis = {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 12, "grid": False}
    scale = {"domain": list(domain)}
    return {"field": "d", "type": "ordinal", "title": None, "axis": axis, "scale": scale}


def _promotions(days: Sequence[tuple[str, str]]) -> list[Spec]:
    """A line where other model versions took over, with both in its tooltip; none if none did.

    Args:
        days: (key, versions) of each day.
    """
    changes = [
        {"d": key, "m": f"{before} to {now}"}
        for (_, before), (key, now) in pairwise(days)
        if before != now
    ]
    if not changes:
        return []
    return [
        {
            "data": {"values": changes},
            "mark": {"type": "rule", "style": "promotion"},
            "encoding": {"y": None, "tooltip": tips(d="day", m="model version")},
        }
    ]


def _models(days: Sequence[Day]) -> list[tuple[str, str]]:
    return [(day.key, day.model) for day in days]


def heat_map(features: Sequence[str], days: Sequence[Day], domain: Sequence[str]) -> Spec:
    """Every feature's PSI over its alarm level, one column for each day; alarms have a dot."""
    names = dict(zip(features, labels(features), strict=True))
    rows = [
        {
            "d": day.key,
            "f": names[drift.column],
            "r": short(drift.excess),
            "a": drift.alarmed,
            "p": short(drift.psi),
            "t": short(drift.threshold),
        }
        for day in days
        for drift in day.drift
        if drift.column in names
    ]
    y: Spec = {"field": "f", "type": "nominal", "title": None, "sort": None}
    y |= {"axis": {"ticks": False, "domain": False}, "scale": {"domain": list(names.values())}}
    lines: Spec = {"strokeWidth": 0} if len(domain) > _LINED else {}
    color = number("r", scale={"type": "threshold", "domain": HEAT_LEVELS, "range": "heatmap"})
    return {
        "description": "Drift of the columns over days, as a multiple of the alarm level",
        "width": "container",
        "autosize": FIT,
        "padding": _ROOM,
        "height": 18 * len(names),
        "data": {"values": rows},
        "encoding": {
            "x": _days_axis(domain),
            "y": y,
            "tooltip": tips(d="day", f="column", p="PSI|.4~g", t="alarm above|.4~g"),
        },
        "layer": [
            {
                "mark": {"type": "rect", "style": "cell", **lines},
                "encoding": {"color": {**color, "legend": None}},
            },
            {
                "transform": [{"filter": "datum.a"}],
                # Its cell says it to screen readers; without any alarm it is an empty mark.
                "mark": {"type": "point", "style": "alarm", "size": 10, "aria": False},
            },
            *_promotions(_models(days)),
        ],
    }


def scores_by_day(
    output: str, days: Sequence[Day], domain: Sequence[str], reference: Sequence[float] = ()
) -> Spec:
    """The score's median in bands of half and of nine tenths of its rows; this day stands out.

    Args:
        reference: the baseline's 5%, median and 95%, drawn as dashed lines.
    """
    rows = [
        {"d": day.key, "v": day.verdict, "m": day.model, "now": day.is_current}
        | {name: short(value) for name, value in day.scores[output].items()}
        for day in days
        if output in day.scores
    ]
    tooltip = tips(d="day", p95="95%|.4~g", p75="75%|.4~g", p50="median|.4~g", p25="25%|.4~g")
    tooltip += tips(p05="5%|.4~g", mean="mean|.4~g", m="model version", v="verdict")
    point = {"type": "point", "style": "current", "filled": True}
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "style": "outerBand"},
            "encoding": {"y": number("p05"), "y2": {"field": "p95"}},
        },
        {
            "mark": {"type": "area", "style": "innerBand"},
            "encoding": {"y": number("p25"), "y2": {"field": "p75"}},
        },
    ]
    if reference:
        layers.append(
            {
                "data": {"values": [{"y": short(value)} for value in reference]},
                "mark": {"type": "rule", "style": "reference"},
                "encoding": {"y": number("y"), "x": None},
            }
        )
    layers += [
        {"mark": {"type": "line", "style": "current"}, "encoding": {"y": number("p50")}},
        {"mark": {**point, "size": 22}, "encoding": {"y": number("p50"), "tooltip": tooltip}},
    ]
    if any(row["now"] for row in rows):
        layers.append(
            {
                "transform": [{"filter": "datum.now"}],
                "mark": {**point, "size": 110},
                "encoding": {"y": number("p50"), "tooltip": tooltip},
            }
        )
    layers += _promotions(_models(days))
    return {
        "description": f"{output} over days: median, half and nine tenths of the rows",
        "width": "container",
        "autosize": FIT,
        "padding": _ROOM,
        "height": 190,
        "data": {"values": rows},
        "encoding": {"x": _days_axis(domain)},
        "layer": layers,
    }


def rows_by_day(days: Sequence[Day], domain: Sequence[str]) -> Spec:
    """Rows in, one bar for each day; this day stands out, with its ordinary range as a band."""
    rows = [
        {
            "d": day.key,
            "n": day.rows_in,
            "q": day.quarantined,
            "v": day.verdict,
            "now": day.is_current,
        }
        | ({"low": day.ordinary[0], "high": day.ordinary[1]} if day.ordinary else {})
        for day in days
    ]
    tooltip = tips(d="day", n="rows in|,", q="quarantined|,", v="verdict")
    y = number("n", axis={"format": "~s", "tickCount": 3})
    layers: list[Spec] = [{"mark": {"type": "bar", "style": "baseline"}}]
    if any(row["now"] for row in rows):
        now = {"type": "bar", "style": "currentBar"}
        layers.append({"transform": [{"filter": "datum.now"}], "mark": now})
    if any(day.ordinary for day in days):
        layers.append(
            {
                "transform": [{"filter": "isValid(datum.high)"}],
                "mark": {"type": "bar", "style": "ordinaryRange"},
                "encoding": {
                    "y": number("low", axis={"format": "~s", "tickCount": 3}),
                    "y2": {"field": "high"},
                    "tooltip": tips(d="day", low="ordinary from|,", high="to|,"),
                },
            }
        )
    layers += _promotions(_models(days))
    return {
        "description": "Rows over days",
        "width": "container",
        "autosize": FIT,
        "padding": _ROOM,
        "height": 80,
        "data": {"values": rows},
        "encoding": {"x": _days_axis(domain), "y": y, "tooltip": tooltip},
        "layer": layers,
    }


def figure_by_day(name: str, days: Sequence[JudgedDay], domain: Sequence[str]) -> Spec:
    """A figure by the labels, its interval as a band; dashed what was expected before they came."""
    rows = [
        {"d": day.key, "m": day.model, "v": short(day.value), "e": short(day.expected)}
        | ({"low": short(day.low), "high": short(day.high)} if day.low is not None else {})
        for day in days
    ]
    tooltip = tips(d="day", v="by labels|.4~g", low="from|.4~g", high="to|.4~g")
    tooltip += tips(e="expected|.4~g", m="model version")
    y = {"scale": {"zero": False}}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "isValid(datum.high)"}],
            "mark": {"type": "area", "style": "innerBand"},
            "encoding": {"y": number("low", **y), "y2": {"field": "high"}},
        },
        {
            "transform": [{"filter": "isValid(datum.e)"}],
            "mark": {"type": "line", "style": "reference"},
            "encoding": {"y": number("e", **y)},
        },
        {
            "transform": [{"filter": "isValid(datum.v)"}],
            "mark": {"type": "line", "style": "current"},
            "encoding": {"y": number("v", **y)},
        },
        {
            "transform": [{"filter": "isValid(datum.v)"}],
            "mark": {"type": "point", "style": "current", "filled": True, "size": 22},
            "encoding": {"y": number("v", **y), "tooltip": tooltip},
        },
        *_promotions([(day.key, day.model) for day in days]),
    ]
    return {
        "description": f"{name} over days, by labels",
        "width": "container",
        "autosize": FIT,
        "padding": _ROOM,
        "height": 170,
        "data": {"values": rows},
        "encoding": {"x": _days_axis(domain)},
        "layer": layers,
    }
