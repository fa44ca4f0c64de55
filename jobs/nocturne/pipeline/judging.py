"""Judge: quality, drift and quarantine of a scored run become findings and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nocturne import drift, profile, table
from nocturne.config import Loaded
from nocturne.pipeline.baselines import baseline_of
from nocturne.pipeline.checks import check
from nocturne.pipeline.nights import PublishedNights, night_in_force
from nocturne.pipeline.rules import Evidence, findings_of
from nocturne.pipeline.runs import scored_keys
from nocturne.quality.duplicates import Duplicates, check_size, duplicates
from nocturne.records.drift import Baseline, FeatureDrift
from nocturne.records.findings import verdict_of
from nocturne.records.manifest import Judgement, PublishedNight
from nocturne.records.profile import Profile
from nocturne.records.quality import QualityResult
from nocturne.records.result import SplitResult
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run

__all__ = ["Check", "Judged", "judge"]

Check = Callable[[Run, Loaded, Stopwatch], QualityResult]

_HISTORY = 60
"""Published partitions before this one that the report shows."""


@dataclass(frozen=True)
class Judged:
    """A judgement, and what it was made from.

    ``baseline`` and ``earlier``: what the night was compared with.
    """

    judgement: Judgement
    results: list[SplitResult]
    profile: Profile
    baseline: Baseline | None
    earlier: list[PublishedNight]


def judge(
    run: Run,
    loaded: Loaded,
    check: Check = check,
    *,
    own: Stopwatch | None = None,
    waited: Stopwatch | None = None,
) -> Judged:
    """What stands against a scored run; nothing is written but what ``check`` writes.

    Args:
        loaded: by what it is judged.
        check: evaluates the suites.
        own: is told the seconds that each part took.
        waited: is told the seconds that this process waited for the checks.

    Raises:
        StateError: a split is not scored yet.
        ConfigError: a suite is wrong.
    """
    mine, waited = own or Stopwatch(), waited or Stopwatch()
    results = run.results()
    mine.add("score", _elapsed(results))
    merged = profile.merge([r.profile for r in results])
    with waited("check"):
        checked = check(run, loaded, mine)
        repeated = _duplicates(run, results) if run.plan.unique_keys else None
    with mine("drift"):
        nights = PublishedNights(loaded)
        earlier = nights.all(before=run.plan.partition.key, last=_HISTORY)
        baseline, said, made_of = baseline_of(run, loaded)
        in_force = night_in_force(table.table_of(run))
        history = drift.calibration_history(nights, earlier, in_force, run.plan.model.sha256)
        wanted = loaded.pipeline.drift
        drifted = drift.judge(
            merged,
            baseline,
            floor=wanted.floor,
            day=drift.day_of(run.plan.partition.key),
            history=drift.distances(nights, history),
            page_share=wanted.page_share,
        )
        drifted = replace(
            drifted,
            columns=_hidden(drifted.columns, run),
            segments=tuple(replace(s, columns=_hidden(s.columns, run)) for s in drifted.segments),
            history=tuple(map(drift.name_of, history)),
            reference=said or drifted.reference,
            baseline=tuple(map(drift.name_of, made_of)),
        )
    evidence = Evidence(loaded.pipeline, results, checked, repeated, drifted, run.plan.hold)
    findings = findings_of(evidence)
    judgement = Judgement(
        verdict=verdict_of(findings),
        findings=findings,
        rows_in=evidence.rows_in,
        rows_out=sum(r.rows_out for r in results),
        quarantined=evidence.quarantined,
        quality=checked,
        drift=drifted,
        seconds=mine.rounded(),
    )
    return Judged(judgement, results, merged, baseline, earlier)


def _duplicates(run: Run, results: Sequence[SplitResult]) -> Duplicates | None:
    check_size(run.plan.pipeline, sum(result.rows_out for result in results))
    return duplicates(scored_keys(run, results), run.plan.keys, run.plan.sensitive)


def _hidden(columns: Sequence[FeatureDrift], run: Run) -> tuple[FeatureDrift, ...]:
    """Without values of sensitive columns."""
    hidden = run.plan.sensitive
    return tuple(replace(c, new_values=()) if c.column in hidden else c for c in columns)


def _elapsed(results: list[SplitResult]) -> float:
    """Seconds from the first split's start to the last one's end; splits taken over don't count."""
    scored = [r for r in results if r.finished > r.started]
    if not scored:
        return 0.0
    return round(max(r.finished for r in scored) - min(r.started for r in scored), 3)
