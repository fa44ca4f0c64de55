"""Small pieces of Vega-Lite that every chart of the report uses.

The specs have no colours: marks have the name of a style, and the page adds its light or dark
palette. Values that come from data are always data, never the name of a field or an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["FIT", "Spec", "labels", "number", "short", "tips"]

Spec = dict[str, Any]

FIT: Spec = {"type": "fit-x", "contains": "padding"}
"""A chart as wide as its card, on a phone too."""

_LABEL = 24


def short(value: float | None) -> float | None:
    """Five significant digits: enough for a plot, and a third of the bytes."""
    return None if value is None else float(f"{value:.5g}")


def labels(texts: Sequence[str]) -> list[str]:
    """The texts cut to what an axis can show, and still different from one another."""
    shortened: list[str] = []
    for text in texts:
        label = text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
        while label in shortened:
            label += "'"
        shortened.append(label)
    return shortened


def number(field: str, **more: Any) -> Spec:
    """A quantitative channel without a title."""
    return {"field": field, "type": "quantitative", "title": None, **more}


def tips(**titles: str) -> list[Spec]:
    """Tooltip lines, title by field; a format may follow the title: ``"baseline|.1%"``."""
    lines: list[Spec] = []
    for field, text in titles.items():
        title, _, form = text.partition("|")
        kind = {"type": "quantitative", "format": form} if form else {"type": "nominal"}
        lines.append({"field": field, "title": title, **kind})
    return lines
