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
from nocturne.pipeline.signer import as_signed
from nocturne.pipeline.volume import HISTORY, volume_of
from nocturne.quality.duplicates import Duplicates, check_size, duplicates
from nocturne.records.drift import Baseline, FeatureDrift
from nocturne.records.findings import verdict_of
from nocturne.records.manifest import Judgement, PublishedNight
from nocturne.records.profile import Profile
from nocturne.records.quality import QualityResult
from nocturne.records.result import SplitResult
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run

__all__ = ["Check", "Judged", "duplicates_of", "judge"]

Check = Callable[[Run, Loaded, Stopwatch], QualityResult]


@dataclass(frozen=True)
class Judged:
    """A judgement, and the data that it was made from.

    The night was compared with ``baseline`` and with the ``earlier`` nights.
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
    """Judge a scored run; nothing is written.

    Args:
        loaded: the pipeline to judge by.
        check: evaluates the suites.
        own: records the seconds that each part took.
        waited: records the seconds that this process waited for the checks.

    Raises:
        StateError: a split is not scored yet.
        ConfigError: a suite is wrong.
    """
    own, waited = own or Stopwatch(), waited or Stopwatch()
    results = run.results()
    own.add("score", _elapsed(results))
    merged = profile.merge([r.profile for r in results])
    with waited("check"):
        quality = check(run, loaded, own)
        duplicate_rows = duplicates_of(run, results) if run.plan.unique_keys else None
    with own("drift"):
        nights = PublishedNights(loaded, as_signed=True)
        earlier = nights.all(before=run.plan.partition.key, last=HISTORY)
        baseline, description, baseline_nights = baseline_of(run, loaded)
        in_force = as_signed(loaded, run.state, night_in_force(table.table_of(run)))
        history = drift.calibration_history(nights, earlier, in_force, run.plan.model.sha256)
        settings = loaded.pipeline.drift
        drifted = drift.judge(
            merged,
            baseline,
            floor=settings.floor,
            day=drift.day_of(run.plan.partition.key),
            history=drift.distances(nights, history),
            page_share=settings.page_share,
        )
        drifted = replace(
            drifted,
            columns=_hidden(drifted.columns, run),
            segments=tuple(replace(s, columns=_hidden(s.columns, run)) for s in drifted.segments),
            history=tuple(map(drift.name_of, history)),
            reference=description or drifted.reference,
            baseline=tuple(map(drift.name_of, baseline_nights)),
        )
        rows_in = sum(result.rows_in for result in results)
        volume = volume_of(run.plan, loaded, rows_in, earlier, in_force)
    evidence = Evidence(
        loaded.pipeline, results, quality, duplicate_rows, drifted, volume, run.plan.hold
    )
    findings = findings_of(evidence)
    judgement = Judgement(
        verdict=verdict_of(findings),
        findings=findings,
        rows_in=rows_in,
        rows_out=sum(r.rows_out for r in results),
        quarantined=evidence.quarantined,
        quality=quality,
        drift=drifted,
        seconds=own.rounded(),
        volume=volume,
    )
    return Judged(judgement, results, merged, baseline, earlier)


def duplicates_of(run: Run, results: Sequence[SplitResult]) -> Duplicates | None:
    """The rows of a run that share their key.

    Raises:
        InputError: comparing the keys takes more memory than the driver may use.
    """
    check_size(run.plan.pipeline, sum(result.rows_out for result in results))
    return duplicates(scored_keys(run, results), run.plan.keys, run.plan.sensitive)


def _hidden(columns: Sequence[FeatureDrift], run: Run) -> tuple[FeatureDrift, ...]:
    """The drift of columns, without values of sensitive columns."""
    hidden = run.plan.sensitive
    return tuple(replace(c, new_values=()) if c.column in hidden else c for c in columns)


def _elapsed(results: list[SplitResult]) -> float:
    """Seconds from the first split's start to the last one's end, without reused splits."""
    scored = [r for r in results if r.finished > r.started]
    if not scored:
        return 0.0
    return round(max(r.finished for r in scored) - min(r.started for r in scored), 3)
