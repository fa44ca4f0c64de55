"""A night's profile against the baseline: every column's drift, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from nocturne.drift.baseline import BASELINE_VERSION
from nocturne.drift.bins import count_vector
from nocturne.drift.metrics import METRICS, Counts
from nocturne.drift.positions import in_deviations
from nocturne.drift.threshold import Reference, reference, threshold
from nocturne.errors import ModelError, StateError, choices
from nocturne.records.drift import Baseline, ColumnBaseline, DriftResult, FeatureDrift, SegmentDrift
from nocturne.records.profile import ColumnProfile, Profile

__all__ = ["NO_BASELINE", "in_segment", "judge"]

NO_BASELINE = (
    "Drift was not measured: the model has no baseline. Build one from the profiles of its "
    "training partitions (nocturne.drift.build_baseline), log it with the model as "
    "baseline.json, and register that version."
)
_SHOWN_VALUES = 10


def judge(
    profile: Profile,
    baseline: Baseline | None,
    *,
    floor: float,
    day: date | None = None,
    history: Mapping[str, Sequence[float]] = {},
    page_share: float = 0.3,
) -> DriftResult:
    """Compare each column of ``profile`` that is in the baseline.

    Columns on one side only, and columns without rows, are named in the note: they can't be
    compared, and that must not look like "no drift".

    Args:
        floor: a PSI up to this never alarms.
        day: the night's day, to compare the night with training days of the same weekday.
        history: column (or ``in_segment``) -> the PSI of earlier nights that count as ordinary.
        page_share: from this share of drifted features on, a person should look.

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
    overall = _compare(profile, baseline.columns, baseline.outputs, floor, day, history)
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
        _note("Not comparable", overall.skipped),
        _note("Segments without a baseline", profile.segments.keys() - baseline.segments),
        _note(
            "Too many distinct values in training to know them all, so rare known ones may count "
            "as new",
            [name for name, c in baseline.columns.items() if c.profile and c.profile.other],
        ),
    ]
    share = _share(overall.columns, baseline.importance)
    scores = any(f.alarmed for f in overall.columns if f.is_output)
    return DriftResult(
        columns=overall.columns,
        note=" ".join(note for note in notes if note),
        paged=scores or share >= page_share,
        share=share,
        reference=_in_words(overall.references, day),
        segments=tuple(
            sorted(segments, key=lambda s: (-sum(c.alarmed for c in s.columns), s.name))
        ),
    )


@dataclass(frozen=True)
class _Compared:
    """Columns, worst first; columns that can't be compared; and the references."""

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
    compared, skipped, references = [], [], []
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
            compared.append(
                _feature(name, column, before, references[-1], is_output, floor, earlier)
            )
    compared.sort(key=lambda f: (-f.excess, f.column))
    return _Compared(tuple(compared), skipped, references)


def in_segment(segment: str, column: str) -> str:
    """The name under which ``history`` has a segment's column."""
    return f"{segment}: {column}"


def _share(compared: Sequence[FeatureDrift], importance: Mapping[str, float]) -> float:
    """The share of the features that drifted, weighted by importance, from 0 to 1."""
    weights_known = [importance[f.column] for f in compared if f.column in importance]
    ordinary = sum(weights_known) / len(weights_known) if weights_known else 1.0
    weights = {f.column: importance.get(f.column, ordinary) for f in compared if not f.is_output}
    total = sum(weights.values())
    return (
        sum(weights[f.column] for f in compared if f.alarmed and not f.is_output) / total
        if total
        else 0.0
    )


def _in_words(references: Iterable[Reference], day: date | None) -> str:
    by_weekday = {r.partitions for r in references if r.weekday}
    if day is None or not by_weekday:
        return "all training partitions"
    return f"the {max(by_weekday)} {day:%A}s of the training data"


def _note(title: str, names: Iterable[str]) -> str:
    listed = list(names)
    return f"{title}: {choices(listed)}." if listed else ""


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
    metrics = _metrics(column, trained, against, counts)
    limit = threshold(against, counts, floor, earlier)
    new = _new_values(column, trained)
    return FeatureDrift(
        column=name,
        kind=column.kind,
        is_output=is_output,
        metrics=metrics,
        threshold=limit,
        alarmed=metrics["psi"] > limit,
        null_rate=counts[-1] / column.rows,
        baseline_null_rate=against.counts[-1] / sum(against.counts),
        new_rate=sum(new.values()) / column.rows,
        new_values=tuple(new)[:_SHOWN_VALUES],
        counts=counts,
    )


def _metrics(
    column: ColumnProfile, trained: ColumnBaseline, against: Reference, counts: Counts
) -> dict[str, float]:
    """Every metric by name; 0 if it is not for such a column, or needs positions and has none."""
    bins: tuple[Counts, ...] = (against.counts, counts)
    values = {}
    for name, metric in METRICS.items():
        fits = column.kind in metric.kinds
        arguments = (
            bins if not metric.positions else in_deviations(column, trained) if fits else None
        )
        values[name] = metric.measure(*arguments) if fits and arguments is not None else 0.0
    return values


def _new_values(column: ColumnProfile, reference: ColumnBaseline) -> dict[str, int]:
    """Categories that training never saw, most frequent first."""
    if column.kind != "category":
        return {}
    known = set(reference.known)
    new = {value: count for value, count in column.counts.items() if value not in known}
    return dict(sorted(new.items(), key=lambda item: (-item[1], item[0])))
