"""Reads Parquet files as a Spark frame for Great Expectations: a second scan, on a cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.columns.normal import published_type
from nocturne.host import machine
from nocturne.quality.frames import readable
from nocturne.source.spark_files import with_keys
from nocturne.source.walk import as_pattern

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )
    from great_expectations.datasource.fluent.interfaces import Batch
    from pyspark.sql import Column, DataFrame, SparkSession

__all__ = ["scan_batch", "scan_frame"]

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.showConsoleProgress": "false",
}


def scan_frame(
    files: Sequence[Path],
    columns: Collection[str],
    conf: Mapping[str, str],
    path_columns: pa.RecordBatch | None = None,
    *,
    all_names: bool = False,
) -> tuple[DataFrame, pa.Schema]:
    """The ``columns`` of all files, lazily, and their Arrow types. NaN becomes null.

    Args:
        conf: ``spark.master`` and other settings, used if no session runs yet. The session ends
            with this process.
        path_columns: columns from the paths of the files, one row for each file.
        all_names: also make an empty column for every other name of the table.

    Raises:
        InputError: a file is missing, or is not a Parquet file.
    """
    from pyspark.sql import functions as f

    path_columns = path_columns if path_columns is not None else pa.RecordBatch.from_pydict({})
    schema = pa.schema([*_schema(files), *path_columns.schema])
    spark = _session(conf)

    def load(how: Mapping[str, str]) -> DataFrame:
        options = {"mergeSchema": "true", **how}
        return spark.read.options(**options).parquet(*map(as_pattern, files))

    frame = with_keys(load, files, path_columns)

    def select(name: str) -> Column:
        quoted = "`" + name.replace("`", "``") + "`"
        if name not in columns:
            return f.lit(False).alias(name)
        if pa.types.is_floating(schema.field(name).type):
            return f.when(~f.isnan(quoted), f.col(quoted)).alias(name)
        return f.col(quoted)

    names = [name for name in schema.names if all_names or name in columns]
    read = pa.schema([schema.field(name) for name in schema.names if name in columns])
    return frame.select(*map(select, names)), read


def scan_batch(gx: AbstractDataContext, name: str, frame: DataFrame) -> Batch:
    """A Spark frame as a batch that suites can be validated on."""
    source = gx.data_sources.add_or_update_spark("spark")
    definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    return definition.get_batch(batch_parameters={"dataframe": frame})


def _schema(files: Sequence[Path]) -> pa.Schema:
    schemas = []
    for path in files:
        with readable(path):
            schema = pq.read_schema(path).remove_metadata()
            schemas.append(pa.schema([f.with_type(published_type(f.type)) for f in schema]))
    return pa.unify_schemas(schemas, promote_options="permissive")


def _session(conf: Mapping[str, str]) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    machine.adapt(conf.get("spark.master"))
    settings = SparkConf().setAppName("nocturne: quality").setAll([*{**_SETTINGS, **conf}.items()])
    SparkContext._ensure_initialized(conf=settings)
    machine.hadoop_login(SparkContext._jvm)
    spark = SparkSession.builder.config(conf=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
