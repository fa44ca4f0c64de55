"""Builds a baseline from profiles of the training data, one for each training partition.

The baseline has, for each column, the counts of all training data and of each partition. Alarms are
calibrated by how much single training days differ from the rest. At 90 training partitions,
``baseline.json`` takes about 23 kB for each continuous column (half of it ``profile``, the fine
counts that histograms are drawn from) and 14 kB for a category of 16 values; the 10,000 distinct
values that a profile names at most add about 400 kB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nocturne.drift.bins import count_vector, frequent_values, most_frequent, quantile_edges
from nocturne.errors import ModelError, choices
from nocturne.records.drift import Baseline, ColumnBaseline
from nocturne.records.profile import ColumnProfile, Profile, mean_away

__all__ = ["BASELINE_VERSION", "build_baseline"]

BASELINE_VERSION = 1
"""Increased whenever bins or counts change their meaning."""


_KNOWN = 10_000
"""The most values of a category that a baseline names, as many as a profile."""


def build_baseline(
    partitions: Mapping[str, Profile],
    outputs: Sequence[str],
    importance: Mapping[str, float] | None = None,
) -> Baseline:
    """The baseline of a model from the profile of each partition that it was trained on.

    Args:
        partitions: partition key -> profile. All must count a column around the same centre.
        outputs: the columns that are predictions; they come last in ``columns``.
        importance: feature -> its weight in the share of drifted features.

    Raises:
        ModelError: there is no profile with rows, an output was not profiled, or the
            profiles of a column don't fit together.
    """
    filled = {key: profile for key, profile in sorted(partitions.items()) if profile.rows}
    if not filled:
        raise ModelError(
            f"a baseline needs the profile of at least one training partition with rows; got "
            f"{len(partitions)} without any. Profile the data that the model was trained on"
        )
    names = dict.fromkeys(name for profile in filled.values() for name in profile.columns)
    missing = [name for name in outputs if name not in names]
    if missing:
        raise ModelError(
            f"output {missing[0]!r} is in none of the training profiles, which have "
            f"{choices(names)}; profile the model's predictions on its training data too",
            missing=tuple(missing),
        )
    ordered = [name for name in names if name not in outputs] + list(outputs)
    segments = dict.fromkeys(name for profile in filled.values() for name in profile.segments)
    return Baseline(
        BASELINE_VERSION,
        _columns(filled, ordered),
        tuple(outputs),
        dict(importance or {}),
        {
            name: _columns(
                {
                    key: part
                    for key, profile in filled.items()
                    if (part := profile.segments.get(name)) and part.rows
                },
                ordered,
            )
            for name in segments
        },
    )


def _columns(partitions: Mapping[str, Profile], names: Sequence[str]) -> dict[str, ColumnBaseline]:
    """Each column, from the partitions that have it."""
    columns = {}
    for name in names:
        parts = {key: p.columns[name] for key, p in partitions.items() if name in p.columns}
        if parts:
            columns[name] = _column(name, parts)
    return columns


def _column(name: str, parts: Mapping[str, ColumnProfile]) -> ColumnBaseline:
    total = _sum_profiles(name, list(parts.values()))
    numeric = total.kind == "numeric"
    edges = quantile_edges(total) if numeric else ()
    values = () if numeric else frequent_values(total)
    return ColumnBaseline(
        kind=total.kind,
        center=total.center,
        edges=edges,
        values=values,
        counts=count_vector(total, edges, values),
        partitions={key: count_vector(part, edges, values) for key, part in parts.items()},
        known=() if numeric else tuple(sorted(total.counts)),
        profile=total,
    )


def _sum_profiles(name: str, parts: Sequence[ColumnProfile]) -> ColumnProfile:
    shapes = {(part.kind, part.center) for part in parts}
    if len(shapes) > 1:
        shapes_seen = " and ".join(f"{kind} around {center:g}" for kind, center in sorted(shapes))
        raise ModelError(
            f"column {name!r} was profiled as {shapes_seen}; expected one kind and one centre in "
            "all training partitions, so that their counts add up. Choose the centres once (the "
            "medians of the training data) and profile every partition with them",
            column=name,
        )
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    other = sum(part.other for part in parts)
    if parts[0].kind == "category":
        frequent = Counter({value: counts[value] for value in most_frequent(counts, _KNOWN)})
        other += counts.total() - frequent.total()
        counts = frequent
    minima = [part.minimum for part in parts if part.minimum is not None]
    maxima = [part.maximum for part in parts if part.maximum is not None]
    return ColumnProfile(
        kind=parts[0].kind,
        rows=sum(part.rows for part in parts),
        null=sum(part.null for part in parts),
        nan=sum(part.nan for part in parts),
        counts=dict(sorted(counts.items())),
        other=other,
        center=parts[0].center,
        away=mean_away(parts),
        minimum=min(minima, default=None),
        maximum=max(maxima, default=None),
    )
