"""Checks whether a partition of the input is complete."""

from __future__ import annotations

import time

from nocturne.errors import NotReady, PartitionMissing, printable
from nocturne.records.partition import Partition
from nocturne.source.fingerprints import stat
from nocturne.source.protocol import InputTable
from nocturne.source.reading import read_footer

__all__ = ["check_ready"]


def check_ready(
    table: InputTable,
    partition: Partition,
    *,
    success_file: bool,
    min_rows: int,
    min_age_minutes: float,
) -> None:
    """Return if the partition is complete; raise if it is not.

    Raises:
        PartitionMissing: there is no such partition.
        NotReady: a condition of ``input.ready`` does not hold yet, or files are being written.
        InputError: a file is not Parquet, or an entry of the folder is neither data nor hidden.
    """
    folder = table.folder(partition)
    if not table.has(partition):
        names = sorted(map(printable, table.neighbours(partition)))
        existing = (
            f"the table has {names[0]} to {names[-1]}"
            if names
            else f"{folder.parent} has no partition"
        )
        raise PartitionMissing(
            f"partition {folder} does not exist: {existing}. Check the date and input.path, or set "
            "input.on_missing: skip",
            path=str(folder),
        )
    if success_file and not table.is_marked(partition):
        raise NotReady(
            f"{folder} has no _SUCCESS file yet (input.ready.success_file); run this again when "
            "its writer is done"
        )
    files = table.listing(partition).files
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
