"""Judges a run and keeps the results: the judgement, the report and the MLflow run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nocturne import drift, report, table
from nocturne.columns.values import python_values
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError
from nocturne.model.tracking import without_secret
from nocturne.objects import relative
from nocturne.objects.reading import native
from nocturne.pipeline.arms import settle_arms
from nocturne.pipeline.challengers import shown
from nocturne.pipeline.checks import check
from nocturne.pipeline.judging import Check, Judged, judge
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.pinning import remember
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import as_planned, logged_to, manifest_in_force, open_run
from nocturne.pipeline.tagging import decision_on
from nocturne.profile.comparing import figures
from nocturne.records.arms import Served
from nocturne.records.comparison import Comparison
from nocturne.records.drift import ComparedBins
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Judgement
from nocturne.records.partition import Partition
from nocturne.records.profile import Profile
from nocturne.records.result import SplitResult
from nocturne.records.status import RunStatus
from nocturne.stopwatch import Stopwatch
from nocturne.store.failpoints import reach
from nocturne.store.files import place, remove, write_atomic
from nocturne.store.partition_state import now
from nocturne.store.record_files import find, write
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder

__all__ = ["judge_again", "judge_run"]

log = logging.getLogger(__name__)


def judge_run(
    run: Run,
    watch: Stopwatch | None = None,
    check: Check = check,
    loaded: Loaded | None = None,
    by: str = "",
) -> Judgement:
    """Judge a scored run, also one that was judged before, and write the results.

    A published run keeps its judgement, which its manifest names, also if another process publishes
    it meanwhile; if it has no MLflow run, it gets one. If the MLflow server does not answer, the
    night gets no MLflow run, and its scores are not affected.

    Args:
        watch: also records the seconds of each part.
        check: evaluates the suites.
        loaded: the pipeline to judge by. Default: as it was when the run was planned.
        by: who wants it judged again; "" if it was not a person.

    Raises:
        StateError: a split is not scored yet.
        ConfigError: a suite is wrong.
        Superseded: another process is publishing the partition.
    """
    loaded = loaded or as_planned(run)
    if _was_published(run):
        settle_arms(run, [], run.judgement(), loaded.pipeline, again=True)
        return _logged_judgement(run, loaded)
    with run.step("judge"):
        run.undecide()
        mine, waited = Stopwatch(), watch or Stopwatch()
        try:
            judged = judge(run, loaded, check, own=mine, waited=waited)
        except (FileNotFoundError, StateError):
            if not _was_published(run):
                raise
            # Another process has published the run, and removed its working files.
            return _logged_judgement(run, loaded)
        remember(run, loaded.pipeline.scoring, judged.results)
        with mine("report"):
            judgement = replace(_with_docs(run, judged.judgement), by=by)
            arms = settle_arms(run, judged.results, judgement, loaded.pipeline, judged.earlier)
            page = report.night_html(
                run.plan,
                judgement,
                judged.profile,
                judged.baseline,
                judged.earlier,
                metrics=drift.METRICS,
                location=table.table_of(run).location,
                quarantine_reasons=_reasons(judged.results),
                quarantine_examples=_examples(run, judged.results),
                compared=_compared_by_weekday(run, judged),
                challengers=shown(run),
                arms=arms,
            )
            write_atomic(run.report, page.encode())
            write(run.profile_file, judged.profile)
        reach("judge.reported")
        judgement = replace(judgement, seconds=mine.rounded())
        if not _wrote(run, judgement):
            return _logged_judgement(run, loaded)
        reach("judge.judged")
        with mine("mlflow"):
            logged = _log(run, loaded, judgement, judged.profile)
        judgement = replace(judgement, mlflow_run_id=logged, seconds=mine.rounded())
        if not _wrote(run, judgement):
            return _logged_judgement(run, loaded)
        for name in ("drift", "report", "mlflow"):
            waited.add(name, mine.seconds[name])
        return judgement


def _compared_by_weekday(run: Run, judged: Judged) -> dict[str, ComparedBins]:
    """The bins of the columns that were compared with training days of the same weekday only."""
    day = drift.day_of(run.plan.partition.key)
    trained = judged.baseline.columns if judged.baseline else {}
    found = judged.judgement.drift
    source = found.reference if found.baseline else "the training data"
    bins = {
        feature.column: drift.compared_bins(trained[feature.column], feature.counts, day, source)
        for feature in found.columns
    }
    return {name: compared for name, compared in bins.items() if compared.by_weekday}


def _with_docs(run: Run, judgement: Judgement) -> Judgement:
    """Write the page of the expectations; returns the judgement that names it."""
    if run.is_judged:
        remove(run.data_docs)  # earlier versions had more files there
    if not judgement.quality.expectations:
        return judgement
    write_atomic(run.docs_page, report.expectations_html(run.plan, judgement).encode())
    named = replace(judgement.quality, data_docs=relative(run.docs_page, run.path))
    return replace(judgement, quality=named)


def _wrote(run: Run, judgement: Judgement) -> bool:
    """Write the judgement of a run, unless another process has published the run meanwhile."""
    with table.table_of(run).exclusive():
        if _was_published(run):
            return False
        write(run.judgement_file, judgement)
        return True


def _was_published(run: Run) -> bool:
    """Whether the run is judged, and its scores are in force or were before others replaced them.

    A published run that lost its judgement is judged again.
    """
    if not run.is_judged:
        return False
    line, _ = run.state.known_lineage(table.published_manifest(table.table_of(run)))
    return any(manifest.run_key == run.plan.run_key for manifest in line)


def judge_again(loaded: Loaded, partition: Partition, by: str = "") -> tuple[Run, Judgement, bool]:
    """Judge a partition by the pipeline as it is now; nothing is scored.

    A night that is held or rejected, or that failed after it was scored, gets the new judgement. A
    published night stays as it is: the judgement that it would get is returned but not written. A
    night without an MLflow run gets one.

    Args:
        by: who wants it.

    Returns:
        The run, its judgement, and whether it is published.

    Raises:
        StateError: there is neither a published night nor one that can be judged.
        ConfigError: a suite is wrong.
    """
    output = Places.of(loaded).output(partition)
    state = output.state
    manifest = table.published_manifest(output)
    status = state.status(manifest.run_key if manifest else None)
    if status is not None and (unpublished := _unpublished_run(status, state.run(status.run_key))):
        try:
            judgement = judge_run(_hiding(unpublished, loaded), loaded=loaded, by=by)
        except NocturneError:
            state.write_status(status)  # a suite with a mistake decides nothing
            raise
        passes = judgement.verdict.publishes
        message = f"judged anew: {judgement.verdict}" + (", not published yet" if passes else "")
        held = replace(status, state="held", message=message, at=now())
        if judgement.verdict == Verdict.FAIL:
            held = replace(held, state="failed")
        if unpublished.rejection() is None:  # else somebody has decided meanwhile
            state.write_status(held)
        return unpublished, judgement, False
    published = PublishedNights(loaded).manifest(partition)
    run = Run.at(state, published.run_key)
    judgement = judge(_hiding(run, loaded), loaded, check).judgement
    if run.is_judged:
        judgement = replace(judgement, mlflow_run_id=_logged_judgement(run, loaded).mlflow_run_id)
    return run, judgement, True


def _hiding(run: Run, loaded: Loaded) -> Run:
    """The run, with what has become sensitive since hidden too."""
    columns = {*run.plan.sensitive, *loaded.pipeline.quality.sensitive}
    return Run(run.path, run.state, replace(run.plan, sensitive_columns=tuple(sorted(columns))))


def _unpublished_run(status: RunStatus, folder: RunFolder) -> Run | None:
    """The run that is not published, if all of it is scored."""
    if status.state in ("held", "rejected"):
        return open_run(folder.path)
    if status.state == "failed" and status.run_key and folder.plan_file.is_file():
        run = open_run(folder.path)
        return run if run.is_scored else None
    return None


def _logged_judgement(run: Run, loaded: Loaded) -> Judgement:
    """The judgement of a published run; it is logged now if MLflow did not answer before."""
    judgement, logged = run.judgement(), run.mlflow_run_id()
    if logged is None:
        state: report.NightState = "published" if manifest_in_force(run) else "superseded"
        logged = _log(run, loaded, judgement, run.profile, state)
        if logged:
            run.write_logged(logged)
    return replace(judgement, mlflow_run_id=logged)


def _log(
    run: Run,
    loaded: Loaded,
    judgement: Judgement,
    profile: Profile,
    state: report.NightState | None = None,
) -> str | None:
    """Log the night. ``state``: what became of it; default: it was just judged."""
    records = {
        "profile": _without(profile, run.plan.sensitive),
        "judgement": judgement,
        "drift": judgement.drift,
    }
    try:
        compared = find(Comparison, run.comparison_file)
        with tempfile.TemporaryDirectory() as scratch:
            artifacts = [Path(scratch) / run.report.name]
            place(run.report, artifacts[0])
            for name, record in records.items():
                artifacts.append(Path(scratch) / f"{name}.json")
                write(artifacts[-1], record)
            return report.log_night(
                run.plan,
                judgement,
                profile,
                artifacts,
                state=state,
                decision=decision_on(run),
                arms=find(Served, run.arms_file),
                compared=figures(compared) if compared else {},
                **logged_to(loaded),
            )
    except Exception as error:
        log.warning(
            "this night has no MLflow run: %s: %s. Its scores are not affected; `nocturne judge "
            "%s --date %s` logs it once MLflow answers",
            type(error).__name__,
            without_secret(str(error)),
            run.plan.pipeline,
            run.plan.partition.key,
        )
        return None


def _without(profile: Profile, columns: Collection[str]) -> Profile:
    """The profile, and those of its segments, without some columns."""
    return Profile(
        profile.rows,
        {name: column for name, column in profile.columns.items() if name not in columns},
        {name: _without(part, columns) for name, part in profile.segments.items()},
    )


def _reasons(results: list[SplitResult]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for result in results:
        for reason, count in result.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def _examples(run: Run, results: list[SplitResult], limit: int = 10) -> list[dict[str, Any]]:
    """The first quarantined rows: file, row, reason and keys."""
    import pyarrow.parquet as pq

    examples: list[dict[str, Any]] = []
    for result in results:
        if result.quarantine_file and len(examples) < limit:
            columns = ["source_file", "source_row", "reason", *run.plan.keys]
            with suppress(FileNotFoundError):
                path = native(run.attempt(result.quarantine_file))
                batch = next(pq.ParquetFile(path).iter_batches(limit, columns=columns))
                examples += python_values(batch)
    return examples[:limit]
