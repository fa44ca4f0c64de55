"""``mlflow.pyfunc.spark_udf`` on the registered model: a PythonModel around ``predict``."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.contenders.spark import SPARK_SETTINGS, finish, session
from benchmarks.tables.numbers import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = {**SPARK_SETTINGS, "arrow_rows": "10000", "columns": "scalars"}


def score(spark: SparkSession, args: Arguments) -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from pyspark.sql import functions as f

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    model = json.loads((args.model / "model.json").read_text(encoding="utf-8"))
    mlflow.set_tracking_uri(model["tracking_uri"])
    udf = mlflow.pyfunc.spark_udf(spark, model["pyfunc"], result_type="float", env_manager="local")
    columns = [f.col(name) for name in COLUMNS]
    scores = udf(f.struct(*columns)) if args.settings["columns"] == "struct" else udf(*columns)
    frame = spark.read.parquet(str(args.input))
    version = f.lit(1).cast("int").alias("model_version")
    finish(frame.select("id", "category", scores.alias("score"), version), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
