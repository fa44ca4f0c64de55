"""What a pipeline reads: a source shows what is there before anything is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from nocturne.model.encoding import Encoding
from nocturne.records import InputFile, Piece, Query

__all__ = ["Needs", "Seen", "Source"]


@dataclass(frozen=True)
class Needs:
    """What is wanted of the input.

    Attributes:
        encoding: names the features.
        columns: keys and passthrough columns.
        expected: columns that expectations read.
        counted: whether these expectations are counted while the rows are scored.
        unique: keys that are looked through for duplicates.
    """

    encoding: Encoding
    columns: tuple[str, ...]
    expected: tuple[str, ...] = ()
    counted: bool = False
    unique: tuple[str, ...] = ()

    @property
    def read(self) -> set[str]:
        """What every row is read of for model and output."""
        return {*self.encoding.columns, *self.columns}


@dataclass(frozen=True)
class Seen:
    """What a source holds for one partition.

    Attributes:
        files: with their fingerprints, in the order in which they are read.
        pieces: what becomes splits.
        schema: of the rows; None where only Spark can say, when it scores.
        types: of columns that have none in some files.
        paths: Parquet files to take a sample from, or to look into the footers of.
        rows: as far as they are known.
        path_keys: keys of the files' paths that are read as columns.
        path_columns: these columns, with a row for each file.
        borrowed: file -> column -> the type that it has from other files or from its path.
        counted: whether expectations are counted while the rows are scored.
        query: what Spark reads; None where the workers read the files themselves.
    """

    files: tuple[InputFile, ...]
    pieces: Sequence[Piece]
    schema: pa.Schema | None = None
    types: pa.Schema = field(default_factory=lambda: pa.schema([]))
    paths: Sequence[Path] = ()
    rows: int = 0
    path_keys: tuple[str, ...] = ()
    path_columns: pa.RecordBatch | None = None
    borrowed: dict[str, dict[str, str]] = field(default_factory=dict)
    counted: bool = False
    query: Query | None = None

    @property
    def size(self) -> str:
        """How much it is, in words."""
        if self.query is not None:
            return f"{len(self.files)} files"
        return f"{self.rows} rows in {len(self.pieces)} splits"


class Source(Protocol):
    """One partition of the input, as one reader sees it."""

    def look(self, needs: Needs) -> Seen:
        """What is there, once it is known to fit.

        Raises:
            InputError: it is missing, empty or damaged, or does not fit what is wanted of it.
            InputChanged: files are being written.
        """
