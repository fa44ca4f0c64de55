"""The keys of a file's path as columns: ``region=eu/ds=2026-01-01/`` gives ``region`` and ``ds``.

The YAML decides the type of such a column, and not the values: else the column would be an integer
until the first ``007b`` or ``eu``. So both readers and all nights have the same types:

    a key of input.partition whose format says a day            date32
    a key whose format is a single code (%Y, %m, %d, %H ...)    int32, as Spark reads it
    every other key, and the keys of folders below              string

A column of a file takes precedence over a key of the same name.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from nocturne.records.partition import Partition
from nocturne.records.plan import RunPlan
from nocturne.source.walk import path_keys

__all__ = [
    "HIVE_NULL",
    "columns_of_paths",
    "keys_of",
    "not_in_files",
    "of_file",
    "of_plan",
    "options_set_columns",
]

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""Hive and Spark write a null into a path like this."""

_CODE = re.compile("%[A-Za-z]")
_DAYS = (["%Y", "%d", "%m"], ["%Y", "%j"], ["%G", "%V", "%u"])
"""Codes that together say a day, sorted."""


def keys_of(partition: Partition, files: Iterable[str]) -> tuple[str, ...]:
    """The names of all keys: the partition's keys, then the keys of all its files below it."""
    return (*(name for name, _ in partition.keys), *map(unquote, path_keys(files)))


def options_set_columns(options: Iterable[str]) -> bool:
    """Whether options of Spark's reader decide which keys become columns."""
    return bool({"basepath", "recursivefilelookup"} & {name.lower() for name in options})


def not_in_files(keys: Iterable[str], columns: Iterable[str]) -> list[str]:
    """The keys that are not also columns of a file. Spark ignores case, and so does this."""
    lower = {name.lower() for name in columns}
    return [key for key in keys if key.lower() not in lower]


def columns_of_paths(
    partition: Partition,
    key_formats: Mapping[str, str],
    files: Sequence[str],
    names: Collection[str],
) -> pa.RecordBatch | None:
    """The keys ``names`` as columns, one row for each file; None without such keys.

    Args:
        key_formats: ``input.partition``, key -> strftime format or fixed value.
        files: paths below the partition's folder.
        names: keys, a part of ``keys_of`` these files.
    """
    if not names:
        return None
    values = dict(partition.keys)

    def column(name: str) -> pa.Array:
        if name not in values:
            return pa.array([_below(file)[name] for file in files], pa.string())
        type_ = _type(key_formats[name])
        return pa.array([_value(values[name], key_formats[name], type_)] * len(files), type_)

    return pa.RecordBatch.from_pydict({name: column(name) for name in names})


def of_file(columns: pa.RecordBatch | None, number: int) -> pa.RecordBatch | None:
    """The row of ``columns_of_paths`` that belongs to a file, by its position in the files."""
    return None if columns is None else columns.slice(number, 1)


def of_plan(plan: RunPlan, files: Sequence[str]) -> pa.RecordBatch | None:
    """The columns that a run takes from paths, one row for each file; None if it takes none."""
    return columns_of_paths(plan.partition, plan.key_formats, files, plan.path_keys)


def _type(format_: str) -> pa.DataType:
    codes = sorted(_CODE.findall(format_))
    if codes in _DAYS:
        return pa.date32()
    return pa.int32() if codes == [format_] else pa.string()


def _value(text: str, format_: str, type_: pa.DataType) -> Any:
    if pa.types.is_date32(type_):
        return dt.datetime.strptime(text, format_).date()
    return int(text) if pa.types.is_int32(type_) else _decoded(text)


def _below(file: str) -> dict[str, str | None]:
    """The keys of the folders in a relative path."""
    split = (part.partition("=")[::2] for part in file.split("/")[:-1] if "=" in part)
    return {unquote(name): _decoded(text) for name, text in split}


def _decoded(text: str) -> str | None:
    """The value without the escapes of paths: ``a%2Fb`` is ``a/b``."""
    if text == HIVE_NULL:
        return None
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:  # not UTF-8, so these are not escapes
        return text
