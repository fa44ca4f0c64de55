"""A team's own metrics of joined rows: Spark SQL aggregates over scores and labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.errors import ConfigError

__all__ = ["RowsForSpark", "sql_metrics"]

_PART = "__part_"


class RowsForSpark:
    """The joined rows as Parquet files in a folder, for Spark."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parts, self._files = folder, 0, 0
        folder.mkdir()

    def add(self, table: pa.Table, parts: Sequence[pa.Array]) -> None:
        """Write rows to a file of their own.

        Args:
            parts: the names of the parts that each row belongs to, [n] for each way to divide them.
        """
        self.parts = len(parts)
        for number, names in enumerate(parts):
            table = table.append_column(f"{_PART}{number}", names)
        if table.num_rows or not self._files:
            pq.write_table(table, self.folder / f"{self._files:06d}.parquet")
            self._files += 1


def sql_metrics(
    rows: RowsForSpark, metrics: Mapping[str, str], conf: Mapping[str, str], *, hides: bool
) -> dict[str, dict[str, float]]:
    """Each metric of all rows, and of those of each part.

    Args:
        metrics: name -> an aggregate in Spark SQL.
        conf: settings of Spark, which runs on this machine.
        hides: Spark's own words are not shown, since they may hold values of sensitive columns.

    Returns:
        part -> metric -> the value, if it is a number; all rows are the part "all".

    Raises:
        ConfigError: Spark does not accept an expression.
    """
    from pyspark.errors import PySparkException

    from nocturne.spark.session import cause_of, session

    found: dict[str, dict[str, float]] = {}
    settings = {"spark.sql.session.timeZone": "UTC", **conf}
    with session("nocturne truth", "local[*]", settings) as spark:
        from pyspark.sql import functions as f

        if hides:  # both write an error's values to standard error
            spark.sparkContext.setLogLevel("OFF")
            for kind in ("SQL", "DataFrame"):
                logging.getLogger(f"{kind}QueryContextLogger").disabled = True
        try:
            frame = spark.read.parquet(str(rows.folder)).cache()
            values = [f.expr(text).alias(f"m{i}") for i, text in enumerate(metrics.values())]
            for column in ("", *(f"{_PART}{number}" for number in range(rows.parts))):
                grouped = frame.groupBy(f.col(column).alias("part")) if column else frame
                for row in grouped.agg(*values).collect():
                    own = found.setdefault(row["part"] if column else "all", {})
                    for i, name in enumerate(metrics):
                        if (number := _number(name, row[f"m{i}"])) is not None:
                            own[name] = number
        except PySparkException as error:
            why = "it may name values of sensitive columns, so why is not shown"
            raise ConfigError(
                f"labels.metrics: Spark does not take {', '.join(metrics)}: "
                f"{why if hides else cause_of(error)}"
            ) from None
    return found


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(
            f"labels.metrics: {name} is {type(value).__name__}, expected a number"
        ) from None
    return number if math.isfinite(number) else None
