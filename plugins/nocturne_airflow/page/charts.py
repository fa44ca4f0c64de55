"""Charts of the page as SVG, drawn by the server: no script, and colours from the style sheet.

Every value reaches the page escaped. A chart has a name for people who can't see it, each point its
own text; the tables beside the charts have the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Point", "bars", "lines", "sparkline"]

_WIDTH, _LEFT, _RIGHT, _BELOW, _ABOVE = 720, 52, 12, 22, 10
_SPARK = (110, 22)
_LABELS = 7
"""About as many labels as fit below a chart."""


@dataclass(frozen=True)
class Point:
    """A night in a chart: its label and, for each series, a value or None.

    ``mark`` is the class of its dot, such as ``is-warned``; ``text`` is shown on hovering.
    ``event``: what began with this night, such as another model; a line across the chart says it.
    """

    label: str
    values: dict[str, float | None]
    text: str = ""
    mark: str = ""
    event: str = ""


def sparkline(values: Sequence[float | None], name: str) -> Markup:
    """A line without axes, with a dot on the last value; nothing if there are fewer than two."""
    known = [(i, v) for i, v in enumerate(values) if v is not None and math.isfinite(v)]
    if len(known) < 2:
        return Markup("")
    width, height = _SPARK
    place = _scale([v for _, v in known], height - 4, 4)
    points = [(4 + i * (width - 8) / (len(values) - 1), place(v)) for i, v in known]
    (x, y), path = points[-1], _path(points)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<path class="line" d="{}"/><circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/></svg>'
    ).format(width, height, name, path, x, y)


def lines(
    points: Sequence[Point],
    name: str,
    *,
    line: str,
    bands: Sequence[tuple[str, str]] = (),
    limit: str = "",
    height: int = 150,
    zero: bool = False,
    percent: bool = False,
    dots: bool = True,
) -> Markup:
    """A line over nights.

    Args:
        line: the series with a dot a night.
        bands: pairs of series, drawn as areas from the one to the other.
        limit: a series that is drawn dashed, such as the alarm level.
        zero: the axis begins at 0, if no value is negative.
        percent: the values are fractions.
        dots: False: only points with a mark have a dot.
    """
    wanted = [line, *(s for band in bands for s in band), *([limit] if limit else [])]
    values = [
        v for p in points for s in wanted if (v := p.values.get(s)) is not None and math.isfinite(v)
    ]
    if not values:
        return Markup('<p class="soft">{}: nothing was measured.</p>').format(name)
    low, high = (0.0, max(*values, 0.01)) if zero and min(values) >= 0 else _range(values)
    place = _scale([low, high], height - _BELOW, _ABOVE)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(points), 1)
    xs = [_LEFT + (i + 0.5) * step for i in range(len(points))]
    parts = [_axis(low, high, place, percent), _labels(points, xs, height)]
    parts += [_event(x - step / 2, height, p) for x, p in zip(xs, points, strict=True) if p.event]

    def drawn(*series: str) -> list[tuple[Point, list[tuple[float, float]]]]:
        """The points that have all of the series, each with its places."""
        found = []
        for x, point in zip(xs, points, strict=True):
            there = [v for s in series if (v := point.values.get(s)) is not None]
            if len(there) == len(series) and all(map(math.isfinite, there)):
                found.append((point, [(x, place(v)) for v in there]))
        return found

    for first, second in bands:
        if between := [places for _, places in drawn(first, second)]:
            around = [a for a, _ in between] + [b for _, b in reversed(between)]
            parts.append(Markup('<path class="band" d="{}Z"/>').format(_path(around)))
    if limit:
        level = [at for _, (at,) in drawn(limit)]
        parts.append(Markup('<path class="limit" d="{}"/>').format(_path(level)))
    along = drawn(line)
    parts.append(Markup('<path class="line" d="{}"/>').format(_path([at for _, (at,) in along])))
    parts += [_dot(*at, point) for point, (at,) in along if dots or point.mark]
    return _chart(name, height, parts)


def bars(
    labels: Sequence[str],
    now: Sequence[float],
    before: Sequence[float] | None,
    name: str,
    sides: tuple[str, str],
    height: int = 150,
) -> Markup:
    """Two histograms over the same bins: shares of rows, the second as a step behind the first."""
    high = max([*now, *(before or ()), 1e-9])
    place = _scale([0, high], height - _BELOW, _ABOVE)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    parts = [_axis(0, high, place, percent=True)]
    for i, label in enumerate(labels):
        x, y = _LEFT + i * step, place(now[i])
        text = f"{label}: {sides[0]} {now[i]:.1%}"
        if before is not None:
            text += f", {sides[1]} {before[i]:.1%}"
            behind = Markup(
                '<rect class="before" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
            )
            there = place(before[i])
            parts.append(behind.format(x, there, step, max(height - _BELOW - there, 0)))
        parts.append(
            Markup(
                '<rect class="now" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>{}</title></rect>"
            ).format(x + step * 0.15, y, step * 0.7, max(height - _BELOW - y, 0), text)
        )
    centres = [_LEFT + (i + 0.5) * step for i in range(len(labels))]
    parts.append(_labels([Point(label, {}) for label in labels], centres, height))
    return _chart(name, height, parts)


def _chart(name: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, height, name, Markup("").join(parts))


def _dot(x: float, y: float, point: Point) -> Markup:
    dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>')
    return dot.format(point.mark, x, y, 4 if point.mark else 2.5, point.text or point.label)


def _event(x: float, height: int, point: Point) -> Markup:
    line = Markup(
        '<line class="event" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"><title>{}: {}</title></line>'
    )
    return line.format(x, x, _ABOVE - 6, height - _BELOW, point.label, point.event)


def _axis(low: float, high: float, place: Callable[[float], float], percent: bool) -> Markup:
    ticks = dict.fromkeys((low, (low + high) / 2, high))
    return Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(
            _LEFT, _WIDTH - _RIGHT, place(v), place(v), _LEFT - 6, place(v) + 4, _short(v, percent)
        )
        for v in ticks
    )


def _labels(points: Sequence[Point], xs: Sequence[float], height: int) -> Markup:
    every = max(1, math.ceil(len(points) / _LABELS))
    shown = [(x, p) for i, (x, p) in enumerate(zip(xs, points, strict=True)) if i % every == 0]
    return Markup("").join(
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            x, height - 6, _cut(p.label)
        )
        for x, p in shown
    )


def _cut(label: str, most: int = 16) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _short(value: float, percent: bool) -> str:
    if percent:
        return f"{value:.1%}" if 0 < abs(value) < 0.1 else f"{value:.0%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (
        (low, high) if high > low else (low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5)
    )


def _scale(values: Sequence[float], bottom: float, top: float) -> Callable[[float], float]:
    """The place on the vertical axis of a value."""
    low, high = _range(values)
    return lambda value: bottom - (value / (high - low) - low / (high - low)) * (bottom - top)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""
