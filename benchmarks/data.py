"""The generated table: 20 float32 features, an int64 id, a string category of 8 values.

File ``n`` depends on ``n`` alone, so the small size is the first files of the large one.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.layout import Layout
from benchmarks.workloads import FEATURES, Workload

__all__ = ["CATEGORIES", "COLUMNS", "codes", "make", "table"]

CATEGORIES = ("amber", "black", "coral", "denim", "ebony", "flame", "green", "hazel")
COLUMNS = tuple(f"f{i:02d}" for i in range(FEATURES))
_SEED = 20_13


def codes(file: int, rows: int) -> np.ndarray:
    """The category of each row of a file, as its place in ``CATEGORIES``; uint8 [rows]."""
    return np.random.default_rng([_SEED, file, 1]).integers(0, len(CATEGORIES), rows, np.uint8)


def table(file: int, rows: int) -> pa.Table:
    """The rows of data file ``file``; ids go on where the file before ended."""
    values = np.random.default_rng([_SEED, file]).standard_normal((FEATURES, rows), np.float32)
    words = pa.DictionaryArray.from_arrays(pa.array(codes(file, rows), pa.int8()), CATEGORIES)
    return pa.table(
        [
            pa.array(np.arange(file * rows, (file + 1) * rows)),
            words.cast(pa.string()),
            *(pa.array(column) for column in values),
        ],
        names=["id", "category", *COLUMNS],
    )


def make(layout: Layout, workload: Workload) -> None:
    """Write the files that are missing and link each size's partition; pyarrow's defaults."""
    pool = layout.pool(workload.file_rows)
    pool.mkdir(parents=True, exist_ok=True)
    for files in workload.sizes:
        partition = layout.partition(workload.file_rows, files)
        partition.mkdir(parents=True, exist_ok=True)
        for number in range(files):
            link = partition / f"part-{number:05d}.parquet"
            if not link.exists():
                os.link(_file(pool, number, workload.file_rows), link)


def _file(pool: Path, number: int, rows: int) -> Path:
    path = pool / f"part-{number:05d}.parquet"
    if not path.exists():
        unfinished = path.with_suffix(".tmp")
        pq.write_table(table(number, rows), unfinished)
        unfinished.rename(path)
    return path
