"""The Spark session of the contenders that let Spark read and write."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.arguments import Arguments
from benchmarks.layout import ROOT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SCHEMA", "SPARK_SETTINGS", "configure", "finish", "session"]

SCHEMA = "id long, category string, score float, model_version int"
SPARK_SETTINGS: Mapping[str, str] = {
    "arrow_rows": "65536",
    "pipelined": "true",
    "memory": "4g",
}


def configure(spark: SparkSession, args: Arguments) -> None:
    """The settings that may change in a running session."""
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", args.settings["arrow_rows"])


def session(args: Arguments) -> SparkSession:
    """``local[processes]``, without the UI, workers of this very interpreter."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_CONF_DIR", str(ROOT / "conf" / "spark"))
    from pyspark.sql import SparkSession

    fixed: dict[str, Any] = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": args.settings["memory"],
        "spark.python.udf.pipelined.enabled": args.settings["pipelined"],
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.appName("benchmark").master(f"local[{args.processes}]")
    for key, value in fixed.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    configure(spark, args)
    return spark


def finish(frame: DataFrame, args: Arguments) -> None:
    """Write id, category, score and model_version, replacing what is there."""
    frame.write.mode("overwrite").parquet(str(args.output))
