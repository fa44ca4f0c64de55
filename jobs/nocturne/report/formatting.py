"""Formats texts and numbers for the report."""

from __future__ import annotations

from nocturne.hiding import encodable

__all__ = ["cut", "duration", "figure", "percent"]


def cut(text: object, limit: int = 80) -> str:
    """The text, cut to ``limit`` characters, with characters that can't be encoded replaced."""
    string = encodable(text)
    return string if len(string) <= limit else string[: limit - 1] + "…"


def figure(value: float) -> str:
    """Three digits after the point, or three significant ones if it is smaller."""
    return f"{value:.3f}" if abs(value) >= 0.001 or not value else f"{value:.2g}"


def percent(share: float) -> str:
    """A fraction in percent; a fraction above zero is never shown as 0%."""
    if not share:
        return "0%"
    return "<0.1%" if share < 0.001 else f"{share:.1%}"


def duration(seconds: float) -> str:
    """In hours and minutes; in days from two days on."""
    minutes = int(seconds // 60)
    if minutes >= 2 * 24 * 60:
        return f"{minutes // (24 * 60):,} days"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
