"""The contenders: one program each, ``python -m benchmarks.contenders.<module>``.

Each takes the arguments of ``arguments.py``; its own best settings are the defaults in its
``SETTINGS``, and what else was tried stands in docs/benchmarks.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.tables import TABLES

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True)
class Contender:
    """How to start one, and how to know the processes of it that score.

    Attributes:
        title: as the table calls it.
        module: below ``benchmarks.contenders``.
        worker: regular expression on the command line of the processes that score, for their
            memory; "" where any Python process may.
        environment: None for the project's own, else the name of benchmarks/<name>.txt.
        tables: those that it can score.
    """

    title: str
    module: str
    worker: str = ""
    environment: str | None = None
    tables: tuple[str, ...] = tuple(TABLES)


_SPARK = r"python\S* .*daemon"
_MATRIX = ("numbers",)

CONTENDERS = {
    "bare": Contender("bare loop", "bare"),
    "nocturne": Contender("Nocturne", "nocturne_cli", _SPARK),
    "nocturne_none": Contender("Nocturne, without Spark", "nocturne_none", r"nocturne\.processes"),
    "nocturne_challenged": Contender(
        "Nocturne, without Spark, with a challenger", "nocturne_challenged", r"nocturne\.processes"
    ),
    "nocturne_delta": Contender("Nocturne, into Delta", "nocturne_delta", _SPARK),
    "nocturne_iceberg": Contender("Nocturne, into Iceberg", "nocturne_iceberg", _SPARK),
    "daft": Contender("Daft", "daft_frame", environment="daft"),
    "ray_data": Contender("Ray Data", "ray_data", "^ray::", "ray"),
    "mapInArrow": Contender("`mapInArrow`, read by Spark", "map_in_arrow", _SPARK),
    "mapInPandas": Contender("`mapInPandas`, read by Spark", "map_in_pandas", _SPARK),
    "predict_batch_udf": Contender("`predict_batch_udf`", "predict_batch", _SPARK, tables=_MATRIX),
    "spark_udf": Contender("`mlflow.pyfunc.spark_udf`", "spark_udf", _SPARK, tables=_MATRIX),
}
