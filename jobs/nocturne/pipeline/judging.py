"""Judge: quality, drift and quarantine become one verdict, a report and an MLflow run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nocturne import drift, profile, publish, quality, report
from nocturne.columns.values import pythons
from nocturne.config import Loaded
from nocturne.model.tracking import without_secret
from nocturne.pipeline.baselines import baseline_of
from nocturne.pipeline.checks import check, question
from nocturne.pipeline.doubles import Doubled, doubled
from nocturne.pipeline.faults import model_at_fault
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.ordinary import distances, name_of, ordinary
from nocturne.pipeline.runs import (
    as_planned,
    in_force,
    logged_to,
    nights,
    open_run,
    published,
    results_of,
    scored,
    step,
    undecide,
)
from nocturne.pipeline.tuning import remember
from nocturne.records import (
    Baseline,
    DriftResult,
    FeatureDrift,
    Judgement,
    Manifest,
    Partition,
    Profile,
    QualityResult,
    Run,
    SplitResult,
    VerdictName,
)
from nocturne.stopwatch import Stopwatch
from nocturne.store import state
from nocturne.store.failpoints import reach
from nocturne.store.files import digest
from nocturne.store.record_files import read, write
from nocturne.store.rundir import judgement_path

__all__ = ["judge", "judge_again"]

log = logging.getLogger(__name__)

Check = Callable[[Run, Stopwatch], QualityResult]

_ORDER: tuple[VerdictName, ...] = ("ok", "warn", "hold", "fail")
_HISTORY = 60
"""Published partitions before this one that the report shows."""


def judge(run: Run, watch: Stopwatch | None = None, check: Check = check) -> Judgement:
    """Judge a scored run, again if need be; writes judgement.json, report.html and the rest.

    A run that is published already keeps its judgement, and is logged if it was not.

    Args:
        watch: is told the seconds of each part too.
        check: evaluates the suites.

    An MLflow server that does not answer costs the night its MLflow run, not its scores.

    Raises:
        StateError: a split is not scored yet.
        ConfigError: a suite is wrong.
    """
    if in_force(run) is not None and judgement_path(run).exists():
        return _kept(run, as_planned(run))
    with step("judge", run):
        undecide(run)
        results = results_of(run)
        remember(run, results)
        loaded = as_planned(run)
        folder = Path(run.run_dir)
        mine, waited = Stopwatch(), watch or Stopwatch()
        mine.add("score", _elapsed(results))
        judgement, compared = _judged(run, loaded, results, mine, waited, check)
        with mine("report"):
            page = report.html(
                run,
                judgement,
                compared.baseline,
                compared.earlier,
                quarantine_reasons=_reasons(results),
                quarantine_examples=_examples(run, results),
            )
            (folder / "report.html").write_text(page, encoding="utf-8")
            write(folder / "drift.json", judgement.drift)
            write(folder / "profile.json", judgement.profile)
        reach("judge.reported")
        judgement = _with(judgement, report=str(folder / "report.html"), seconds=mine.rounded())
        write(judgement_path(run), judgement)
        reach("judge.judged")
        with mine("mlflow"):
            logged = _log(run, loaded, judgement)
        judgement = _with(judgement, mlflow_run_id=logged, seconds=mine.rounded())
        write(judgement_path(run), judgement)
        for name in ("drift", "report", "mlflow"):
            waited.add(name, mine.seconds[name])
        return judgement


def judge_again(loaded: Loaded, partition: Partition) -> tuple[Run, Judgement, bool]:
    """Judge a partition by the pipeline as it is now; nothing is scored.

    A night that is held or rejected, or failed once it was scored, gets the new judgement. A
    published one stays as it is: the judgement that it would get is returned, and written nowhere.
    Either is logged if it was not.

    Returns:
        The run, its judgement, and whether it is published.

    Raises:
        StateError: there is neither such a night nor a published one.
        ConfigError: a suite is wrong.
    """
    layout = Layout.of(loaded)
    state_dir = layout.partition_state(partition)
    config = loaded.pipeline.model_dump(mode="json")
    now = publish.current(state_dir, layout.output(partition))
    found = state.recall(state_dir, now.run_key if now else None)
    if found is not None and (waiting := _waiting(found)) is not None:
        run = replace(waiting, config=config, config_digest=digest(config))
        write(Path(run.run_dir) / "run.json", run)
        judgement = judge(run)
        passes = judgement.verdict in ("ok", "warn")
        said = f"judged anew: {judgement.verdict}" + (", not published yet" if passes else "")
        stands = replace(found, state="held", message=said, at=state.now())
        failed = replace(stands, state="failed")
        state.touch(state_dir, failed if judgement.verdict == "fail" else stands)
        return run, judgement, False
    folder = publish.run_folder(state_dir, published(loaded, partition))
    run = replace(read(Run, folder / "run.json"), config=config)
    judgement, _ = _judged(run, loaded, results_of(run), Stopwatch(), Stopwatch(), _glance)
    if judgement_path(run).exists():
        judgement = _with(judgement, mlflow_run_id=_kept(run, loaded).mlflow_run_id)
    return run, judgement, True


def _waiting(found: state.Current) -> Run | None:
    """The unpublished run, if all of it is scored."""
    if found.state in ("held", "rejected"):
        return open_run(found.run_dir)
    if found.state == "failed" and found.run_dir and Path(found.run_dir, "run.json").exists():
        run = open_run(found.run_dir)
        return run if scored(run) else None
    return None


def _glance(run: Run, watch: Stopwatch) -> QualityResult:
    """``check`` that leaves the Data Docs as they are."""
    return quality.evaluate(**(question(run) | {"docs_dir": None}), watch=watch)


@dataclass(frozen=True)
class _Compared:
    """What a night was compared with."""

    baseline: Baseline | None
    earlier: list[Manifest]


def _judged(
    run: Run,
    loaded: Loaded,
    results: list[SplitResult],
    mine: Stopwatch,
    waited: Stopwatch,
    check: Check,
) -> tuple[Judgement, _Compared]:
    """The verdict, and what it was made from; nothing is written but what ``check`` writes."""
    merged = profile.merge([r.profile for r in results])
    with waited("check"):
        checked = check(run, mine)
        twice = doubled(run, results) if run.unique_keys else None
    with mine("drift"):
        earlier = nights(loaded, before=run.partition.key, last=_HISTORY)
        baseline, said, made_of = baseline_of(run, loaded)
        calm = ordinary(run, loaded, earlier)
        wanted = loaded.pipeline.drift
        drifted = drift.judge(
            merged,
            baseline,
            floor=wanted.floor,
            day=drift.day_of(run.partition.key),
            history=distances(loaded, calm),
            page_share=wanted.page_share,
        )
        drifted = replace(
            drifted,
            columns=_hidden(drifted.columns, run),
            segments=tuple(replace(s, columns=_hidden(s.columns, run)) for s in drifted.segments),
            history=tuple(map(name_of, calm)),
            reference=said or drifted.reference,
            baseline=tuple(map(name_of, made_of)),
        )
    judgement = _verdict(run, loaded, results, checked, twice, drifted, merged, mine.rounded())
    return judgement, _Compared(baseline, earlier)


def _hidden(columns: Sequence[FeatureDrift], run: Run) -> tuple[FeatureDrift, ...]:
    """Without values of sensitive columns."""
    return tuple(replace(c, new_values=()) if c.column in run.sensitive else c for c in columns)


def _with(judgement: Judgement, **changes: object) -> Judgement:
    return Judgement(**{**judgement.__dict__, **changes})


def _elapsed(results: list[SplitResult]) -> float:
    """Seconds from the first split's start to the last one's end; splits taken over don't count."""
    scored = [r for r in results if r.finished > r.started]
    if not scored:
        return 0.0
    return round(max(r.finished for r in scored) - min(r.started for r in scored), 3)


def _reasons(results: list[SplitResult]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for result in results:
        for reason, count in result.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def _examples(run: Run, results: list[SplitResult], limit: int = 10) -> list[dict[str, Any]]:
    """The first quarantined rows: file, row, reason and keys."""
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    for result in results:
        if result.quarantine_file and len(found) < limit:
            path = Path(run.run_dir) / "attempts" / result.quarantine_file
            if not path.exists():
                continue
            columns = ["source_file", "source_row", "reason", *run.keys]
            batch = next(pq.ParquetFile(path).iter_batches(limit, columns=columns))
            found += pythons(batch)
    return found[:limit]


def _verdict(
    run: Run,
    loaded: Loaded,
    results: list[SplitResult],
    checked: QualityResult,
    twice: Doubled | None,
    drifted: DriftResult,
    merged: Profile,
    seconds: dict[str, float],
) -> Judgement:
    reasons: list[str] = []
    wanted = loaded.pipeline.quality
    rows_in = sum(r.rows_in for r in results)
    quarantined = sum(r.quarantined for r in results)
    quality_verdict: VerdictName = "ok"
    if checked.failed:
        quality_verdict = wanted.on_failure
        shown = "; ".join(
            f"{e.type}{f' on {e.column}' if e.column else ''} ({e.suite}): {e.observed}"
            for e in checked.failed[:3]
        )
        more = f" and {len(checked.failed) - 3} more" if len(checked.failed) > 3 else ""
        total = len(checked.expectations)
        reasons.append(f"{len(checked.failed)} of {total} expectations failed: {shown}{more}")
    if twice is not None:
        quality_verdict = max(quality_verdict, "hold", key=_ORDER.index)
        such = f", such as {'; '.join(twice.examples)}" if twice.examples else ""
        reasons.append(f"{twice.rows} rows have a key that another row has too{such}")
    if fault := model_at_fault(results):
        quality_verdict = "fail"
        reasons.append(fault)
    elif quarantined:
        share = quarantined / rows_in
        over = share > wanted.max_quarantined
        reasons.append(
            f"{quarantined} of {rows_in} rows ({share:.2%}) are quarantined, "
            f"{'over' if over else 'within'} the limit of {wanted.max_quarantined:.2%}"
        )
        if over:
            quality_verdict = max(quality_verdict, "hold", key=_ORDER.index)
    drift_verdict: VerdictName = "ok"
    if drifted.alarmed:
        drift_verdict = loaded.pipeline.drift.on_drift if drifted.paged else "warn"
        worst = ", ".join(
            f"{c.column} (PSI {c.psi:.2f}, alarm at {c.threshold:.2f})" for c in drifted.alarmed[:3]
        )
        reasons.append(f"{len(drifted.alarmed)} columns drifted: {worst}")
        if drifted.paged:
            scores = [c.column for c in drifted.alarmed if c.is_output]
            what = (
                f"{', '.join(scores)} drifted"
                if scores
                else (f"{drifted.share:.0%} of the features drifted, weighted by importance")
            )
            reasons.append(f"a person should look: {what}")
    if only := drifted.only_in_segments:
        drift_verdict = max(drift_verdict, "warn", key=_ORDER.index)
        worst = ", ".join(
            f"{c.column} where {s.name} (PSI {c.psi:.2f}, alarm at {c.threshold:.2f})"
            for s, c in only[:3]
        )
        more = f" and {len(only) - 3} more" if len(only) > 3 else ""
        reasons.append(f"drifted in a segment alone: {worst}{more}")
    asked: VerdictName = "ok"
    if run.hold:
        asked = "hold"
        reasons.append(run.hold)
    return Judgement(
        verdict=max(quality_verdict, drift_verdict, asked, key=_ORDER.index),
        reasons=tuple(reasons),
        rows_in=rows_in,
        rows_out=sum(r.rows_out for r in results),
        quarantined=quarantined,
        quality=checked,
        drift=drifted,
        profile=merged,
        drift_verdict=drift_verdict,
        quality_verdict=quality_verdict,
        seconds=seconds,
    )


def _without(counted: Profile, columns: Collection[str]) -> Profile:
    """The profile without columns whose values are shown nowhere, in its segments too."""
    return Profile(
        counted.rows,
        {name: column for name, column in counted.columns.items() if name not in columns},
        {name: _without(part, columns) for name, part in counted.segments.items()},
    )


def _kept(run: Run, loaded: Loaded) -> Judgement:
    """The judgement of a published run, which is logged now if MLflow was away when it was made."""
    kept = read(Judgement, judgement_path(run))
    if kept.mlflow_run_id is None and (logged := _log(run, loaded, kept)):
        kept = _with(kept, mlflow_run_id=logged)
        write(judgement_path(run), kept)
    return kept


def _log(run: Run, loaded: Loaded, judgement: Judgement) -> str | None:
    folder = Path(run.run_dir)
    shown = [folder / "report.html", folder / "drift.json"]
    counted = _without(judgement.profile, run.sensitive)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for name, record in (
                ("profile", counted),
                ("judgement", _with(judgement, profile=counted)),
            ):
                shown.append(Path(scratch) / f"{name}.json")
                write(shown[-1], record)
            return report.log_night(run, judgement, shown, **logged_to(loaded))
    except Exception as error:
        log.warning(
            "this night has no MLflow run: %s: %s. Its scores are not affected; `nocturne judge "
            "%s --date %s` logs it once MLflow answers",
            type(error).__name__,
            without_secret(str(error)),
            run.pipeline,
            run.partition.key,
        )
        return None
