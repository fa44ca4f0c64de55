"""Tries a model where it will be scored: in a task of a Spark worker."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nocturne.codec import dump, load
from nocturne.spark.work import device_slot, spark_errors
from nocturne.trial import TrialAnswer, TrialRequest
from nocturne.trial.process import ask
from nocturne.worker.tasks import as_error, guarded

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["ask_worker"]

Reply = tuple[str, str | None, str | None, str | None]
"""Host, the answer as JSON; else an error's type and its message."""


def ask_worker(spark: SparkContext, request: TrialRequest, rows: bytes) -> tuple[str, TrialAnswer]:
    """The host of the worker that tried the model, and its answer.

    Args:
        rows: an Arrow IPC file (``nocturne.trial.process``).

    Raises:
        MachineError: Spark's workers can't try a model in their environment.
        RetryableError: Spark itself failed.
        NocturneError: the worker could not start the trial, for example for lack of space.
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
    """Runs in a Python worker: starts a trial process with the same module path."""
    host = socket.gethostname()
    for question in questions:
        request = load(TrialRequest, question, "the driver's request")
        request = replace(request, device=device_slot(request.device).device or request.device)
        answer, error, message = guarded(
            partial(ask, request, rows, sys.path), f"a trial on {host}"
        )
        yield host, None if answer is None else dump(answer), error, message
