"""Histograms as Vega-Lite specs: the baseline filled, this partition drawn over it."""

from __future__ import annotations

from nocturne.report.histograms import Histogram
from nocturne.report.vega import FIT, Spec, labels, number, short, tips

__all__ = ["category_bars", "numeric_bars"]

_SHARE: Spec = {"axis": {"format": "%", "tickCount": 3}, "stack": None}


def numeric_bars(histogram: Histogram, height: int) -> Spec:
    """Baseline as filled bars, this partition as a line along the tops of its own."""
    rows: list[Spec] = [
        {
            "l": b.label,
            "x": short(b.low),
            "y": short(b.high),
            "c": short(b.current),
            "b": short(b.baseline),
        }
        for b in histogram.bins
    ]
    first, last = rows[0], rows[-1]
    outline = [
        {"x": first["x"], "c": 0},
        *({"x": row["x"], "c": row["c"]} for row in rows),
        {"x": last["y"], "c": last["c"]},
        {"x": last["y"], "c": 0},
    ]
    x = number(
        "x",
        scale={"zero": False, "nice": False},
        axis={"grid": False, "tickCount": 5, "format": _format(histogram)},
    )
    return {
        "width": "container",
        "autosize": FIT,
        "height": height,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "rect", "style": "baseline"},
                "encoding": {
                    "x": x,
                    "x2": {"field": "y"},
                    "y": number("b", **_SHARE),
                    "y2": {"datum": 0},
                },
            },
            {
                "data": {"values": outline},
                "mark": {"type": "line", "style": "current", "interpolate": "step-after"},
                "encoding": {
                    "x": x,
                    "y": number("c", **_SHARE),
                    "order": {"value": None},
                },
            },
            {
                "mark": {"type": "rect", "style": "touch"},
                "encoding": {
                    "x": x,
                    "x2": {"field": "y"},
                    "tooltip": tips(l="from", c="this partition|.1%", b="baseline|.1%"),
                },
            },
        ],
    }


def _format(histogram: Histogram) -> str:
    """The format of an axis: plain numbers (2013, not 2,013) unless they get long."""
    largest = max(abs(histogram.bins[0].low), abs(histogram.bins[-1].high))
    if largest >= 1e5:
        return "~s"
    return "~r" if largest >= 1e-3 else "~e"


def category_bars(histogram: Histogram, height: int) -> Spec:
    """A row for each value: the baseline as a wide pale bar, this partition as a narrow one."""
    names = labels([b.label for b in histogram.bins])
    rows = [
        {"l": label, "c": short(b.current), "b": short(b.baseline)}
        for label, b in zip(names, histogram.bins, strict=True)
    ]
    y: Spec = {"field": "l", "type": "nominal", "title": None, "sort": None}
    return {
        "width": "container",
        "autosize": FIT,
        "height": max(height * len(rows) // max(len(rows), 6), 13 * len(rows)),
        "data": {"values": rows},
        "encoding": {
            "y": {**y, "axis": {"ticks": False, "domain": False}},
            "tooltip": tips(l="value", c="this partition|.1%", b="baseline|.1%"),
        },
        "layer": [
            {
                "mark": {"type": "bar", "style": "baseline", "height": {"band": 0.95}},
                "encoding": {"x": number("b", **_SHARE)},
            },
            {
                "mark": {"type": "bar", "style": "currentBar", "height": {"band": 0.4}},
                "encoding": {"x": number("c", **_SHARE)},
            },
        ],
    }
