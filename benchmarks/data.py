"""The data files of a workload's table."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.layout import Layout
from benchmarks.tables import TABLES
from benchmarks.workloads import Workload

__all__ = ["make"]


def make(layout: Layout, workload: Workload) -> None:
    """Write the files that are missing and link each size's partition; pyarrow's defaults."""
    layout.pool(workload).mkdir(parents=True, exist_ok=True)
    for files in workload.sizes:
        partition = layout.partition(workload, files)
        partition.mkdir(parents=True, exist_ok=True)
        for number in range(files):
            link = partition / f"part-{number:05d}.parquet"
            if not link.exists():
                os.link(_file(layout, workload, number), link)


def _file(layout: Layout, workload: Workload, number: int) -> Path:
    path = layout.pool(workload) / f"part-{number:05d}.parquet"
    if not path.exists():
        unfinished = path.with_suffix(".tmp")
        pq.write_table(TABLES[workload.table].table(number, workload.file_rows), unfinished)
        unfinished.rename(path)
    return path
