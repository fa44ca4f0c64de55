"""The keys of a file's path as columns: ``region=eu/ds=2026-01-01/`` gives ``region`` and ``ds``.

What the values of a night look like decides no type: the column would be an integer until the first
``007b`` or ``eu``. The YAML does, so that both readers and all nights have the same:

    a key of input.partition whose format says a day          date32
    one whose format is one code alone (%Y, %m, %d, %H ...)   int32, as Spark reads it
    every other key, and those of the folders below           string

A column that a file holds itself counts before a key of that name.
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

__all__ = ["HIVE_NULL", "by_options", "keys_of", "of_file", "of_plan", "path_columns", "unheld"]

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""How Hive and Spark write a null into a path."""

_CODE = re.compile("%[A-Za-z]")
_DAYS = (["%Y", "%d", "%m"], ["%Y", "%j"], ["%G", "%V", "%u"])
"""Codes that say a day together, sorted."""


def keys_of(partition: Partition, files: Iterable[str]) -> tuple[str, ...]:
    """The names of all keys: those of the partition, then those that all files have below it."""
    return (*(name for name, _ in partition.keys), *map(unquote, path_keys(files)))


def by_options(options: Iterable[str]) -> bool:
    """Whether options of Spark's reader say what becomes a column."""
    return bool({"basepath", "recursivefilelookup"} & {name.lower() for name in options})


def unheld(keys: Iterable[str], held: Iterable[str]) -> list[str]:
    """The keys without those that are also a column of a file (Spark tells no case apart)."""
    lower = {name.lower() for name in held}
    return [key for key in keys if key.lower() not in lower]


def path_columns(
    partition: Partition, layout: Mapping[str, str], files: Sequence[str], names: Collection[str]
) -> pa.RecordBatch | None:
    """The keys ``names`` as columns, with a row for each file; None if there are no such keys.

    Args:
        layout: ``input.partition``, key -> strftime format or fixed value.
        files: paths below the partition's folder.
        names: of ``keys_of`` these files.
    """
    if not names:
        return None
    said = dict(partition.keys)

    def column(name: str) -> pa.Array:
        if name not in said:
            return pa.array([_below(file)[name] for file in files], pa.string())
        type_ = _type(layout[name])
        return pa.array([_value(said[name], layout[name], type_)] * len(files), type_)

    return pa.RecordBatch.from_pydict({name: column(name) for name in names})


def of_file(given: pa.RecordBatch | None, number: int) -> pa.RecordBatch | None:
    """The one row of ``path_columns`` that belongs to a file, by its place among the files."""
    return None if given is None else given.slice(number, 1)


def of_plan(plan: RunPlan, files: Sequence[str]) -> pa.RecordBatch | None:
    """The columns that a run takes from paths, with a row for each file; None if none."""
    return path_columns(plan.partition, plan.key_formats, files, plan.path_keys)


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
    """A value as it was before it became a part of a path: ``a%2Fb`` is ``a/b``."""
    if text == HIVE_NULL:
        return None
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:  # not UTF-8, so these are no escapes
        return text
