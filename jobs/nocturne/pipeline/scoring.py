"""Score: the runs' splits through Spark, in this process or under spark-submit."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from nocturne import state
from nocturne.config import Pipeline, home
from nocturne.errors import NocturneError, RetryableError, StateError, TerminalError
from nocturne.pipeline.runs import open_run, step
from nocturne.records import Run, write

__all__ = ["score", "submitted"]

Bar = Callable[[int, int], None]
_SIGN_OF_LIFE_S = 5.0


def score(
    runs: Sequence[Run], *, master: str | None, progress: Bar | None = None
) -> dict[str, NocturneError]:
    """Score the runs in one Spark application.

    Args:
        master: None under spark-submit.

    Returns:
        run directory -> error of the runs that could not be scored; also left in
        ``error.json`` there, since spark-submit passes on an exit code at most.
    """
    from nocturne.spark.job import score_runs
    from nocturne.spark.session import session

    first = runs[0]
    conf = Pipeline.model_validate(first.config).spark_conf

    told = 0.0

    def report(done: int, total: int) -> None:
        nonlocal told
        if progress:
            progress(done, total)
        if time.monotonic() - told < _SIGN_OF_LIFE_S:
            return
        told = time.monotonic()
        for run in runs:
            state.touch(
                run.state_dir,
                state.Current("running", "score", run.run_key, run.run_dir, run.model.version,
                              run.rows, done * run.rows // max(1, total), "", state.now()),
            )  # fmt: skip

    for run in runs:
        (Path(run.run_dir) / "error.json").unlink(missing_ok=True)
    report(0, sum(run.rows for run in runs))
    name = f"nocturne {first.pipeline} {first.partition.key}"
    failures: dict[str, NocturneError] = {}
    try:
        with session(name, master, conf, home() / "conf" / "spark") as spark:
            failures = score_runs(spark, runs, report)
    except NocturneError as error:
        failures = {run.run_dir: error for run in runs}
    except Exception as error:
        traceback.print_exc()
        line = (str(error).splitlines() or [""])[0]
        said = RetryableError(
            f"Spark failed: {type(error).__name__}: {line}. What was scored stays; `nocturne "
            "doctor` checks what Spark needs"
        )
        failures = {run.run_dir: said for run in runs}
    for run in runs:
        if failure := failures.get(run.run_dir):
            write(Path(run.run_dir) / "error.json",
                  {"type": type(failure).__name__, "message": str(failure),
                   "terminal": isinstance(failure, TerminalError)})  # fmt: skip
            with suppress(NocturneError), step("score", run):
                raise failure
    return failures


def submitted(run_dirs: Sequence[str]) -> int:
    """spark-submit's entry: the exit code of scoring the run directories."""
    from nocturne.progress import Progress

    try:
        runs = [open_run(run_dir) for run_dir in run_dirs]
        if not runs:
            raise StateError("got no run directory; usage: score.py RUN_DIR [RUN_DIR ...]")
        failures = score(runs, master=None, progress=Progress())
    except NocturneError as error:
        print(f"nocturne: {error}", file=sys.stderr)
        return error.exit_code
    for failure in failures.values():
        print(f"nocturne: {failure}", file=sys.stderr)
    return max((failure.exit_code for failure in failures.values()), default=0)
