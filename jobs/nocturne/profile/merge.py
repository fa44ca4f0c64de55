"""Merges profiles: counts add exactly; means are added in the order of the profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nocturne.profile.accumulate import most_frequent
from nocturne.profile.distinct import estimate, union
from nocturne.records.profile import ColumnProfile, Profile, mean_away

__all__ = ["merge"]


def _merge_column(parts: Sequence[ColumnProfile]) -> ColumnProfile:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    other = sum(p.other for p in parts)
    named, sketch = dict(counts), ""
    if parts[0].kind == "category":
        named, beyond = most_frequent(counts)
        other += beyond
        if other:
            sketch = union((p.sketch for p in parts), counts)
    return ColumnProfile(
        kind=parts[0].kind,
        rows=sum(p.rows for p in parts),
        null=sum(p.null for p in parts),
        nan=sum(p.nan for p in parts),
        counts=named,
        other=other,
        center=parts[0].center,
        away=mean_away(parts),
        minimum=min((p.minimum for p in parts if p.minimum is not None), default=None),
        maximum=max((p.maximum for p in parts if p.maximum is not None), default=None),
        distinct=estimate(sketch) if sketch else None,
        sketch=sketch,
    )


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile of all rows; an empty sequence gives an empty profile.

    Segments that a part did not count are left out.
    """
    names = dict.fromkeys(name for profile in profiles for name in profile.columns)
    segments = [
        name
        for name in (profiles[0].segments if profiles else ())
        if all(name in profile.segments for profile in profiles)
    ]
    return Profile(
        rows=sum(p.rows for p in profiles),
        columns={
            name: _merge_column([p.columns[name] for p in profiles if name in p.columns])
            for name in names
        },
        segments={name: merge([p.segments[name] for p in profiles]) for name in segments},
    )
