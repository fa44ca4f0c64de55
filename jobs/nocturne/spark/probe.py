"""Tests whether Spark starts here in the same way as for a run, with a worker that has Nocturne.

The test runs in a process of its own with a time limit, since a JVM that fails to start writes the
cause only to its standard error. `nocturne doctor` uses it, and so does a run whose Spark did not
start.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nocturne.errors import NocturneError, RetryableError
from nocturne.host.trouble import Trouble, explain
from nocturne.spark.application import Application

__all__ = ["LaunchSettings", "Started", "probe", "start_error"]

log = logging.getLogger(__name__)

LIMIT_S = 240.0
_ANSWER = "nocturne-probe "


@dataclass(frozen=True)
class LaunchSettings:
    """How a run starts Spark: the arguments of an ``Application``."""

    master: str | None
    conf: dict[str, str]
    conf_dir: Path | None
    lean: bool = True


@dataclass(frozen=True)
class Started:
    """Spark started, and a worker of it imported Nocturne."""

    spark: str
    java: str
    python: str
    seconds: float


def probe(how: LaunchSettings, limit_s: float = LIMIT_S) -> Started | Trouble:
    """Start Spark and one worker, and end them. Returns the trouble if they did not start."""
    began = time.monotonic()
    request = json.dumps({**asdict(how), "conf_dir": str(how.conf_dir) if how.conf_dir else None})
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nocturne.spark.probe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, late = process.communicate(request.encode(), limit_s)[0], False
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, late = process.communicate()[0], True
    output = out.decode("utf-8", "replace")
    for line in output.splitlines():
        if line.startswith(_ANSWER):
            return Started(
                **json.loads(line.removeprefix(_ANSWER)), seconds=time.monotonic() - began
            )
    trouble = explain(output)
    if trouble.why or not late:
        return trouble
    return Trouble(
        f"it did not start within {limit_s:.0f} s; the last message was: {trouble.message}"
    )


def start_error(error: Exception, how: LaunchSettings) -> NocturneError:
    """The error that explains why Spark did not start.

    Args:
        error: the error that starting Spark raised. If it does not show the cause, since the JVM
            wrote it elsewhere, ``probe`` starts Spark again.
    """
    if isinstance(error, NocturneError):
        return error
    failure = "Spark can't start"
    trouble = explain(str(error))
    if trouble.why or how.master is None:
        return trouble.error(failure)
    log.warning("Spark did not start; trying it once more to see why")
    result = probe(how)
    if isinstance(result, Trouble):
        return result.error(failure)
    return RetryableError(
        "Spark did not start at first, but started when it was tried again: memory or processes "
        "may have been short. Run the same command again"
    )


def _start(how: LaunchSettings) -> Iterator[dict[str, str]]:
    name = "nocturne doctor"
    with Application(
        name, how.master, how.conf, how.conf_dir, lean=how.lean, probing=True
    ) as spark:
        context = spark.context()
        [python] = context.parallelize([0], 1).mapPartitions(_imported).collect()
        if not how.lean:
            from pyspark.sql import SparkSession

            SparkSession.builder.getOrCreate().range(1).collect()
        java: Any = context._jvm
        yield {
            "spark": context.version,
            "java": str(java.java.lang.System.getProperty("java.version")),
            "python": python,
        }


def _imported(_: Iterable[int]) -> Iterator[str]:
    """Runs in a worker: its Python version, once it has imported what a split needs."""
    import nocturne.worker.split  # noqa: F401

    yield ".".join(map(str, sys.version_info[:3]))


def main() -> None:
    """Starts Spark. One line of the output is the answer; the rest shows what went wrong."""
    request = json.load(sys.stdin)
    conf_dir = request.pop("conf_dir")
    for answer in _start(LaunchSettings(**request, conf_dir=Path(conf_dir) if conf_dir else None)):
        print(_ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
