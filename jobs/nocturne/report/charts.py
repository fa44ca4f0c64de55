"""The report's charts as Vega-Lite specs: plain JSON, drawn by one Vega in the page.

Colours are not in here: marks carry a style name, and the page fills in its light or dark
palette. Values that come from data are only ever data, never a field name or an expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nocturne.report.histograms import Histogram

__all__ = ["Spec", "category_bars", "heat_map", "numeric_bars", "rows_by_day", "scores_by_day"]

Spec = dict[str, Any]
Row = Mapping[str, Any]

HEAT_LEVELS = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Steps of the heat map's colours, in multiples of the alarm level."""

_LABELS = 28


def short(value: float | None) -> float | None:
    """Five significant digits: enough for a plot, and a third of the bytes."""
    return None if value is None else float(f"{value:.5g}")


def clip(text: str, limit: int = _LABELS) -> str:
    """The text, cut with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _quantitative(field: str, title: str | None = None, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **more}


def _tip(field: str, title: str, format_: str | None = None) -> Spec:
    tip: Spec = {"field": field, "type": "nominal", "title": title}
    return tip if format_ is None else {**tip, "type": "quantitative", "format": format_}


_SHARES = [_tip("c", "this partition", ".2~%"), _tip("b", "baseline", ".2~%")]


def numeric_bars(histogram: Histogram) -> Spec:
    """Baseline as filled bars, this partition as a line around its own."""
    rows = [
        {"l": b.label, "x": short(b.low), "y": short(b.high), "c": short(b.current),
         "b": short(b.baseline)}
        for b in histogram.bins
    ]  # fmt: skip
    x = _quantitative("x", scale={"zero": False, "nice": False}, axis={"grid": False})
    share: Spec = {"axis": {"format": "%", "tickCount": 3}, "stack": None}
    outline = [{"x": r["x"], "c": r["c"]} for r in rows]
    if rows:
        outline = [
            {"x": rows[0]["x"], "c": 0},
            *outline,
            {"x": rows[-1]["y"], "c": rows[-1]["c"]},
            {"x": rows[-1]["y"], "c": 0},
        ]
    return {
        "width": "container",
        "height": 110,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "bar", "style": "baseline", "binSpacing": 0},
             "encoding": {"x": x, "x2": {"field": "y"}, "y": _quantitative("b", **share)}},
            {"data": {"values": outline},
             "mark": {"type": "line", "style": "current", "interpolate": "step-after"},
             "encoding": {"x": x, "y": _quantitative("c", **share)}},
            {"mark": {"type": "rect", "style": "touch"},
             "encoding": {"x": x, "x2": {"field": "y"},
                          "tooltip": [_tip("l", "from"), *_SHARES]}},
        ],
    }  # fmt: skip


def category_bars(histogram: Histogram) -> Spec:
    """One row a value: baseline as a wide pale bar, this partition as a narrow one on it."""
    rows = [
        {"n": i, "l": clip(b.label), "c": short(b.current), "b": short(b.baseline)}
        for i, b in enumerate(histogram.bins)
    ]
    y = {
        "field": "n", "type": "ordinal", "title": None,
        "axis": {"labelExpr": _lookup([r["l"] for r in rows]), "labelLimit": 120, "ticks": False},
    }  # fmt: skip
    share: Spec = {"axis": {"format": "%", "tickCount": 3}, "stack": None}
    return {
        "width": "container",
        "height": {"step": 17},
        "data": {"values": rows},
        "encoding": {"y": y, "tooltip": [_tip("l", "value"), *_SHARES]},
        "layer": [
            {"mark": {"type": "bar", "style": "baseline", "height": {"band": 0.92}},
             "encoding": {"x": _quantitative("b", **share)}},
            {"mark": {"type": "bar", "style": "currentBar", "height": {"band": 0.42}},
             "encoding": {"x": _quantitative("c", **share)}},
        ],
    }  # fmt: skip
