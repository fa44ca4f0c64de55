"""``pyspark.ml.functions.predict_batch_udf``, one tensor of all features in, a float out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.contenders.arguments import Arguments, parse
from benchmarks.contenders.spark import SPARK_SETTINGS, finish, session
from benchmarks.tables.numbers import COLUMNS

if TYPE_CHECKING:
    import numpy as np
    from pyspark.sql import SparkSession

SETTINGS = {
    **SPARK_SETTINGS,
    "arrow_rows": "10000",
    "batch_size": "10000",
    "columns": "struct",
}


def score(spark: SparkSession, args: Arguments) -> None:
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import functions as f
    from pyspark.sql.types import FloatType

    folder = str(args.model)

    def load() -> Callable[[np.ndarray], np.ndarray]:
        import numpy as np

        from benchmarks.predict import Predictor

        predictor = Predictor(folder)

        def predict(inputs: np.ndarray) -> np.ndarray:
            return predictor(np.ascontiguousarray(inputs, np.float32))

        return predict

    udf = predict_batch_udf(
        load,
        return_type=FloatType(),
        batch_size=args.number("batch_size"),
        input_tensor_shapes=[[len(COLUMNS)]],
    )
    together = {"struct": f.struct, "array": f.array}[args.settings["columns"]]
    scores = udf(together(*COLUMNS))
    frame = spark.read.parquet(str(args.input))
    version = f.lit(1).cast("int").alias("model_version")
    finish(frame.select("id", "category", scores.alias("score"), version), args)


if __name__ == "__main__":
    arguments = parse(SETTINGS)
    score(session(arguments), arguments)
