"""Scores in a thread, so that a night can be judged and published while others are scored."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nocturne.errors import NocturneError
from nocturne.pipeline.runs import whole
from nocturne.pipeline.scoring import Claims, Executor, ReportProgress, score
from nocturne.store.run import Run

__all__ = ["Background"]

_POLL_S = 0.05


class Background:
    """Scores runs by one executor, in a thread, and then ends the executor."""

    def __init__(self, runs: Sequence[Run], by: Executor, progress: ReportProgress) -> None:
        self._claims = Claims()
        self._failures: dict[str, NocturneError] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._score, args=(runs, by, progress), name="score", daemon=True
        )
        self._thread.start()

    def wait(self, run: Run) -> Run:
        """Wait until all splits of the run are scored; its state then belongs to the caller.

        Returns:
            The run, or the same without its arms if they were dropped meanwhile.

        Raises:
            NocturneError: they can't be scored.
        """
        given, run = run, whole(run)
        while self._thread.is_alive() and not run.is_scored:
            self._thread.join(_POLL_S)
            run = whole(run)
        run = whole(run)  # from here on its arms stay, or it has none
        if self._thread.is_alive() and not run.is_scored:
            return self.wait(run)
        self._claims.claim(run)
        if run.is_scored:
            return run
        if self._error is not None:
            raise self._error
        if failure := self._failures.get(given.uri):
            raise failure
        return run

    def _score(self, runs: Sequence[Run], by: Executor, progress: ReportProgress) -> None:
        try:
            self._failures = score(runs, by=by, progress=progress, claims=self._claims)
        except BaseException as error:  # ``wait`` raises it
            self._error = error
        finally:
            by.finish()
