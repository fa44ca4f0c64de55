"""Samples rows of a partition, for the trial of a model and the search for fast settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from nocturne.encoding import Encoding
from nocturne.errors import ModelError
from nocturne.objects import Location
from nocturne.source.path_columns import of_file
from nocturne.source.reading import file_schema, open_parquet, read_batches

__all__ = ["SampleFiles", "sample"]


@dataclass(frozen=True)
class SampleFiles:
    """The files of a partition from which a sample of rows is taken.

    Attributes:
        files: the files; without files there is no sample, and nothing is measured.
        rows: the number of their rows, as far as it is known.
        cast: ``input.cast``, column -> target.
        checksums: compare pages with their checksums (``input.checksums``).
        path_columns: columns of the files' paths, one row for each file.
    """

    files: Sequence[Location]
    rows: int = 0
    cast: Mapping[str, str] = field(default_factory=dict)
    checksums: bool = True
    path_columns: pa.RecordBatch | None = None


def sample(source: SampleFiles, encoding: Encoding, rows: int) -> pa.RecordBatch:
    """The first rows of a partition, with the columns that the model reads.

    Raises:
        ModelError: there is no row.
        InputError: a file can't be read.
    """
    for number, path in enumerate(source.files):
        path_columns = of_file(source.path_columns, number)
        with open_parquet(path, checksums=source.checksums) as file:
            available = file_schema(file, path_columns).names
            columns = [name for name in encoding.columns if name in available]
            groups = range(file.num_row_groups)
            for batch in read_batches(file, path, groups, columns, rows, path_columns=path_columns):
                if batch.num_rows:
                    return batch
    raise ModelError("the partition has no row to try the model on")
