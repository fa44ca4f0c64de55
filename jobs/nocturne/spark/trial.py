"""A model is tried where it will be scored: by a Spark worker, in one task."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nocturne.codec import dump, load
from nocturne.spark.work import as_error, device_slot, guarded, spark_errors
from nocturne.trial import TrialAnswer, TrialRequest
from nocturne.trial.process import ask

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["ask_worker"]

Reply = tuple[str, str | None, str | None, str | None]
"""Host, the answer as JSON; else an error's type and its message."""


def ask_worker(spark: SparkContext, request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
    """The host of the worker that tried the model, and what came of it.

    Args:
        rows: an Arrow IPC file (``nocturne.trial.process``).

    Raises:
        MachineError: Spark's workers can't do such a thing as they are.
        RetryableError: Spark itself failed.
        NocturneError: what kept the worker from trying it: no space for the rows, say.
    """
    with spark_errors("try the model", "Nothing was scored; run the same command again"):
        spark.setJobDescription(f"try {request.model.name} version {request.model.version}")
        work = partial(_work, rows)
        [reply] = spark.parallelize([dump(request)], 1).mapPartitions(work).collect()
    host, answer, error, message = reply
    if error is not None:
        raise as_error(error, str(message))
    return host, load(TrialAnswer, answer, f"the answer of {host}")


def _work(rows: bytes, questions: Iterable[str]) -> Iterator[Reply]:
    """In a Python worker: the answer of a process that finds the modules that this one finds."""
    host = socket.gethostname()
    for question in questions:
        request = load(TrialRequest, question, "what the driver asks")
        request = replace(request, device=device_slot(request.device).device or request.device)
        answer, error, message = guarded(
            partial(ask, request, rows, sys.path), f"a trial on {host}"
        )
        yield host, None if answer is None else dump(answer), error, message
