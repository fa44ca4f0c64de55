"""What the report of a range says of the truth."""

from __future__ import annotations

from collections.abc import Sequence

from nocturne.config import Loaded
from nocturne.operate.truth.over_nights import (
    TruthNight,
    figures_of,
    parts_of,
    trust_now,
    truth_nights,
)
from nocturne.records.manifest import PublishedNight
from nocturne.records.truth import BETTER
from nocturne.report import JudgedDay, TruthSection
from nocturne.truth import pooled

__all__ = ["truth_section"]

_FIGURES = 8


def truth_section(loaded: Loaded, nights: Sequence[PublishedNight]) -> TruthSection | None:
    """The section about the labels of published nights; None if none came.

    Args:
        nights: the oldest first.
    """
    labels = loaded.pipeline.labels
    found = truth_nights(loaded, nights)
    names = figures_of(found, list(labels.metrics) if labels else ())
    names = [name for name in names if name != "positive"][:_FIGURES]
    if not names:
        return None
    trust = trust_now(found)
    expects = any(night.estimate for night in found) and trust is not None
    doubt = "" if trust is None or trust.believed is not False else "Do not believe it: "
    return TruthSection(
        {name: [_day(night, name) for night in found] for name in names},
        f"{doubt}{trust.why}." if expects and trust is not None else "",
        _rows(found, names),
        _against(found, names),
    )


def _day(night: TruthNight, name: str) -> JudgedDay:
    low, high = night.figure(f"{name}_low"), night.figure(f"{name}_high")
    expected = night.estimate.get(name)
    return JudgedDay(night.key, str(night.version), night.figure(name), low, high, expected)


def _rows(
    found: Sequence[TruthNight], names: Sequence[str]
) -> list[tuple[str, int, dict[str, float]]]:
    """Each part's rows, and the mean of its figures over the nights that have them."""
    lines = []
    for part, told in parts_of(found).items():
        rows = sum(int(night.figure("rows", part) or 0) for night in found)
        means = {}
        for name in names:
            values = [v for night in found if (v := night.figure(name, part)) is not None]
            if values:
                means[name] = sum(values) / len(values)
        lines.append((told, rows, means))
    return lines


def _against(found: Sequence[TruthNight], names: Sequence[str]) -> list[tuple[str, str, int, str]]:
    by_pair: dict[tuple[str, str], list[float]] = {}
    for night in found:
        for challenger, against in (night.truth.against if night.truth else {}).items():
            of = f"{challenger} (version {against.version}) less version {night.version}"
            for name, difference in against.differences.items():
                if name in names and name in BETTER:
                    by_pair.setdefault((of, name), []).append(difference.value)
    lines = []
    for (of, name), values in by_pair.items():
        lines.append((of, name, len(values), pooled(values).told))
    return lines
