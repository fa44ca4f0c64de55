"""A night's profile against the baseline: every column's drift, worst first."""

from __future__ import annotations

from collections.abc import Iterable

from nocturne.drift.baseline import BASELINE_VERSION
from nocturne.drift.bins import count_vector
from nocturne.drift.metrics import METRICS
from nocturne.drift.threshold import threshold
from nocturne.errors import ModelError, StateError, choices
from nocturne.records import (
    Baseline,
    ColumnBaseline,
    ColumnProfile,
    DriftResult,
    FeatureDrift,
    Profile,
)

__all__ = ["NO_BASELINE", "judge"]

NO_BASELINE = (
    "Drift was not measured: the model has no baseline. Build one from the profiles of its "
    "training partitions (nocturne.drift.build_baseline), log it with the model as "
    "baseline.json, and register that version."
)
_SHOWN_VALUES = 10


def judge(profile: Profile, baseline: Baseline | None, *, floor: float) -> DriftResult:
    """Each column of ``profile`` that the baseline knows, judged against it.

    Columns on one side only, and columns without rows, are named in the note: they can't
    be compared, and that must not look like "no drift".

    Args:
        floor: no alarm at a PSI up to this.

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
    found, skipped = [], []
    for name, column in profile.columns.items():
        reference = baseline.columns.get(name)
        if reference is None:
            continue
        if reference.kind != column.kind:
            skipped.append(f"{name!r} (now {column.kind}, {reference.kind} in training)")
        elif not column.rows:
            skipped.append(f"{name!r} (no rows)")
        elif not sum(reference.counts):
            skipped.append(f"{name!r} (no rows in training)")
        else:
            found.append(_feature(name, column, reference, name in baseline.outputs, floor))
    notes = [
        _note("In the data but not in the baseline", profile.columns.keys() - baseline.columns),
        _note("In the baseline but not in the data", baseline.columns.keys() - profile.columns),
        _note("Not comparable", skipped),
        _note(
            "Too many distinct values in training to know them all, so rare known ones may count "
            "as new",
            [name for name, c in baseline.columns.items() if c.profile and c.profile.other],
        ),
    ]
    found.sort(key=lambda f: (-_excess(f), f.column))
    return DriftResult(tuple(found), " ".join(note for note in notes if note))


def _excess(feature: FeatureDrift) -> float:
    """PSI over threshold; a floor of 0 on equal, endless samples leaves no threshold."""
    return feature.psi / feature.threshold if feature.threshold else float(feature.psi > 0)


def _note(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    return f"{what}: {choices(listed)}." if listed else ""


def _feature(
    name: str, column: ColumnProfile, reference: ColumnBaseline, is_output: bool, floor: float
) -> FeatureDrift:
    if column.kind == "numeric" and column.center != reference.center:
        raise StateError(
            f"column {name!r} was counted around {column.center!r}, its baseline around "
            f"{reference.center!r}; expected the same centre. The scores were profiled for "
            "another model's baseline: prepare and score the partition again",
            column=name,
        )
    counts = count_vector(column, reference.edges, reference.values)
    psi = METRICS["psi"](reference.counts, counts)
    limit = threshold(reference, counts, floor)
    new = _new_values(column, reference)
    return FeatureDrift(
        column=name,
        kind=column.kind,
        is_output=is_output,
        psi=psi,
        js=METRICS["js"](reference.counts, counts),
        threshold=limit,
        alarmed=psi > limit,
        null_rate=counts[-1] / column.rows,
        baseline_null_rate=reference.counts[-1] / sum(reference.counts),
        new_rate=sum(new.values()) / column.rows,
        new_values=tuple(new)[:_SHOWN_VALUES],
        counts=counts,
    )


def _new_values(column: ColumnProfile, reference: ColumnBaseline) -> dict[str, int]:
    """Categories that training never saw, most frequent first."""
    if column.kind != "category":
        return {}
    known = set(reference.known)
    new = {value: count for value, count in column.counts.items() if value not in known}
    return dict(sorted(new.items(), key=lambda item: (-item[1], item[0])))
