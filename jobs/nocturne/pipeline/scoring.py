"""Score: the runs' splits through Spark, in this process or under spark-submit; or without it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from nocturne import plan
from nocturne.config import Pipeline, home
from nocturne.errors import (
    InputChanged,
    InputError,
    NocturneError,
    RetryableError,
    StateError,
    StoreUnavailable,
    TerminalError,
)
from nocturne.host import machine
from nocturne.model import registry
from nocturne.pipeline.challengers import (
    drop_running,
    drop_unfit,
    drop_unfit_arms,
    without_arms,
)
from nocturne.pipeline.runs import require_model, settings_of, whole
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import now
from nocturne.store.run import Run

if TYPE_CHECKING:
    from nocturne.spark.probe import LaunchSettings
    from nocturne.trial import TrialAnswer, TrialRequest

__all__ = [
    "Claims",
    "Executor",
    "ReportProgress",
    "executor",
    "launch_settings",
    "score",
    "submitted",
]

log = logging.getLogger(__name__)

ReportProgress = Callable[[int, int], None]
_STATUS_EVERY_S = 5.0


class Claims:
    """The runs that are judged already: scoring writes no more status of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[str] = set()

    def claim(self, run: Run) -> None:
        """Claim the run. When this returns, scoring writes no more status of it."""
        with self._lock:
            self._claimed.add(run.uri)

    @contextmanager
    def open(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """The runs that are not claimed; none of them can be claimed until the block ends."""
        with self._lock:
            yield [run for run in runs if run.uri not in self._claimed]


class Executor(Protocol):
    """Where splits are scored: a Spark application, or processes of this machine.

    It is a context manager that stops what it has started.
    """

    @property
    def name(self) -> str:
        """What scores, in words."""

    def start(self) -> None:
        """Begin to start, and return at once."""

    def score(
        self, runs: Sequence[Run], progress: ReportProgress | None = None
    ) -> dict[str, NocturneError]:
        """Score every split of the runs that has no result yet.

        Returns:
            run directory -> error, for the runs that can't be scored; the others are complete.

        Raises:
            NocturneError: nothing more can be scored.
        """

    def try_model(self, request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
        """Try a model where it will be scored, on rows as an Arrow IPC file.

        Returns:
            The name of the host, and the answer.
        """

    def finish(self) -> None:
        """Begin to end, since there is no more to score."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def executor(pipeline: Pipeline, name: str, master: str | None) -> Executor:
    """What scores the pipeline's runs on ``master``; it may be started early.

    Args:
        name: what is scored, shown in Spark's UI.
        master: None under spark-submit.
    """
    if (cores := machine.cores_without_spark(master)) is not None:
        from nocturne.processes import Processes

        threads, prefix = pipeline.scoring.threads, "spark.executorEnv."
        variables = {
            name.removeprefix(prefix): value
            for name, value in pipeline.spark_conf.items()
            if name.startswith(prefix)
        }
        return Processes(max(1, cores // threads), threads, variables)
    from nocturne.spark.application import Application

    settings = launch_settings(pipeline, master)
    return Application(
        f"nocturne {name}", settings.master, settings.conf, settings.conf_dir, lean=settings.lean
    )


def launch_settings(pipeline: Pipeline, master: str | None) -> LaunchSettings:
    """The settings with which the pipeline's runs start Spark on ``master``."""
    from nocturne.spark.probe import LaunchSettings

    lean = pipeline.scoring.reader != "spark"
    return LaunchSettings(master, pipeline.spark_conf, home() / "conf" / "spark", lean)


def score(
    runs: Sequence[Run],
    *,
    master: str | None = None,
    progress: ReportProgress | None = None,
    by: Executor | None = None,
    claims: Claims | None = None,
) -> dict[str, NocturneError]:
    """Score the runs, all in one Spark application (or in the processes of one server).

    Args:
        master: the master of a new executor; None under spark-submit.
        by: what scores them, which the caller stops. Default: a new executor.
        claims: the runs that the caller judges while others are scored.

    Returns:
        Run directory -> error, for the runs that could not be scored. The error is also written to
        ``error.json`` there, since spark-submit passes on only an exit code.
    """
    claims = claims or Claims()
    given, last_status = runs, 0.0
    drop_unfit_arms(given)
    without_arms(given)
    runs = [*map(_in_effect, given)]

    def report(done: int, total: int) -> None:
        nonlocal last_status
        if progress:
            progress(done, total)
        if time.monotonic() - last_status < _STATUS_EVERY_S:
            return
        last_status = time.monotonic()
        with claims.open(runs) as unfinished:
            for run in unfinished:
                rows = done * run.plan.rows // max(1, total)
                status = RunStatus.of(run.plan, "running", "score", "", now(), rows_done=rows)
                with suppress(StoreUnavailable):  # scoring does not need it
                    run.state.write_status(status)

    for run in given:
        run.forget_error()
    report(0, sum(run.plan.rows for run in runs))
    failures = _unfit(runs)
    fit = [run for run in runs if run.uri not in failures]
    drop_unfit(fit)
    try:
        if all(run.is_scored for run in fit):
            report(total := sum(run.plan.rows for run in runs), total)
        elif by is not None:
            failures |= _whole(fit, by, report, runs)
        else:
            first = fit[0]
            name = f"{first.plan.pipeline} {first.plan.partition.key}"
            with executor(settings_of(first), name, master) as own:
                failures |= _whole(fit, own, report, runs)
    except NocturneError as error:
        failures |= {run.uri: error for run in runs if run.uri not in failures}
    except Exception as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [""])[0]
        problem = RetryableError(
            f"scoring failed: {type(error).__name__}: {line}. What was scored stays; `nocturne "
            "doctor` checks what it needs"
        )
        failures |= {run.uri: problem for run in runs if run.uri not in failures}
    unscored = RetryableError("not all of its splits were scored. Run the same command again")
    failures = {run.uri: unscored for run in runs if not run.is_scored} | failures
    # A run that was completely scored before Spark or another run failed has no failure.
    failures = {
        asked.uri: failures[run.uri]
        for asked, run in zip(given, runs, strict=True)
        if run.uri in failures and not run.is_scored
    }
    for run in given:
        if failure := failures.get(run.uri):
            with suppress(StoreUnavailable):  # then its exit code has to do
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


def _whole(
    runs: Sequence[Run], by: Executor, progress: ReportProgress, all_runs: list[Run]
) -> dict[str, NocturneError]:
    """``_scored``; a run that lost its arms when all of it was scored is scored without them."""
    failures = _scored(runs, by, progress, all_runs)
    before = [*all_runs]
    all_runs[:] = map(_in_effect, all_runs)
    late = [now for was, now in zip(before, all_runs, strict=True) if now != was]
    return failures | _scored(late, by, progress, all_runs) if late else failures


def _in_effect(run: Run) -> Run:
    """``whole``; a run that can't be opened is scored as it was, and fails as it does."""
    with suppress(NocturneError):
        return whole(run)
    return run


def _instead(runs: Sequence[Run], others: Mapping[str, Run]) -> list[Run]:
    return [others.get(run.uri, run) for run in runs]


def _scored(
    runs: Sequence[Run], by: Executor, progress: ReportProgress, all_runs: list[Run]
) -> dict[str, NocturneError]:
    """Run directory -> error. If another model may be the cause, the night is scored without it:
    first without arms that have failed, then without arms and challengers.

    Args:
        all_runs: a run whose arms were dropped is replaced there by the one without them.

    Raises: as ``Executor.score``.
    """
    failures, error, failed = _attempt(runs, by, progress)
    if others := without_arms(failed):
        all_runs[:] = _instead(all_runs, others)
        failures, error, failed = _attempt(_instead(failed, others), by, progress)
    suspects = [run for run in failed if not isinstance(failures.get(run.uri), _BLAMELESS)]
    others = {} if error else without_arms(suspects, died=True)
    if drop_running(suspects, begun=error is not None) or others:
        log.warning("scored once more, without other models")
        all_runs[:] = _instead(all_runs, others)
        again = _instead(suspects, others)
        more, error, _ = _attempt(again, by, progress)
        failures = {uri: e for uri, e in failures.items() if uri not in {r.uri for r in suspects}}
        failures |= more
    if error is not None:
        raise error
    return failures


_BLAMELESS = (InputChanged, InputError, StoreUnavailable)
"""Errors that no other model in the pass has caused."""


def _attempt(
    runs: Sequence[Run], by: Executor, progress: ReportProgress
) -> tuple[dict[str, NocturneError], NocturneError | None, list[Run]]:
    """Run directory -> error; or why nothing more can be scored; and the runs that were not."""
    try:
        failures = by.score(runs, progress)
    except NocturneError as error:
        return {}, error, [run for run in runs if not run.is_scored]
    return failures, None, [run for run in runs if run.uri in failures]


def _unfit(runs: Sequence[Run]) -> dict[str, NocturneError]:
    """Run directory -> why its remaining splits must not be scored.

    It is checked before each scoring, since a retry may come days after the run was prepared.
    """
    loadable = cache(registry.require_loadable)  # a range has one model
    failures: dict[str, NocturneError] = {}
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
            require_model(run, loadable)
        except NocturneError as error:
            failures[run.uri] = error
    return failures


def submitted(run_dirs: Sequence[str]) -> int:
    """The entry point of spark-submit: scores the run directories and returns the exit code."""
    from nocturne.pipeline.progress import Progress

    try:
        runs = [Run.open(run_dir) for run_dir in run_dirs]
        if not runs:
            raise StateError("got no run directory; usage: score.py RUN_DIR [RUN_DIR ...]")
        failures = score(runs, master=None, progress=Progress())
    except NocturneError as error:
        log.error("%s", error)
        return error.exit_code
    for failure in failures.values():
        log.error("%s", failure)
    return max((failure.exit_code for failure in failures.values()), default=0)
