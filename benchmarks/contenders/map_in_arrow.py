"""``DataFrame.mapInArrow`` on what Spark read: the rows cross to Python as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.contenders.spark import SCHEMA, SPARK_SETTINGS, finish, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = SPARK_SETTINGS


def score(spark: SparkSession, args: Arguments) -> None:
    folder = str(args.model)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from benchmarks.predict import Predictor, matrix, output

        predictor = Predictor(folder)
        for batch in batches:
            yield output(batch, predictor(matrix(batch)))

    finish(spark.read.parquet(str(args.input)).mapInArrow(work, SCHEMA), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
