"""Exactly these files as a Spark frame, whatever folders they lie in, with keys of their paths."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from nocturne.errors import InputError, choices, printable
from nocturne.source.path_columns import HIVE_NULL, by_options, unheld
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
"""Spark's defaults, whatever its configuration says: no planned file is left out."""

_PLAIN = {"recursiveFileLookup": "true"}
"""No folder's name becomes a column."""

_GUESSES = "spark.sql.sources.partitionColumnTypeInference.enabled"
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")

Load = Callable[[Mapping[str, str]], "DataFrame"]
"""Reads the files with further options of Spark's reader."""


def read_files(
    spark: SparkSession,
    format_: str,
    options: Mapping[str, str],
    folder: str,
    files: Sequence[str],
    given: pa.RecordBatch | None = None,
) -> DataFrame:
    """The files of a folder, and no others.

    Spark's own listing would leave out what lies beside ``key=value`` folders, and below others.

    Args:
        given: the keys of paths that become columns (``nocturne.source.path_columns``), a row a
            file. None, for what a query reads: those that all of the paths have, of the types that
            Spark guesses, unless a file holds such a column.
    """
    paths = [Path(folder) / file for file in files]

    def load(how: Mapping[str, str]) -> DataFrame:
        told = {**_STRICT, **how, **options}
        return spark.read.options(**told).format(format_).load(list(map(as_pattern, paths)))

    if by_options(options):
        return load({})
    if given is not None:
        return with_keys(load, paths, given)
    plain = load(_PLAIN)
    keys = path_keys(files)
    held = set(plain.columns)  # of the file that Spark looked at
    if keys and format_ == "parquet":
        held.update(*(read_schema(path).names for path in paths))
    whole = keys and len(unheld(keys, held)) == len(keys)
    return load({"basePath": folder}) if whole else plain


def with_keys(load: Load, paths: Sequence[Path], given: pa.RecordBatch) -> DataFrame:
    """What ``load`` reads, with the columns of ``given`` that no file holds.

    Raises:
        InputError: Spark would not read a key as it is meant.
    """
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_type

    frame = load(_PLAIN)
    if not (names := unheld(given.schema.names, frame.columns)):
        return frame
    several = [name for name in names if len(given.column(name).unique()) > 1]
    found = _discovered(load, paths, given.select(several), frame) if several else frame
    for name in names:
        if name not in several:
            one = given.column(name)[0].as_py()
            found = found.withColumn(name, f.lit(one).cast(from_arrow_type(given[name].type)))
    quoted = ("`" + name.replace("`", "``") + "`" for name in (*frame.columns, *names))
    return found.select(*quoted)


def _discovered(
    load: Load, paths: Sequence[Path], given: pa.RecordBatch, plain: DataFrame
) -> DataFrame:
    """The files with keys that differ among them: Spark finds each file's by itself."""
    base = os.path.commonpath([path.parent for path in paths])
    below = path_keys(path.relative_to(base).as_posix() for path in paths)
    held = set(below) - set(unheld(below, plain.columns))
    if held:
        raise InputError(
            f"{printable(base)} has folders {', '.join(f'{name}=' for name in sorted(held))} and "
            f"files with such a column; Spark can't read {choices(given.schema.names)} from the "
            "folders without taking the other too. Rename the folders, or use scoring.reader: "
            "pyarrow"
        )
    for name in given.schema.names:
        values = dict(zip(map(str, paths), given.column(name).to_pylist(), strict=True))
        for path, value in values.items():
            if _as_spark_has_it(path, name) != value:
                raise InputError(
                    f"{printable(path)}: Spark would not read {name} as {value!r}, since it takes "
                    "%C3%BC and the like for Latin-1. Rename the folder, or use scoring.reader: "
                    "pyarrow"
                )
    with _as_text(plain.sparkSession):
        return load({"basePath": base})


def _as_spark_has_it(path: str, key: str) -> str | None:
    """The value of a key in a path (ExternalCatalogUtils.unescapePathName)."""

    def unescaped(text: str) -> str:
        return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)

    parts = (part.partition("=") for part in path.split("/")[:-1])
    found = {unescaped(name): value for name, _, value in parts}.get(key)
    return None if found in (None, HIVE_NULL) else unescaped(found)


@contextmanager
def _as_text(spark: SparkSession) -> Iterator[None]:
    """Keys of paths are read as the text that they are."""
    before = spark.conf.get(_GUESSES)
    spark.conf.set(_GUESSES, "false")
    try:
        yield
    finally:
        spark.conf.set(_GUESSES, before)


def refuse_untyped(files: Iterable[Path], names: Collection[str]) -> None:
    """Spark reads a column without a type as integers, which other files' values are not.

    Raises:
        InputError: a Parquet file with rows has such a column, of ``names``.
    """
    for path in files:
        untyped = [f.name for f in read_schema(path) if pa.types.is_null(f.type)]
        if (named := [name for name in untyped if name in names]) and read_footer(path).num_rows:
            raise InputError(
                f"{path}: the columns {', '.join(named)} have no type, since all their values are "
                "null, and Spark can't read that beside other files. Have them written with their "
                "type, or use scoring.reader: pyarrow"
            )
