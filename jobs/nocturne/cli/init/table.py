"""How a Parquet table is partitioned, as the configuration says it."""

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

_NAMED = {
    **dict.fromkeys(("year", "yyyy", "yr", "y"), "%Y"),
    **dict.fromkeys(("month", "mm"), "%m"),
    **dict.fromkeys(("day", "dd"), "%d"),
    **dict.fromkeys(("hour", "hh", "hr", "h"), "%H"),
    **dict.fromkeys(("minute", "min"), "%M"),
}
"""Keys that are a part of a date by their name: two digits alone could be anything."""

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
"""In a folder's name: it holds the rows of that day, month or year."""

_DAY = re.compile(
    r"(?<![0-9A-Za-z])(?:19|20)\d\d(?:([-_.]?)(?:0[1-9]|1[0-2])\1(?:[0-2]\d|3[01])"
    r"|[-_.](?:0[1-9]|1[0-2]))(?![0-9A-SU-Za-z])"
)
"""In a file's name: of that day or month. Stricter, since names are full of other numbers."""


@dataclass(frozen=True)
class Table:
    """A table's folder, its layout (key -> format or fixed value) and its partitions by date.

    ``others`` has the values that a fixed key takes elsewhere in the table.
    """

    path: Path
    layout: dict[str, str]
    partitions: tuple[Partition, ...]
    others: dict[str, tuple[str, ...]]

    @property
    def hourly(self) -> bool:
        return "%H" in key_format(self.layout)

    def files(self, partition: Partition) -> list[Path]:
        return data_files(self.path / partition.path)


def inspect(path: Path) -> Table:
    """The table below ``path``.

    Raises:
        InputError: there is none, it has no file, no partition key tells a date, or files lie
            where no night would score them.
        NotReady: a file is still being written.
    """
    refuse_lake(path)
    if not present(path):
        parent = path.parent
        there = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        raise InputError(
            f"{path} is no folder; expected one that holds a Parquet table. {parent} has "
            f"{choices(there)}",
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
        _check_whole(path, files)
        return Table(path, {}, (Partition("all"),), {})
    layout, others = _layout(path, folders)
    found = {f: from_path(layout, f) for f in folders}
    dated = [p for f, p in found.items() if p is not None and data_files(path / f)]
    if not dated:
        raise InputError(
            f"{path} has {len(folders)} partition folders ({choices(folders, 3)}) and no file in "
            f"those that fit {_words(layout)}; expected Parquet files in them",
            path=str(path),
        )
    return Table(path, layout, tuple(sorted(dated, key=lambda p: p.key)), others)


_PATHS = 16
"""By so many paths a folder of partition folders may be reached: where links to links make twice as
many on each level, no walk would end."""


def _partition_folders(
    path: Path, reached: Counter[tuple[int, int]], below: str = ""
) -> Iterator[str]:
    """Paths ``a=1/b=2`` of the innermost partition folders, relative to the table.

    Args:
        reached: by how many paths each folder of others was, so far.

    Raises:
        InputError: something lies beside them, or links have no end.
    """
    files, folders = listing(path / below)
    keyed = [folder.name for folder in folders if "=" in folder.name]
    beside = [*files, *(folder for folder in folders if "=" not in folder.name)]
    if keyed and beside:
        raise InputError(
            f"{beside[0]} lies beside the partition folders {choices(keyed, 3)}, in none of them, "
            "so no night would score it. Move it into one of them, or out of the table"
        )
    names = [piece.partition("=")[0] for piece in below.split("/")]
    if len(set(names)) < len(names):
        raise InputError(
            f"{path / below} has a partition key twice; expected each once. If a folder links back "
            "to one that it lies in, remove the link"
        )
    here = identity(path / below)
    reached[here] += bool(keyed)
    if reached[here] > _PATHS:
        raise InputError(
            f"{path / below} is one folder under more than {_PATHS} names (links), so its "
            "partitions would be scored as often. Remove the links"
        )
    for name in keyed:
        yield from _partition_folders(path, reached, f"{below}/{name}" if below else name)
    if not keyed and below:
        yield below


def _check_whole(path: Path, files: Sequence[Path]) -> None:
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
    days = {re.sub(r"\D", "", said[0]): file for file in files if (said := _DAY.search(file.name))}
    if len(days) > 1:
        shown = choices(file.name for file in days.values())
        raise InputError(
            f"the files of {path} look like those of {len(days)} days or months: {shown}; as one "
            "table without partitions every night would score them all. Put each one's files, or "
            "links to them, into a folder that names a key, such as ds=2013-04-01/. If every night "
            "is to score them all, copy a pipeline's YAML and say input.partition: {} in it"
        )


def _layout(path: Path, folders: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    split = [[piece.partition("=")[::2] for piece in folder.split("/")] for folder in folders]
    names = {tuple(name for name, _ in pieces) for pieces in split}
    if len(names) > 1:
        raise InputError(
            f"{path} mixes partition keys: {choices('/'.join(n) for n in names)}; expected the "
            "same in every folder. Point --input at one table",
            path=str(path),
        )
    layout: dict[str, str] = {}
    others: dict[str, tuple[str, ...]] = {}
    for level, name in enumerate(names.pop()):
        values = sorted({pieces[level][1] for pieces in split} - {HIVE_NULL})
        format_ = _format(name, values)
        if format_ is None and name.lower() in _NAMED:
            wanted = _NAMED[name.lower()]
            example = dt.datetime(2013, 4, 1, 5).strftime(wanted)
            raise InputError(
                f"{path}: the folders {name}={choices(values, 3)} are not written as {wanted}; "
                f"expected e.g. {name}={example}. Have the table written so",
                path=str(path),
            )
        if format_ is None:  # no date: one pipeline scores one value of such a key
            layout[name] = values[0] if values else HIVE_NULL
            others[name] = tuple(values[1:])
        else:
            layout[name] = format_
    if not any("%" in format_ for format_ in layout.values()):
        raise InputError(
            f"no partition key of {path} tells a date: {_words(layout)} ({choices(folders, 3)}). "
            "Expected folders such as ds=2013-04-01/; or point --input at one of them, which is "
            "then an unpartitioned table",
            path=str(path),
        )
    return layout, others


def _format(name: str, values: list[str]) -> str | None:
    """The strftime format that all values have; None if they are no dates."""
    named = _NAMED.get(name.lower())
    for format_ in (named, *_DATES) if named else _DATES:
        if values and all(_fits(value, format_) for value in values):
            return format_
    return None


def _fits(value: str, format_: str) -> bool:
    year = "" if "%Y" in format_ else "2000 "  # of a day without one Python 3.13 warns
    try:
        moment = dt.datetime.strptime(year + value, f"%Y {format_}" if year else format_)
        return moment.strftime(format_) == value
    except ValueError:
        return False


def _words(layout: dict[str, str]) -> str:
    return "/".join(f"{name}={value}" for name, value in layout.items())
