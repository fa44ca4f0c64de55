"""Score: the runs' splits through Spark, in this process or under spark-submit."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne import plan
from nocturne.config import Pipeline, home
from nocturne.errors import NocturneError, RetryableError, StateError, TerminalError
from nocturne.model import registry
from nocturne.pipeline.runs import open_run, pipeline_of, scored, step
from nocturne.records import Run
from nocturne.store import state
from nocturne.store.record_files import write

if TYPE_CHECKING:
    from nocturne.spark.application import Application
    from nocturne.spark.probe import How

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
        """Returns when nothing is being said of the run, and nothing will be."""
        with self._lock:
            self._claimed.add(run.run_dir)

    @contextmanager
    def open(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """Those of the runs that nobody has claimed, nor can while this lasts."""
        with self._lock:
            yield [run for run in runs if run.run_dir not in self._claimed]


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


def how(pipeline: Pipeline, master: str | None) -> How:
    """How the pipeline's runs start Spark, on ``master``."""
    from nocturne.spark.probe import How

    lean = pipeline.scoring.reader != "spark"
    return How(master, pipeline.spark_conf, home() / "conf" / "spark", lean)


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
                rows = done * run.rows // max(1, total)
                state.touch(
                    run.state_dir,
                    state.Current(
                        "running",
                        "score",
                        run.run_key,
                        run.run_dir,
                        run.model.version,
                        run.rows,
                        rows,
                        "",
                        state.now(),
                    ),
                )

    for run in runs:
        (Path(run.run_dir) / "error.json").unlink(missing_ok=True)
    report(0, sum(run.rows for run in runs))
    failures = _unfit(runs)
    fit = [run for run in runs if run.run_dir not in failures]
    try:
        if all(scored(run) for run in fit):
            report(total := sum(run.rows for run in runs), total)
        elif spark is not None:
            failures |= score_runs(spark.context(), fit, report)
        else:
            first = fit[0]
            name = f"{first.pipeline} {first.partition.key}"
            with application(pipeline_of(first), name, master) as own:
                failures |= score_runs(own.context(), fit, report)
    except NocturneError as error:
        failures |= {run.run_dir: error for run in fit}
    except Exception as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [""])[0]
        said = RetryableError(
            f"Spark failed: {type(error).__name__}: {line}. What was scored stays; `nocturne "
            "doctor` checks what Spark needs"
        )
        failures |= {run.run_dir: said for run in fit}
    # What another split's error, or Spark's, came too late for goes on all the same.
    failures = {
        r.run_dir: failures[r.run_dir] for r in runs if r.run_dir in failures and not scored(r)
    }
    for run in runs:
        if failure := failures.get(run.run_dir):
            write(
                Path(run.run_dir) / "error.json",
                {
                    "type": type(failure).__name__,
                    "message": str(failure),
                    "terminal": isinstance(failure, TerminalError),
                },
            )
            with suppress(NocturneError), step("score", run):
                raise failure
    return failures


def _unfit(runs: Sequence[Run]) -> dict[str, NocturneError]:
    """Run directory -> why what is left of it must not be scored.

    Asked before each scoring, since a retry may come days after the run was prepared.
    """
    require_loadable = cache(registry.require_loadable)  # a range has one model
    found: dict[str, NocturneError] = {}
    for run in runs:
        if scored(run):
            continue
        try:
            if run.output_version != plan.OUTPUT_VERSION:
                raise StateError(
                    f"{run.run_dir} was prepared by another version of Nocturne (output version "
                    f"{run.output_version}, this is {plan.OUTPUT_VERSION}), and its splits would "
                    "not be scored alike: prepare the partition again",
                    run_dir=run.run_dir,
                )
            require_loadable(run.model, pipeline_of(run).model.allow_pickle)
        except NocturneError as error:
            found[run.run_dir] = error
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
