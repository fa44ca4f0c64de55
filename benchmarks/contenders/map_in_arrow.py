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
    folder, name = str(args.model), args.table_name

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from benchmarks.predict import Predictor, columns, output
        from benchmarks.tables import TABLES

        predictor, table = Predictor(folder), TABLES[name]
        for batch in batches:
            yield output(batch, predictor(*table.encode(columns(batch))))

    finish(spark.read.parquet(str(args.input)).mapInArrow(work, SCHEMA), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
