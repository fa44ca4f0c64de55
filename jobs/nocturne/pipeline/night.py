"""Runs whole nights without Airflow: plans, scores, judges and publishes them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import NocturneError, TerminalError
from nocturne.objects import Location
from nocturne.pipeline.background import Background
from nocturne.pipeline.checks import Checks
from nocturne.pipeline.places import Places
from nocturne.pipeline.progress import Progress
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.scoring import Executor, executor
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.stopwatch import Stopwatch
from nocturne.store.run import Run

if TYPE_CHECKING:
    from nocturne.pipeline.prepare import Prepared

__all__ = ["NightOutcome", "score_range"]


@dataclass(frozen=True)
class NightOutcome:
    """The outcome of a night: of scoring one partition."""

    partition: str
    outcome: str
    message: str
    manifest: Manifest | None = None
    manifest_path: str | None = None
    output: str | None = None
    report: str | None = None
    exit_code: int = 0


def score_range(
    loaded: Loaded,
    nights: Sequence[Partition],
    *,
    force: bool,
    dry_run: bool,
    requeue: bool = False,
    hold: str = "",
    say: Callable[[str], None],
    watch: Stopwatch | None = None,
) -> list[NightOutcome]:
    """Score the partitions in one Spark application; one that fails does not stop the others.

    Args:
        requeue: score the published splits with quarantined rows again.
        hold: why a person must look at the nights before they are published.
        watch: records the seconds that this process waits for each step.
    """
    watch = watch or Stopwatch()
    name = " ".join((loaded.pipeline.name, *(night.key for night in nights[:1])))
    with (
        executor(loaded.pipeline, name, loaded.pipeline.spark.master) as by,
        closing(Checks()) as check,
    ):
        if not dry_run and _expects_work(loaded, nights, force or requeue):
            by.start()
            check.start(loaded.pipeline)
        with watch("prepare"):
            done, todo = _prepare(loaded, nights, force, dry_run, requeue, hold, say, by)
        if todo:
            done |= _finish(todo, by, check.start(loaded.pipeline), say, watch)
    return [done[night.key] for night in nights]


def _prepare(
    loaded: Loaded,
    nights: Sequence[Partition],
    force: bool,
    dry_run: bool,
    requeue: bool,
    hold: str,
    say: Callable[[str], None],
    by: Executor,
) -> tuple[dict[str, NightOutcome], list[Run]]:
    """The outcomes of nights without anything to score, and the runs of the others."""
    from nocturne.pipeline.model import resolver
    from nocturne.pipeline.prepare import prepare

    done: dict[str, NightOutcome] = {}
    todo: list[Run] = []
    resolve = resolver(loaded)
    for night in nights:
        try:
            prepared = prepare(
                loaded,
                night,
                force=force,
                dry_run=dry_run,
                requeue=requeue,
                hold=hold,
                resolve=resolve,
                by=by,
            )
        except Exception as error:
            done[night.key] = _failed(night, error, say)
            continue
        say(prepared.message)
        if prepared.action == "score" and prepared.run:
            todo.append(prepared.run)
        else:
            done[night.key] = _unscored(night, prepared)
    return done, todo


def _finish(
    todo: Sequence[Run],
    by: Executor,
    check: Checks,
    say: Callable[[str], None],
    watch: Stopwatch,
) -> dict[str, NightOutcome]:
    """Score the runs; judge and publish them in order, each as soon as it is scored."""
    say(f"scoring by {by.name}")
    progress = Progress()
    scoring = Background(todo, by, progress)
    from nocturne.pipeline.recording import judge_run

    done: dict[str, NightOutcome] = {}
    check.expect(todo)
    for run in todo:
        try:
            with watch("score"):
                run, planned = scoring.wait(run), run
            check.instead(planned, run)
            judgement = judge_run(run, watch, check)
            progress.clear()
            say(
                f"{run.plan.partition.key}: verdict {judgement.verdict}"
                + "".join(f"\n  {reason}" for reason in judgement.reasons)
            )
            with watch("publish"):
                manifest = publish_run(run)
            done[run.plan.partition.key] = _published(run, manifest)
        except Exception as failure:
            progress.clear()
            done[run.plan.partition.key] = _failed(run.plan.partition, failure, say)
    return done


def _expects_work(loaded: Loaded, nights: Sequence[Partition], force: bool) -> bool:
    """Whether something will probably be scored, judged by the folders that exist."""
    places = Places.of(loaded)
    return any(
        _is_there(places, night) and (force or not _is_folder(places.output(night).location))
        for night in nights
    )


def _is_there(places: Places, night: Partition) -> bool:
    try:
        return places.inputs.has(night)
    except NocturneError:  # prepare reports what is wrong with it
        return False


def _is_folder(path: Location) -> bool:
    try:
        return path.is_dir()
    except (OSError, NocturneError):  # prepare reports what is wrong with it
        return False


def _failed(partition: Partition, error: Exception, say: Callable[[str], None]) -> NightOutcome:
    if not isinstance(error, NocturneError):
        traceback.print_exception(error)
        error = TerminalError(f"{partition.key}: {type(error).__name__}: {error}")
    say(f"nocturne: {error}")
    outcome = "held" if error.exit_code == 3 else "failed"
    return NightOutcome(partition.key, outcome, str(error), exit_code=error.exit_code)


def _unscored(partition: Partition, prepared: Prepared) -> NightOutcome:
    outcome = {"nothing": "unchanged", "skip": "skipped"}.get(prepared.action, "dry run")
    if prepared.action != "nothing" or prepared.run is None or prepared.manifest is None:
        return NightOutcome(partition.key, outcome, prepared.message)
    return _published(prepared.run, prepared.manifest, outcome, prepared.message)


def _published(
    run: Run, manifest: Manifest, outcome: str = "published", message: str = ""
) -> NightOutcome:
    path = str(run.state.manifest_file(manifest.id))
    location = str(table.table_of(run).location)
    report = str(run.state.run(manifest.run_key).report)
    return NightOutcome(run.plan.partition.key, outcome, message, manifest, path, location, report)
