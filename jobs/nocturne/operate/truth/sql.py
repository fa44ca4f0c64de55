"""A team's own metrics of joined rows: Spark SQL aggregates over scores and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.errors import ConfigError

__all__ = ["RowsForSpark", "sql_metrics"]


class RowsForSpark:
    """The joined rows as Parquet files in a folder, for Spark."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = folder, 0
        folder.mkdir()

    def add(self, table: pa.Table) -> None:
        """Write rows to a file of their own."""
        if table.num_rows or not self._files:
            pq.write_table(table, self.folder / f"{self._files:06d}.parquet")
            self._files += 1


def sql_metrics(
    rows: RowsForSpark, metrics: Mapping[str, str], by: Sequence[str], conf: Mapping[str, str]
) -> dict[str, dict[tuple[str, str], float]]:
    """Each metric of all rows, and of those with each value of some columns.

    Args:
        metrics: name -> an aggregate in Spark SQL.
        by: the columns.
        conf: settings of Spark, which runs on this machine.

    Returns:
        metric -> ("", "") or (column, value as text) -> the value, if it is a number.

    Raises:
        ConfigError: Spark does not accept an expression.
    """
    from pyspark.errors import PySparkException

    from nocturne.spark.session import cause_of, session

    found: dict[str, dict[tuple[str, str], float]] = {name: {} for name in metrics}
    settings = {"spark.sql.session.timeZone": "UTC", **conf}
    with session("nocturne truth", "local[*]", settings) as spark:
        from pyspark.sql import functions as f

        try:
            frame = spark.read.parquet(str(rows.folder)).cache()
            for column in ("", *by):
                values = [f.expr(text).alias(f"m{i}") for i, text in enumerate(metrics.values())]
                quoted = "`" + column.replace("`", "``") + "`"
                grouped = frame.groupBy(f.col(quoted).alias("value")) if column else frame
                for row in grouped.agg(*values).collect():
                    place = (column, _text(row["value"])) if column else ("", "")
                    for i, name in enumerate(metrics):
                        number = _number(name, row[f"m{i}"])
                        if number is not None:
                            found[name][place] = number
        except PySparkException as error:
            raise ConfigError(
                f"labels.metrics: Spark does not take {', '.join(metrics)}: {cause_of(error)}"
            ) from None
    return found


def _text(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
