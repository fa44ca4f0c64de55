"""Finds out how a Parquet table is partitioned, in the terms of the configuration."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nocturne.config import from_path, key_format
from nocturne.errors import InputError, choices
from nocturne.records.partition import Partition
from nocturne.source.lakes import refuse_lake
from nocturne.source.path_columns import HIVE_NULL
from nocturne.source.walk import data_files, identity, listing, present

__all__ = ["Table", "inspect"]

_FORMAT_BY_NAME = {
    **dict.fromkeys(("year", "yyyy", "yr", "y"), "%Y"),
    **dict.fromkeys(("month", "mm"), "%m"),
    **dict.fromkeys(("day", "dd"), "%d"),
    **dict.fromkeys(("hour", "hh", "hr", "h"), "%H"),
    **dict.fromkeys(("minute", "min"), "%M"),
}
"""Formats of keys that are part of a date by their name, since two digits could be anything."""

_DATES = (
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y_%m_%d",
    "%Y-%m-%dT%H",
    "%Y-%m-%d-%H",
    "%Y%m%d%H",
    "%Y-%m",
    "%Y%m",
)


_DATED = re.compile(r"(?<!\d)(19|20)\d\d([-_.]?(0[1-9]|1[0-2])([-_.]?([0-2]\d|3[01]))?)?(?!\d)")
"""Matches a date in a folder's name: the folder has the rows of a day, month or year."""

_DAY = re.compile(
    r"(?<![0-9A-Za-z])(?:19|20)\d\d(?:([-_.]?)(?:0[1-9]|1[0-2])\1(?:[0-2]\d|3[01])"
    r"|[-_.](?:0[1-9]|1[0-2]))(?![0-9A-SU-Za-z])"
)
"""Matches a day or month in a file's name. Stricter, since file names have other numbers too."""


@dataclass(frozen=True)
class Table:
    """A table's folder, its key formats (or fixed values) and its partitions by date.

    ``others``: key with a fixed value -> its other values in the table.
    """

    path: Path
    key_formats: dict[str, str]
    partitions: tuple[Partition, ...]
    others: dict[str, tuple[str, ...]]

    @property
    def hourly(self) -> bool:
        return "%H" in key_format(self.key_formats)

    def files(self, partition: Partition) -> list[Path]:
        return data_files(self.path / partition.path)


def inspect(path: Path) -> Table:
    """The table below ``path``.

    Raises:
        InputError: there is no table, it has no file, no partition key has dates, or no night would
            score some of the files.
        NotReady: a file is still being written.
    """
    refuse_lake(path)
    if not present(path):
        parent = path.parent
        siblings = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        raise InputError(
            f"{path} is not a folder; expected one that holds a Parquet table. {parent} has "
            f"{choices(siblings)}",
            path=str(path),
        )
    folders = list(_partition_folders(path, Counter()))
    if not folders:
        files = data_files(path)
        if not files:
            raise InputError(
                f"{path} is empty; expected Parquet files in it, or in folders such as "
                "ds=2013-04-01/",
                path=str(path),
            )
        _check_unpartitioned(path, files)
        return Table(path, {}, (Partition("all"),), {})
    key_formats, others = _key_formats(path, folders)
    by_folder = {f: from_path(key_formats, f) for f in folders}
    partitions = [p for f, p in by_folder.items() if p is not None and data_files(path / f)]
    if not partitions:
        raise InputError(
            f"{path} has {len(folders)} partition folders ({choices(folders, 3)}) and no file in "
            f"those that fit {_path_pattern(key_formats)}; expected Parquet files in them",
            path=str(path),
        )
    return Table(path, key_formats, tuple(sorted(partitions, key=lambda p: p.key)), others)


_MOST_PATHS = 16
"""The most paths to a folder of partition folders. Links to links double them on each level, so
the walk would never end."""


def _partition_folders(
    path: Path, reached: Counter[tuple[int, int]], below: str = ""
) -> Iterator[str]:
    """Paths ``a=1/b=2`` of the innermost partition folders, relative to the table.

    Args:
        reached: folder of partition folders -> number of paths to it so far.

    Raises:
        InputError: other entries lie beside the partition folders, or links form a cycle.
    """
    files, folders = listing(path / below)
    key_folders = [folder.name for folder in folders if "=" in folder.name]
    strays = [*files, *(folder for folder in folders if "=" not in folder.name)]
    if key_folders and strays:
        raise InputError(
            f"{strays[0]} lies beside the partition folders {choices(key_folders, 3)}, in none of "
            "them, so no night would score it. Move it into one of them, or out of the table"
        )
    names = [piece.partition("=")[0] for piece in below.split("/")]
    if len(set(names)) < len(names):
        raise InputError(
            f"{path / below} has a partition key twice; expected each once. If a folder links back "
            "to one that it lies in, remove the link"
        )
    folder_id = identity(path / below)
    reached[folder_id] += bool(key_folders)
    if reached[folder_id] > _MOST_PATHS:
        raise InputError(
            f"{path / below} is one folder under more than {_MOST_PATHS} names (links), so its "
            "partitions would be scored as often. Remove the links"
        )
    for name in key_folders:
        yield from _partition_folders(path, reached, f"{below}/{name}" if below else name)
    if not key_folders and below:
        yield below


def _check_unpartitioned(path: Path, files: Sequence[Path]) -> None:
    """Raises: InputError if a table without partition folders holds days or partitions."""
    folders = {folder for file in files for folder in file.relative_to(path).parents}
    for folder in sorted(folders):
        if "=" in folder.name:
            raise InputError(
                f"the partition folders of {path} lie deeper in it: {folder}. Point --input at "
                f"{path / folder.parent}"
            )
        if _DATED.search(folder.name):
            raise InputError(
                f"{path} has a folder {folder}, which looks like one of many days; as one table "
                "without partitions every night would score them all. A day's folder must name a "
                "key, such as ds=2013-04-01/ or year=2013/month=04/day=01/: rename the folders, "
                f"or make links to them (ln -s {path / folder} .../ds=2013-04-01); or point "
                "--input at one of them, which is then an unpartitioned table"
            )
    days = {
        re.sub(r"\D", "", match[0]): file for file in files if (match := _DAY.search(file.name))
    }
    if len(days) > 1:
        shown = choices(file.name for file in days.values())
        raise InputError(
            f"the files of {path} look like those of {len(days)} days or months: {shown}; as one "
            "table without partitions every night would score them all. Put each one's files, or "
            "links to them, into a folder that names a key, such as ds=2013-04-01/. If every night "
            "is to score them all, copy a pipeline's YAML and say input.partition: {} in it"
        )


def _key_formats(
    path: Path, folders: list[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    split = [[piece.partition("=")[::2] for piece in folder.split("/")] for folder in folders]
    names = {tuple(name for name, _ in pieces) for pieces in split}
    if len(names) > 1:
        raise InputError(
            f"{path} mixes partition keys: {choices('/'.join(n) for n in names)}; expected the "
            "same in every folder. Point --input at one table",
            path=str(path),
        )
    key_formats: dict[str, str] = {}
    others: dict[str, tuple[str, ...]] = {}
    for level, name in enumerate(names.pop()):
        values = sorted({pieces[level][1] for pieces in split} - {HIVE_NULL})
        format_ = _format(name, values)
        if format_ is None and name.lower() in _FORMAT_BY_NAME:
            expected = _FORMAT_BY_NAME[name.lower()]
            example = dt.datetime(2013, 4, 1, 5).strftime(expected)
            raise InputError(
                f"{path}: the folders {name}={choices(values, 3)} are not written as {expected}; "
                f"expected e.g. {name}={example}. Have the table written so",
                path=str(path),
            )
        if format_ is None:  # not a date: a pipeline scores one value of such a key
            key_formats[name] = values[0] if values else HIVE_NULL
            others[name] = tuple(values[1:])
        else:
            key_formats[name] = format_
    if not any("%" in format_ for format_ in key_formats.values()):
        raise InputError(
            f"no partition key of {path} tells a date: {_path_pattern(key_formats)} "
            f"({choices(folders, 3)}). Expected folders such as ds=2013-04-01/; or "
            "point --input at one of them, which is then an unpartitioned table",
            path=str(path),
        )
    return key_formats, others


def _format(name: str, values: list[str]) -> str | None:
    """The strftime format of all values; None if they are not dates."""
    by_name = _FORMAT_BY_NAME.get(name.lower())
    for format_ in (by_name, *_DATES) if by_name else _DATES:
        if values and all(_fits(value, format_) for value in values):
            return format_
    return None


def _fits(value: str, format_: str) -> bool:
    year = "" if "%Y" in format_ else "2000 "  # Python 3.13 warns about a day without a year
    try:
        moment = dt.datetime.strptime(year + value, f"%Y {format_}" if year else format_)
        return moment.strftime(format_) == value
    except ValueError:
        return False


def _path_pattern(key_formats: dict[str, str]) -> str:
    return "/".join(f"{name}={value}" for name, value in key_formats.items())
