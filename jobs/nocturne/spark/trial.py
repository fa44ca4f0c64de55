"""A model is tried where it will be scored: by a Spark worker, in one task."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nocturne.records import dump, load
from nocturne.spark.work import device_slot, guarded, raised, telling
from nocturne.trial import Answer, Asked
from nocturne.trial.process import ask

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["ask_worker"]

Told = tuple[str, str | None, str | None, str | None]
"""Host, the answer as JSON; else an error's type and its message."""


def ask_worker(spark: SparkContext, asked: Asked, rows: bytes) -> tuple[str, Answer]:
    """The host of the worker that tried the model, and what came of it.

    Args:
        rows: an Arrow IPC file (``nocturne.trial.process``).

    Raises:
        MachineError: Spark's workers can't do such a thing as they are.
        RetryableError: Spark itself failed.
        NocturneError: what kept the worker from trying it: no space for the rows, say.
    """
    with telling("try the model", "Nothing was scored; run the same command again"):
        spark.setJobDescription(f"try {asked.model.name} version {asked.model.version}")
        work = partial(_work, rows)
        [told] = spark.parallelize([dump(asked)], 1).mapPartitions(work).collect()
    host, answer, error, message = told
    if error is not None:
        raise raised(error, str(message))
    return host, load(Answer, answer, f"the answer of {host}")


def _work(rows: bytes, questions: Iterable[str]) -> Iterator[Told]:
    """In a Python worker: the answer of a process that finds the modules that this one finds."""
    host = socket.gethostname()
    for question in questions:
        asked = load(Asked, question, "what the driver asks")
        asked = replace(asked, device=device_slot(asked.device).device or asked.device)
        answer, error, message = guarded(partial(ask, asked, rows, sys.path), f"a trial on {host}")
        yield host, None if answer is None else dump(answer), error, message
