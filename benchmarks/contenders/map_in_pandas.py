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
    folder = str(args.model)

    def work(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import numpy as np

        from benchmarks.data import COLUMNS
        from benchmarks.predict import MODEL_VERSION, Predictor

        predictor = Predictor(folder)
        for frame in frames:
            rows = np.ascontiguousarray(frame[list(COLUMNS)].to_numpy(np.float32))
            scores = predictor(rows)
            result = frame[["id", "category"]]
            yield result.assign(score=scores, model_version=np.int32(MODEL_VERSION))

    finish(spark.read.parquet(str(args.input)).mapInPandas(work, SCHEMA), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
