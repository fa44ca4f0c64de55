"""What Spark reads: files of any format, through SQL if the pipeline says some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from nocturne.records import TABLE_MARK, InputFile, Partition, Piece, Query
from nocturne.source.fingerprints import fingerprints
from nocturne.source.path_columns import by_options, path_columns
from nocturne.source.protocol import Needs, Seen
from nocturne.source.schemas import check_schema, keys_as_columns
from nocturne.source.spark_files import refuse_untyped
from nocturne.store.files import digest
from nocturne.store.partition_state import PartitionState

__all__ = ["SparkQuery"]


@dataclass(frozen=True)
class SparkQuery:
    """A query over a partition's folder, and over the tables that it joins.

    Attributes:
        folder: the partition's.
        state: has the caches in which hashes are kept.
        key_formats: partition key -> its strftime format or fixed value.
        cast, cast_text: ``input.cast`` and ``input.cast_text``.
    """

    query: Query
    folder: Path
    partition: Partition
    state: PartitionState
    key_formats: Mapping[str, str] = field(default_factory=dict)
    cast: Mapping[str, str] = field(default_factory=dict)
    cast_text: bool = False

    def look(self, needs: Needs) -> Seen:
        """What is there; what plain Parquet files hold is known to fit.

        Raises:
            InputError: a file is missing, empty or damaged, or does not fit what is wanted of it.
            InputChanged: files are being written.
        """
        query, files = self.query, self._files()
        parquet = query.format == "parquet"
        keys: tuple[str, ...] = ()
        if query.sql is None and not by_options(query.options):  # else Spark decides
            names = {*needs.read, *needs.expected}
            keys = keys_as_columns(self.folder, files, self.partition, names, parquet=parquet)
        paths = [file.path for file in files]
        given = path_columns(self.partition, self.key_formats, paths, keys)
        seen = Seen(
            files, [_piece(files, query, given)], path_keys=keys, path_columns=given, query=query
        )
        if query.sql is not None or not parquet:
            return seen
        schema, types = check_schema(
            self.folder,
            files,
            needs.encoding,
            needs.columns,
            told=self.cast,
            cast_text=self.cast_text,
            unique=needs.unique,
            given=given,
        )
        found = [self.folder / path for path in paths]
        refuse_untyped(found, needs.read)
        rows = sum(file.rows for file in files)
        return replace(seen, schema=schema, types=types, paths=found, rows=rows)

    def _files(self) -> tuple[InputFile, ...]:
        """The partition's files, then those of each table, with its name before theirs.

        A table that is missing or empty is refused as the input is.
        """
        parquet = self.query.format == "parquet"
        found = fingerprints(self.folder, self.state.fingerprints(), parquet=parquet)
        for name, path in sorted(self.query.tables.items()):
            files = fingerprints(Path(path), self.state.fingerprints(name))
            found += tuple(replace(file, path=f"{name}{TABLE_MARK}{file.path}") for file in files)
        return found


def _piece(files: Sequence[InputFile], query: Query, given: pa.RecordBatch | None) -> Piece:
    """The one piece that a query is planned as: its text, and the contents of every file.

    Args:
        given: columns of the files' paths, a row a file.
    """
    contents = digest(
        [(f.path, f.blake3) for f in files],
        query.sql,
        query.format,
        query.options,
        *([str(given.schema), str(given.to_pylist())] if given is not None else []),
    )
    return Piece(InputFile("", contents, 0, 0, 0, 0), (), 0, 0)
