"""Reads exactly the planned files into a Spark DataFrame, with the keys of their paths."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from nocturne.errors import InputError, choices, printable
from nocturne.source.path_columns import HIVE_NULL, not_in_files, options_set_columns
from nocturne.source.reading import read_footer, read_schema
from nocturne.source.walk import as_pattern, path_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["read_files", "refuse_untyped", "with_keys"]

_STRICT = {
    "ignoreMissingFiles": "false",
    "ignoreCorruptFiles": "false",
    "ignoredPathSegmentRegex": "^[._]",
}
"""Spark's defaults, against another configuration: no planned file is left out."""

_PLAIN = {"recursiveFileLookup": "true"}
"""Options with which no folder's name becomes a column."""

_GUESSES = "spark.sql.sources.partitionColumnTypeInference.enabled"
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")

Load = Callable[[Mapping[str, str]], "DataFrame"]
"""Reads the files with more options of Spark's reader."""


def read_files(
    spark: SparkSession,
    format_: str,
    options: Mapping[str, str],
    folder: str,
    files: Sequence[str],
    path_columns: pa.RecordBatch | None = None,
) -> DataFrame:
    """Read the given files of a folder, and no others.

    Spark's own listing would leave out files beside ``key=value`` folders and below other folders.

    Args:
        path_columns: the keys of paths that become columns (``nocturne.source.path_columns``), one
            row for each file. None, for the tables of a query: the keys that all paths have, with
            the types that Spark infers, unless a file has such a column.
    """
    paths = [Path(folder) / file for file in files]

    def load(extra: Mapping[str, str]) -> DataFrame:
        reader_options = {**_STRICT, **extra, **options}
        return (
            spark.read.options(**reader_options).format(format_).load(list(map(as_pattern, paths)))
        )

    if options_set_columns(options):
        return load({})
    if path_columns is not None:
        return with_keys(load, paths, path_columns)
    plain = load(_PLAIN)
    keys = path_keys(files)
    columns = set(plain.columns)  # of the one file that Spark looked at
    if keys and format_ == "parquet":
        columns.update(*(read_schema(path).names for path in paths))
    all_keys = keys and len(not_in_files(keys, columns)) == len(keys)
    return load({"basePath": folder}) if all_keys else plain


def with_keys(load: Load, paths: Sequence[Path], path_columns: pa.RecordBatch) -> DataFrame:
    """The rows that ``load`` reads, with the columns of ``path_columns`` that no file has.

    Raises:
        InputError: Spark would read another value of a key.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_type

    frame = load(_PLAIN)
    if not (names := not_in_files(path_columns.schema.names, frame.columns)):
        return frame
    several = [name for name in names if len(path_columns.column(name).unique()) > 1]
    result = _discovered(load, paths, path_columns.select(several), frame) if several else frame
    for name in names:
        if name not in several:
            value = path_columns.column(name)[0].as_py()
            result = result.withColumn(
                name, f.lit(value).cast(from_arrow_type(path_columns[name].type))
            )
    quoted = ("`" + name.replace("`", "``") + "`" for name in (*frame.columns, *names))
    return result.select(*quoted)


def _discovered(
    load: Load, paths: Sequence[Path], path_columns: pa.RecordBatch, plain: DataFrame
) -> DataFrame:
    """The files with keys whose values differ between files. Spark reads them from the paths."""
    base = os.path.commonpath([path.parent for path in paths])
    below = path_keys(path.relative_to(base).as_posix() for path in paths)
    conflicts = set(below) - set(not_in_files(below, plain.columns))
    if conflicts:
        raise InputError(
            f"{printable(base)} has folders {', '.join(f'{name}=' for name in sorted(conflicts))} "
            "and files with such a column; Spark can't read "
            f"{choices(path_columns.schema.names)} from the folders without "
            "taking the other too. Rename the folders, or use scoring.reader: pyarrow"
        )
    for name in path_columns.schema.names:
        values = dict(zip(map(str, paths), path_columns.column(name).to_pylist(), strict=True))
        for path, value in values.items():
            if _unescaped_by_spark(path, name) != value:
                raise InputError(
                    f"{printable(path)}: Spark would not read {name} as {value!r}, since it takes "
                    "%C3%BC and the like for Latin-1. Rename the folder, or use scoring.reader: "
                    "pyarrow"
                )
    with _as_text(plain.sparkSession):
        return load({"basePath": base})


def _unescaped_by_spark(path: str, key: str) -> str | None:
    """The value of a key in a path, as in Spark's ExternalCatalogUtils.unescapePathName."""

    def unescaped(text: str) -> str:
        return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)

    parts = (part.partition("=") for part in path.split("/")[:-1])
    value = {unescaped(name): value for name, _, value in parts}.get(key)
    return None if value in (None, HIVE_NULL) else unescaped(value)


@contextmanager
def _as_text(spark: SparkSession) -> Iterator[None]:
    """Makes Spark read keys of paths as text."""
    before = spark.conf.get(_GUESSES)
    spark.conf.set(_GUESSES, "false")
    try:
        yield
    finally:
        spark.conf.set(_GUESSES, before)


def refuse_untyped(files: Iterable[Path], names: Collection[str]) -> None:
    """Refuse columns without a type: Spark reads them as integers, unlike other files' values.

    Raises:
        InputError: a Parquet file with rows has such a column among ``names``.
    """
    for path in files:
        untyped = [f.name for f in read_schema(path) if pa.types.is_null(f.type)]
        if (needed := [name for name in untyped if name in names]) and read_footer(path).num_rows:
            raise InputError(
                f"{path}: the columns {', '.join(needed)} have no type, since all their values are "
                "null, and Spark can't read that beside other files. Have them written with their "
                "type, or use scoring.reader: pyarrow"
            )
