"""A run is judged, and what was found is kept: the judgement, the report, the MLflow run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from nocturne import drift, quality, report, table
from nocturne.columns.values import python_values
from nocturne.config import Loaded
from nocturne.model.tracking import without_secret
from nocturne.pipeline.checks import check, question
from nocturne.pipeline.judging import Check, judge
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.pinning import remember
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import as_planned, logged_to, open_run
from nocturne.records.manifest import Judgement
from nocturne.records.partition import Partition
from nocturne.records.profile import Profile
from nocturne.records.quality import QualityResult
from nocturne.records.result import SplitResult
from nocturne.records.status import RunStatus
from nocturne.stopwatch import Stopwatch
from nocturne.store.failpoints import reach
from nocturne.store.partition_state import now
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder

__all__ = ["judge_again", "judge_run"]

log = logging.getLogger(__name__)


def judge_run(
    run: Run,
    watch: Stopwatch | None = None,
    check: Check = check,
    loaded: Loaded | None = None,
) -> Judgement:
    """Judge a scored run, again if need be; writes judgement.json, report.html and the rest.

    A run that was published keeps its judgement, which its manifest names, and is logged if it was
    not.

    Args:
        watch: is told the seconds of each part too.
        check: evaluates the suites.
        loaded: by what it is judged. Default: the pipeline as it was when the run was planned.

    An MLflow server that does not answer costs the night its MLflow run, not its scores.

    Raises:
        StateError: a split is not scored yet.
        ConfigError: a suite is wrong.
    """
    loaded = loaded or as_planned(run)
    if run.is_judged and _was_published(run):
        return _kept(run, loaded)
    with run.step("judge"):
        run.undecide()
        mine, waited = Stopwatch(), watch or Stopwatch()
        found = judge(run, loaded, check, own=mine, waited=waited)
        remember(run, loaded.pipeline.scoring, found.results)
        with mine("report"):
            page = report.night_html(
                run.plan,
                found.judgement,
                found.profile,
                found.baseline,
                found.earlier,
                metrics=drift.METRICS,
                location=table.table_of(run).location,
                quarantine_reasons=_reasons(found.results),
                quarantine_examples=_examples(run, found.results),
            )
            run.report.write_text(page, encoding="utf-8")
            write(run.profile_file, found.profile)
        reach("judge.reported")
        judgement = replace(found.judgement, seconds=mine.rounded())
        write(run.judgement_file, judgement)
        reach("judge.judged")
        with mine("mlflow"):
            logged = _log(run, loaded, judgement, found.profile)
        judgement = replace(judgement, mlflow_run_id=logged, seconds=mine.rounded())
        write(run.judgement_file, judgement)
        for name in ("drift", "report", "mlflow"):
            waited.add(name, mine.seconds[name])
        return judgement


def _was_published(run: Run) -> bool:
    """Whether its scores are in force, or were before others replaced them."""
    line, _ = run.state.known_lineage(table.published_manifest(table.table_of(run)))
    return any(manifest.run_key == run.plan.run_key for manifest in line)


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
    output = Places.of(loaded).output(partition)
    state = output.state
    manifest = table.published_manifest(output)
    found = state.status(manifest.run_key if manifest else None)
    if found is not None and (waiting := _waiting(found, state.run(found.run_key))):
        judgement = judge_run(waiting, loaded=loaded)
        passes = judgement.verdict.publishes
        said = f"judged anew: {judgement.verdict}" + (", not published yet" if passes else "")
        stands = replace(found, state="held", message=said, at=now())
        state.write_status(
            replace(stands, state="failed") if judgement.verdict == "fail" else stands
        )
        return waiting, judgement, False
    published = PublishedNights(loaded).manifest(partition)
    run = Run.at(state, published.run_key)
    judgement = judge(run, loaded, _glance).judgement
    if run.is_judged:
        judgement = replace(judgement, mlflow_run_id=_kept(run, loaded).mlflow_run_id)
    return run, judgement, True


def _waiting(found: RunStatus, folder: RunFolder) -> Run | None:
    """The unpublished run, if all of it is scored."""
    if found.state in ("held", "rejected"):
        return open_run(folder.path)
    if found.state == "failed" and found.run_key and folder.plan_file.exists():
        run = open_run(folder.path)
        return run if run.is_scored else None
    return None


def _glance(run: Run, loaded: Loaded, watch: Stopwatch) -> QualityResult:
    """``check`` that leaves the Data Docs as they are."""
    return quality.evaluate(**(question(run, loaded) | {"docs_dir": None}), watch=watch)


def _kept(run: Run, loaded: Loaded) -> Judgement:
    """The judgement of a published run, which is logged now if MLflow was away when it was made."""
    kept, logged = run.judgement(), run.mlflow_run_id()
    if logged is None and (logged := _log(run, loaded, kept, run.profile)):
        run.write_logged(logged)
    return replace(kept, mlflow_run_id=logged)


def _log(run: Run, loaded: Loaded, judgement: Judgement, counted: Profile) -> str | None:
    shown = [run.report]
    records = {
        "profile": _without(counted, run.plan.sensitive),
        "judgement": judgement,
        "drift": judgement.drift,
    }
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for name, record in records.items():
                shown.append(Path(scratch) / f"{name}.json")
                write(shown[-1], record)
            return report.log_night(run.plan, judgement, counted, shown, **logged_to(loaded))
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


def _without(counted: Profile, columns: Collection[str]) -> Profile:
    """The profile without columns whose values are shown nowhere, in its segments too."""
    return Profile(
        counted.rows,
        {name: column for name, column in counted.columns.items() if name not in columns},
        {name: _without(part, columns) for name, part in counted.segments.items()},
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

    found: list[dict[str, Any]] = []
    for result in results:
        if result.quarantine_file and len(found) < limit:
            path = run.attempt(result.quarantine_file)
            if not path.exists():
                continue
            columns = ["source_file", "source_row", "reason", *run.plan.keys]
            batch = next(pq.ParquetFile(path).iter_batches(limit, columns=columns))
            found += python_values(batch)
    return found[:limit]
