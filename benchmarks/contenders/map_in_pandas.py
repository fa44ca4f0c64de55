"""``DataFrame.mapInPandas`` on what Spark read: Arrow batches turned into pandas frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.contenders.spark import SCHEMA, SPARK_SETTINGS, finish, session

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

SETTINGS = SPARK_SETTINGS


def score(spark: SparkSession, args: Arguments) -> None:
    folder, name = str(args.model), args.table_name

    def work(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import numpy as np

        from benchmarks.predict import MODEL_VERSION, Predictor
        from benchmarks.tables import TABLES

        predictor, table = Predictor(folder), TABLES[name]
        for frame in frames:
            scores = predictor(*table.encode_frame(frame))
            result = frame[["id", "category"]]
            yield result.assign(score=scores, model_version=np.int32(MODEL_VERSION))

    finish(spark.read.parquet(str(args.input)).mapInPandas(work, SCHEMA), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
