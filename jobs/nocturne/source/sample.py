"""Some rows of a partition: to try a model on, and to search for the fastest settings with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from nocturne.encoding import Encoding
from nocturne.errors import ModelError
from nocturne.source.path_columns import of_file
from nocturne.source.reading import file_schema, open_parquet, read_batches

__all__ = ["SampleFiles", "sample"]


@dataclass(frozen=True)
class SampleFiles:
    """The files of a partition that a sample of rows is taken from.

    Attributes:
        files: of the partition; none: there is no sample, and nothing is measured.
        rows: theirs, as far as they are known.
        cast: ``input.cast``, column -> target.
        checksums: compare pages with theirs (``input.checksums``).
        path_columns: columns of the files' paths, a row a file.
    """

    files: Sequence[Path]
    rows: int = 0
    cast: Mapping[str, str] = field(default_factory=dict)
    checksums: bool = True
    path_columns: pa.RecordBatch | None = None


def sample(source: SampleFiles, encoding: Encoding, rows: int) -> pa.RecordBatch:
    """The first rows of a partition, with what the model reads.

    Raises:
        ModelError: there is none.
        InputError: a file can't be read.
    """
    for number, path in enumerate(source.files):
        own = of_file(source.path_columns, number)
        with open_parquet(path, checksums=source.checksums) as file:
            there = file_schema(file, own).names
            columns = [name for name in encoding.columns if name in there]
            groups = range(file.num_row_groups)
            for batch in read_batches(file, path, groups, columns, rows, given=own):
                if batch.num_rows:
                    return batch
    raise ModelError("the partition has no row to try the model on")
