"""A Spark application that starts in the background.

Starting a JVM, a Spark context and the daemon of the Python workers takes seconds. Meanwhile the
driver asks the registry and plans the splits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nocturne.host import machine
from nocturne.spark.start import WORKERS, Launch, Waking, plan
from nocturne.worker.warm import ENVIRONMENT

if TYPE_CHECKING:
    from pyspark import SparkContext

    from nocturne.errors import NocturneError
    from nocturne.store.run import Run
    from nocturne.trial import TrialAnswer, TrialRequest
    from nocturne.worker.progress import Progress

__all__ = ["Application"]

_SETTINGS = {
    **WORKERS,
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    **{f"spark.executorEnv.{name}": value for name, value in ENVIRONMENT.items()},
}
_LOCAL = {"spark.executorEnv.PYTHONSAFEPATH": "1"}
"""Local workers find no modules in the current folder, where one may be called random.py."""


class Application:
    """A new Spark context, or the one that runs already, which is not stopped at the end.

    It is a context and not a session: scoring needs no SQL, and starting SQL takes as long again.
    ``nocturne.spark.session`` adds a session.

    Args:
        name: shown in Spark's UI.
        master: None under spark-submit, which has set it.
        conf: extra ``spark.*`` settings; they win over ours.
        conf_dir: Spark's configuration folder (logging), unless SPARK_CONF_DIR is set.
        lean: Spark carries no rows, so a small JVM will do.
        probing: only test whether Spark starts: make no archive, and raise the error unchanged.
    """

    def __init__(
        self,
        name: str,
        master: str | None,
        conf: Mapping[str, str],
        conf_dir: Path | None = None,
        *,
        lean: bool = True,
        probing: bool = False,
    ) -> None:
        self._name, self._master, self._conf, self._conf_dir = name, master, conf, conf_dir
        self._lean, self._probing = lean, probing
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waking: Waking | None = None
        self._end: threading.Thread | None = None
        self._context: SparkContext | None = None
        self._error: BaseException | None = None
        self._ours = self._given_up = False
        self._launch: Launch | None = None

    @property
    def name(self) -> str:
        """What scores, in words."""
        return f"Spark on {self._master or 'the submitted application'}"

    def start(self) -> None:
        """Begin to start, and return at once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spark", daemon=True)
                self._thread.start()

    def context(self) -> SparkContext:
        """The context, once it is up.

        Raises:
            MachineError: Spark can't start on this machine or in its environment.
            RetryableError: Spark failed to start, but may start another time.
        """
        self.start()
        assert self._thread is not None
        self._thread.join()
        if self._context is None:
            assert self._error is not None
            self._error = self._explained(self._error)
            raise self._error
        return self._context

    def score(
        self, runs: Sequence[Run], progress: Progress | None = None
    ) -> dict[str, NocturneError]:
        """See ``nocturne.spark.job.score_runs``."""
        from nocturne.spark.job import score_runs

        return score_runs(self.context(), runs, progress)

    def try_model(self, request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
        """See ``nocturne.spark.trial.ask_worker``."""
        from nocturne.spark.trial import ask_worker

        return ask_worker(self.context(), request, rows)

    def finish(self) -> None:
        """Begin to stop the context, and return at once."""
        with self._lock:
            if self._end is None and self._context is not None:
                self._end = threading.Thread(target=self._stop, name="spark-end", daemon=True)
                self._end.start()

    def stop(self) -> None:
        """Stop the context. One that is still starting is not waited for; it stops itself."""
        with self._lock:
            self._given_up = True
        self.finish()
        if self._end is not None:
            self._end.join()

    def __enter__(self) -> Application:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self._context is not None:
            self._launch = None  # do not wait for an archive
            with suppress(Exception):  # the caller gave up, so the job is cancelled silently
                self._context.setLogLevel("OFF")
                self._context.cancelAllJobs()
        self.stop()

    def _run(self) -> None:
        try:
            from pyspark import SparkContext

            self._context = SparkContext._active_spark_context
            if self._context is None:
                context = self._started()
                with self._lock:
                    if self._given_up:
                        context.stop()
                        return
                    self._context, self._ours = context, True
                if machine.is_local(self._master):
                    self._waking = Waking(context)
        except BaseException as error:  # ``context`` raises it
            self._error = error

    def _explained(self, error: BaseException) -> BaseException:
        """The error that explains why Spark did not start."""
        if self._probing or not isinstance(error, Exception):
            return error
        from nocturne.spark.probe import LaunchSettings, start_error

        return start_error(
            error, LaunchSettings(self._master, dict(self._conf), self._conf_dir, self._lean)
        )

    def _stop(self) -> None:
        context, self._context = self._context, None
        assert context is not None
        if self._ours:
            if self._waking is not None:
                self._waking.end()
            context.stop()
        if self._launch is not None:
            self._launch.end()

    def _started(self) -> SparkContext:
        from pyspark import SparkContext

        machine.adapt(self._master)
        runs = SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ
        launch = plan(None if runs else self._master, self._conf, self._conf_dir, lean=self._lean)
        for name, value in launch.environment.items():
            os.environ.setdefault(name, value)
        if launch.making and self._probing:
            launch = launch.plain()
        context, self._launch = launch.start(self._new)
        return context

    def _new(self, settings: Mapping[str, str]) -> SparkContext:
        from pyspark import SparkConf, SparkContext

        conf = SparkConf().setAppName(self._name)
        if self._master:
            conf.setMaster(self._master)
        own = {**_SETTINGS, **(_LOCAL if machine.is_local(self._master) else {})}
        for key, value in {**own, **settings}.items():
            conf.set(key, value)
        SparkContext._ensure_initialized(conf=conf)
        machine.hadoop_login(SparkContext._jvm)
        context = SparkContext(conf=conf)
        context.setLogLevel("ERROR")
        return context
