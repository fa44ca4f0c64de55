"""A Spark session on an application: for what needs SQL, and for notebooks and tests."""

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
"""How Spark's errors begin; the state's class 22 is standard SQL's data exceptions."""


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
    with Application(app, master, conf, conf_dir, lean=False) as application:
        application.context()
        from pyspark.sql import SparkSession

        yield SparkSession.builder.getOrCreate()


def gpu_share(spark: SparkContext) -> float:
    """The part of a GPU's memory that each task may take: all tasks of a GPU fit in it.

    From ``spark.task.resource.gpu.amount`` (0.25: four tasks a GPU); without it, in local
    mode, from the tasks that run at once and the GPUs that are there.
    """
    amount: str | None = spark.getConf().get("spark.task.resource.gpu.amount")
    if amount:
        return min(1.0, float(amount))
    devices = len(list(Path("/dev").glob("nvidia[0-9]*"))) or 1
    tasks: int = spark.defaultParallelism
    return min(1.0, devices / tasks)


def cause_of(error: BaseException) -> str:
    """The line of Spark's long messages that says what went wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = next((x for x in reversed(lines) if "Error" in x or "Exception" in x), lines[0])
    return cause.strip()


def fault_of_data(error: BaseException) -> str:
    """What Spark says of a value or a column that it can't take, and never will; "" if nothing."""
    for condition in _CONDITION.finditer(str(error)):  # Py4J's errors have no more than this text
        if condition["state"].startswith("22") or condition["name"].endswith(
            "COLUMN_DATA_TYPE_MISMATCH"
        ):
            return condition[0]
    return ""
