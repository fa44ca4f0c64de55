"""A Spark session on an application, for SQL, notebooks and tests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.spark.application import Application

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

__all__ = ["cause_of", "fault_of_data", "gpu_share", "session"]

_CONDITION = re.compile(r"\[(?P<name>[A-Z0-9_.]+)\] .*? SQLSTATE: (?P<state>\w{5})")
"""The beginning of Spark's errors; class 22 of the state is data exceptions in standard SQL."""


@contextmanager
def session(
    app: str, master: str | None, conf: Mapping[str, str], conf_dir: Path | None = None
) -> Iterator[SparkSession]:
    """A Spark session. It is stopped at the end, unless it was running already.

    Args:
        master: None under spark-submit, which has set it.
        conf: extra ``spark.*`` settings; they win over ours.
        conf_dir: Spark's configuration folder (logging), unless SPARK_CONF_DIR is set.
    """
    with Application(app, master, conf, conf_dir, lean=False) as application:
        application.context()
        from pyspark.sql import SparkSession

        yield SparkSession.builder.getOrCreate()


def gpu_share(spark: SparkContext) -> float:
    """The share of a GPU's memory that each task may take, so that all its tasks fit.

    It follows from ``spark.task.resource.gpu.amount`` (0.25: four tasks on each GPU). Without this
    setting, in local mode, it follows from the numbers of parallel tasks and of GPUs.
    """
    amount: str | None = spark.getConf().get("spark.task.resource.gpu.amount")
    if amount:
        return min(1.0, float(amount))
    devices = len(list(Path("/dev").glob("nvidia[0-9]*"))) or 1
    tasks: int = spark.defaultParallelism
    return min(1.0, devices / tasks)


def cause_of(error: BaseException) -> str:
    """The line that shows the cause in one of Spark's long messages."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = next((x for x in reversed(lines) if "Error" in x or "Exception" in x), lines[0])
    return cause.strip()


def fault_of_data(error: BaseException) -> str:
    """Spark's message about a value or a column that it can never take; "" if there is none."""
    for condition in _CONDITION.finditer(str(error)):  # Py4J's errors have only this text
        if condition["state"].startswith("22") or condition["name"].endswith(
            "COLUMN_DATA_TYPE_MISMATCH"
        ):
            return condition[0]
    return ""
