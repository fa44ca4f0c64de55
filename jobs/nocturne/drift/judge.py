"""A night's profile against the baseline: every column's drift, worst first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from nocturne.drift.baseline import BASELINE_VERSION
from nocturne.drift.bins import count_vector
from nocturne.drift.metrics import METRICS, wasserstein
from nocturne.drift.threshold import Reference, reference, threshold
from nocturne.errors import ModelError, StateError, choices
from nocturne.records import (
    Baseline,
    ColumnBaseline,
    ColumnProfile,
    DriftResult,
    FeatureDrift,
    Profile,
    SegmentDrift,
)
from nocturne.records.buckets import lower_bounds, rank

__all__ = ["NO_BASELINE", "in_segment", "judge"]

NO_BASELINE = (
    "Drift was not measured: the model has no baseline. Build one from the profiles of its "
    "training partitions (nocturne.drift.build_baseline), log it with the model as "
    "baseline.json, and register that version."
)
_SHOWN_VALUES = 10

_FARTHEST = 1e300
"""A distance from the centre that lies further out counts as this."""


def judge(
    profile: Profile,
    baseline: Baseline | None,
    *,
    floor: float,
    day: date | None = None,
    history: Mapping[str, Sequence[float]] = {},
    page_share: float = 0.3,
) -> DriftResult:
    """Each column of ``profile`` that the baseline knows, judged against it.

    Columns on one side only, and columns without rows, are named in the note: they can't
    be compared, and that must not look like "no drift".

    Args:
        floor: no alarm at a PSI up to this.
        day: the night's, to compare it with training days of its weekday.
        history: column (or ``in_segment``) -> the PSI of earlier nights that count as ordinary.
        page_share: from which share of the drifted features on a person should look.

    Raises:
        ModelError: the baseline is of another version.
        StateError: a column was counted around another centre than the baseline's.
    """
    if baseline is None:
        return DriftResult(note=NO_BASELINE)
    if baseline.version != BASELINE_VERSION:
        raise ModelError(
            f"the model's baseline is of version {baseline.version}; expected "
            f"{BASELINE_VERSION}. Build it with this version of Nocturne and log the model again",
            version=baseline.version,
        )
    whole = _compare(profile, baseline.columns, baseline.outputs, floor, day, history)
    segments = [
        SegmentDrift(name, part.rows, compared.columns)
        for name, part in profile.segments.items()
        if name in baseline.segments
        and (
            compared := _compare(
                part,
                baseline.segments[name],
                baseline.outputs,
                floor,
                day,
                {column: history.get(in_segment(name, column), ()) for column in part.columns},
            )
        ).columns
    ]
    notes = [
        _note("In the data but not in the baseline", profile.columns.keys() - baseline.columns),
        _note("In the baseline but not in the data", baseline.columns.keys() - profile.columns),
        _note("Not comparable", whole.skipped),
        _note("Segments without a baseline", profile.segments.keys() - baseline.segments),
        _note(
            "Too many distinct values in training to know them all, so rare known ones may count "
            "as new",
            [name for name, c in baseline.columns.items() if c.profile and c.profile.other],
        ),
    ]
    share = _share(whole.columns, baseline.importance)
    scores = any(f.alarmed for f in whole.columns if f.is_output)
    return DriftResult(
        columns=whole.columns,
        note=" ".join(note for note in notes if note),
        paged=scores or share >= page_share,
        share=share,
        reference=_in_words(whole.references, day),
        segments=tuple(
            sorted(segments, key=lambda s: (-sum(c.alarmed for c in s.columns), s.name))
        ),
    )


@dataclass(frozen=True)
class _Compared:
    """Columns, worst first; those that can't be compared; and what was compared with."""

    columns: tuple[FeatureDrift, ...]
    skipped: list[str]
    references: list[Reference]


def _compare(
    profile: Profile,
    trained: Mapping[str, ColumnBaseline],
    outputs: Sequence[str],
    floor: float,
    day: date | None,
    history: Mapping[str, Sequence[float]],
) -> _Compared:
    found, skipped, references = [], [], []
    for name, column in profile.columns.items():
        before = trained.get(name)
        if before is None:
            continue
        if before.kind != column.kind:
            skipped.append(f"{name!r} (now {column.kind}, {before.kind} in training)")
        elif not column.rows:
            skipped.append(f"{name!r} (no rows)")
        elif not sum(before.counts):
            skipped.append(f"{name!r} (no rows in training)")
        else:
            references.append(reference(before, day))
            earlier, is_output = history.get(name, ()), name in outputs
            found.append(_feature(name, column, before, references[-1], is_output, floor, earlier))
    found.sort(key=lambda f: (-f.excess, f.column))
    return _Compared(tuple(found), skipped, references)


def in_segment(segment: str, column: str) -> str:
    """The name under which ``history`` has a segment's column."""
    return f"{segment}: {column}"


def _share(found: Sequence[FeatureDrift], importance: Mapping[str, float]) -> float:
    """Of the features that drifted, weighted by importance; 0 to 1."""
    known = [importance[f.column] for f in found if f.column in importance]
    ordinary = sum(known) / len(known) if known else 1.0
    weights = {f.column: importance.get(f.column, ordinary) for f in found if not f.is_output}
    total = sum(weights.values())
    return (
        sum(weights[f.column] for f in found if f.alarmed and not f.is_output) / total
        if total
        else 0.0
    )


def _in_words(references: Iterable[Reference], day: date | None) -> str:
    by_weekday = {r.partitions for r in references if r.weekday}
    if day is None or not by_weekday:
        return "all training partitions"
    return f"the {max(by_weekday)} {day:%A}s of the training data"


def _note(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    return f"{what}: {choices(listed)}." if listed else ""


def _feature(
    name: str,
    column: ColumnProfile,
    trained: ColumnBaseline,
    against: Reference,
    is_output: bool,
    floor: float,
    earlier: Sequence[float],
) -> FeatureDrift:
    if column.kind == "numeric" and column.center != trained.center:
        raise StateError(
            f"column {name!r} was counted around {column.center!r}, its baseline around "
            f"{trained.center!r}; expected the same centre. The scores were profiled for "
            "another model's baseline: prepare and score the partition again",
            column=name,
        )
    counts = count_vector(column, trained.edges, trained.values)
    psi = METRICS["psi"](against.counts, counts)
    limit = threshold(against, counts, floor, earlier)
    new = _new_values(column, trained)
    return FeatureDrift(
        column=name,
        kind=column.kind,
        is_output=is_output,
        psi=psi,
        js=METRICS["js"](against.counts, counts),
        threshold=limit,
        alarmed=psi > limit,
        null_rate=counts[-1] / column.rows,
        baseline_null_rate=against.counts[-1] / sum(against.counts),
        new_rate=sum(new.values()) / column.rows,
        new_values=tuple(new)[:_SHOWN_VALUES],
        counts=counts,
        wasserstein=_moved(column, trained),
        ks=METRICS["ks"](against.counts, counts) if column.kind == "numeric" else 0.0,
        linf=METRICS["linf"](against.counts, counts),
    )


def _moved(column: ColumnProfile, trained: ColumnBaseline) -> float:
    """Wasserstein distance from the training data in its standard deviations, on fine buckets.

    Both are taken around the centre, from the same places of the buckets: of values that are large
    beside their deviation, nothing cancels, and what a bucket's width adds to one it adds to both.
    """
    if trained.profile is None or column.kind != "numeric":
        return 0.0
    one, other = trained.profile.counts, column.counts
    if len(one) < 2 or not other:
        return 0.0
    ids = np.array(sorted({*map(int, one), *map(int, other)}), dtype=np.int64)
    ids = ids[np.argsort(rank(ids))]
    then, now = (np.array([found.get(str(i), 0) for i in ids.tolist()]) for found in (one, other))
    places = _places(ids, [trained.profile, column])
    places = places / (np.abs(places).max() or 1.0)  # squares would overflow
    deviation = math.sqrt(np.cov(places, fweights=then, ddof=0))
    return wasserstein(then, now, places) / deviation if deviation > 0 else 0.0


def _places(ids: NDArray[np.int64], sides: Sequence[ColumnProfile]) -> NDArray[np.float64]:
    """Where the rows of each bucket [n] are taken to lie, less the centre.

    Not beyond the least and the greatest value of all: the outermost buckets have no end.
    """
    least = min((s.minimum - s.center for s in sides if s.minimum is not None), default=-_FARTHEST)
    most = max((s.maximum - s.center for s in sides if s.maximum is not None), default=_FARTHEST)
    ends = float(max(least, -_FARTHEST)), float(min(most, _FARTHEST))
    low, high = (np.clip(lower_bounds(rank(ids) + end, 0.0), *ends) for end in (0, 1))
    return np.asarray(low / 2 + high / 2)


def _new_values(column: ColumnProfile, reference: ColumnBaseline) -> dict[str, int]:
    """Categories that training never saw, most frequent first."""
    if column.kind != "category":
        return {}
    known = set(reference.known)
    new = {value: count for value, count in column.counts.items() if value not in known}
    return dict(sorted(new.items(), key=lambda item: (-item[1], item[0])))
