"""Starts Spark's Python workers before there is work for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["WORKERS", "Waking"]

WORKERS = {
    "spark.python.daemon.module": "nocturne.spark.start.daemon",
    "spark.python.worker.reuse": "true",
}
"""Spark's settings: workers are forked from ``daemon``, and are reused."""

_LIMIT_S = 30.0


class Waking:
    """Runs an empty task, since Spark starts the daemon of the workers with the first task."""

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._thread = threading.Thread(target=self._run, name="spark-wake", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(Exception):  # the scoring job will say what is wrong
            self._context.setJobDescription("start the Python workers")
            self._context.parallelize([0], 1).foreachPartition(_nothing)

    def end(self) -> None:
        """Cancel the task if it still runs."""
        if self._thread.is_alive():
            self._context.setLogLevel("OFF")  # do not log the cancellation
            self._context.cancelAllJobs()
            self._thread.join(_LIMIT_S)


def _nothing(_: Iterable[object]) -> None:
    pass
