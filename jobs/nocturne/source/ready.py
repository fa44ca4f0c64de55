"""Checks whether a partition of the input is complete."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from nocturne.errors import NotReady, PartitionMissing, printable
from nocturne.source.fingerprints import stat
from nocturne.source.lakes import refuse_lake
from nocturne.source.reading import read_footer
from nocturne.source.walk import data_files, entries, present

__all__ = ["check_ready"]


def check_ready(
    folder: Path, *, success_file: bool, min_rows: int, min_age_minutes: float, known: Iterator[str]
) -> None:
    """Return if the partition is complete; raise if it is not.

    Args:
        known: names of partitions that exist, for the message; read only if needed.

    Raises:
        PartitionMissing: there is no such folder.
        NotReady: a condition of ``input.ready`` does not hold yet, or files are being written.
        InputError: a file is not Parquet, or an entry of the folder is neither data nor hidden.
    """
    refuse_lake(folder)
    if not present(folder):
        parent = folder.parent
        names = sorted(map(printable, known))
        existing = (
            f"the table has {names[0]} to {names[-1]}" if names else f"{parent} has no partition"
        )
        raise PartitionMissing(
            f"partition {folder} does not exist: {existing}. Check the date and input.path, or set "
            "input.on_missing: skip",
            path=str(folder),
        )
    if success_file and "_SUCCESS" not in entries(folder):
        raise NotReady(
            f"{folder} has no _SUCCESS file yet (input.ready.success_file); run this again when "
            "its writer is done"
        )
    files = data_files(folder)
    if min_age_minutes and files:
        age = (time.time() - max(stat(f).st_mtime for f in files)) / 60
        if age < min_age_minutes:
            raise NotReady(
                f"{folder} was written {age:.0f} minutes ago, input.ready.min_age_minutes is "
                f"{min_age_minutes:g}; run this again in {min_age_minutes - age:.0f} minutes"
            )
    if min_rows and not files:
        raise NotReady(f"{folder} holds no Parquet file yet; run this again when it is written")
    if min_rows > 1:
        rows = sum(read_footer(f).num_rows for f in files)
        if rows < min_rows:
            raise NotReady(
                f"{folder} holds {rows} rows, input.ready.min_rows is {min_rows}; run this again "
                "when the rest has arrived"
            )
