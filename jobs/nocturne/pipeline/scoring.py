"""Score: the runs' splits through Spark, in this process or under spark-submit."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from nocturne import plan
from nocturne.config import Pipeline, home
from nocturne.errors import NocturneError, RetryableError, StateError, TerminalError
from nocturne.model import registry
from nocturne.pipeline.runs import open_run, settings_of
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import now
from nocturne.store.run import Run

if TYPE_CHECKING:
    from nocturne.spark.application import Application
    from nocturne.spark.probe import LaunchSettings

__all__ = ["Bar", "Claims", "application", "how", "score", "submitted"]

log = logging.getLogger(__name__)

Bar = Callable[[int, int], None]
_SIGN_OF_LIFE_S = 5.0


class Claims:
    """The runs that have gone on to be judged: scoring says nothing more of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[str] = set()

    def claim(self, run: Run) -> None:
        """Take the run over. When this returns, scoring reports nothing more about it."""
        with self._lock:
            self._claimed.add(run.uri)

    @contextmanager
    def open(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """The runs that are not claimed; none of them can be while this lasts."""
        with self._lock:
            yield [run for run in runs if run.uri not in self._claimed]


def application(pipeline: Pipeline, name: str, master: str | None) -> Application:
    """The Spark application that scores the pipeline's runs; ``start`` may come early.

    Args:
        master: None under spark-submit.
    """
    from nocturne.spark.application import Application

    wanted = how(pipeline, master)
    return Application(
        f"nocturne {name}", wanted.master, wanted.conf, wanted.conf_dir, lean=wanted.lean
    )


def how(pipeline: Pipeline, master: str | None) -> LaunchSettings:
    """How the pipeline's runs start Spark, on ``master``."""
    from nocturne.spark.probe import LaunchSettings

    lean = pipeline.scoring.reader != "spark"
    return LaunchSettings(master, pipeline.spark_conf, home() / "conf" / "spark", lean)


def score(
    runs: Sequence[Run],
    *,
    master: str | None = None,
    progress: Bar | None = None,
    spark: Application | None = None,
    claims: Claims | None = None,
) -> dict[str, NocturneError]:
    """Score the runs in one Spark application.

    Args:
        master: of an application of their own; None under spark-submit.
        spark: an application to score in, which the caller stops.
        claims: where somebody goes on with runs that are scored while others are not.

    Returns:
        run directory -> error of the runs that could not be scored; also left in
        ``error.json`` there, since spark-submit passes on an exit code at most.
    """
    from nocturne.spark.job import score_runs

    claims = claims or Claims()
    told = 0.0

    def report(done: int, total: int) -> None:
        nonlocal told
        if progress:
            progress(done, total)
        if time.monotonic() - told < _SIGN_OF_LIFE_S:
            return
        told = time.monotonic()
        with claims.open(runs) as unfinished:
            for run in unfinished:
                rows = done * run.plan.rows // max(1, total)
                status = RunStatus.of(run.plan, "running", "score", "", now(), rows_done=rows)
                run.state.write_status(status)

    for run in runs:
        run.forget_error()
    report(0, sum(run.plan.rows for run in runs))
    failures = _unfit(runs)
    fit = [run for run in runs if run.uri not in failures]
    try:
        if all(run.is_scored for run in fit):
            report(total := sum(run.plan.rows for run in runs), total)
        elif spark is not None:
            failures |= score_runs(spark.context(), fit, report)
        else:
            first = fit[0]
            name = f"{first.plan.pipeline} {first.plan.partition.key}"
            with application(settings_of(first), name, master) as own:
                failures |= score_runs(own.context(), fit, report)
    except NocturneError as error:
        failures |= {run.uri: error for run in fit}
    except Exception as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [""])[0]
        said = RetryableError(
            f"Spark failed: {type(error).__name__}: {line}. What was scored stays; `nocturne "
            "doctor` checks what Spark needs"
        )
        failures |= {run.uri: said for run in fit}
    # A run that was scored before another split, or Spark, failed goes on.
    failures = {r.uri: failures[r.uri] for r in runs if r.uri in failures and not r.is_scored}
    for run in runs:
        if failure := failures.get(run.uri):
            run.write_error(
                {
                    "type": type(failure).__name__,
                    "message": str(failure),
                    "terminal": isinstance(failure, TerminalError),
                }
            )
            with suppress(NocturneError), run.step("score"):
                raise failure
    return failures


def _unfit(runs: Sequence[Run]) -> dict[str, NocturneError]:
    """Run directory -> why what is left of it must not be scored.

    Asked before each scoring, since a retry may come days after the run was prepared.
    """
    require_loadable = cache(registry.require_loadable)  # a range has one model
    found: dict[str, NocturneError] = {}
    for run in runs:
        if run.is_scored:
            continue
        try:
            if run.plan.output_version != plan.OUTPUT_VERSION:
                raise StateError(
                    f"{run.path} was prepared by another version of Nocturne (output version "
                    f"{run.plan.output_version}, this is {plan.OUTPUT_VERSION}), and its splits "
                    "would not be scored alike: prepare the partition again",
                    run_dir=run.uri,
                )
            require_loadable(run.plan.model, settings_of(run).model.allow_pickle)
        except NocturneError as error:
            found[run.uri] = error
    return found


def submitted(run_dirs: Sequence[str]) -> int:
    """spark-submit's entry: the exit code of scoring the run directories."""
    from nocturne.pipeline.progress import Progress

    try:
        runs = [open_run(run_dir) for run_dir in run_dirs]
        if not runs:
            raise StateError("got no run directory; usage: score.py RUN_DIR [RUN_DIR ...]")
        failures = score(runs, master=None, progress=Progress())
    except NocturneError as error:
        log.error("%s", error)
        return error.exit_code
    for failure in failures.values():
        log.error("%s", failure)
    return max((failure.exit_code for failure in failures.values()), default=0)
