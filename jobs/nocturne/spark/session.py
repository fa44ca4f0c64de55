"""The Spark session: settings that every run shares, whoever started it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["cause_of", "gpu_share", "session"]

_SETTINGS = {
    "spark.python.daemon.module": "nocturne.spark.daemon",
    "spark.python.worker.reuse": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def session(
    app: str, master: str | None, conf: Mapping[str, str], conf_dir: Path | None = None
) -> Iterator[SparkSession]:
    """A Spark session that is stopped at the end; one that runs already is used and left.

    Args:
        master: None under spark-submit, which has set it.
        conf: extra ``spark.*`` settings; they win over ours.
        conf_dir: Spark's configuration folder (logging), unless SPARK_CONF_DIR is set.
    """
    # Workers run this very interpreter unless somebody chose another.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if conf_dir is not None and conf_dir.is_dir():
        os.environ.setdefault("SPARK_CONF_DIR", str(conf_dir))
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        yield running
        return
    builder = SparkSession.builder.appName(app)
    if master:
        builder = builder.master(master)
    for key, value in {**_SETTINGS, **conf}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def gpu_share(spark: SparkSession) -> float:
    """The part of a GPU's memory that each task may take: all tasks of a GPU fit in it.

    From ``spark.task.resource.gpu.amount`` (0.25: four tasks a GPU); without it, in local
    mode, from the tasks that run at once and the GPUs that are there.
    """
    amount: str | None = spark.sparkContext.getConf().get("spark.task.resource.gpu.amount")
    if amount:
        return min(1.0, float(amount))
    devices = len(list(Path("/dev").glob("nvidia[0-9]*"))) or 1
    tasks: int = spark.sparkContext.defaultParallelism
    return min(1.0, devices / tasks)


def cause_of(error: BaseException) -> str:
    """The line of Spark's long messages that says what went wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = next((x for x in reversed(lines) if "Error" in x or "Exception" in x), lines[0])
    return cause.strip()
