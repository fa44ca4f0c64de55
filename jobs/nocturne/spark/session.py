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

__all__ = ["session"]

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
