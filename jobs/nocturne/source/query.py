"""Sources that Spark reads: files of any format, through SQL if the pipeline has some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from nocturne.records.partition import Partition
from nocturne.records.plan import TABLE_MARK, InputFile, Piece, Query
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import listed
from nocturne.source.path_columns import columns_of_paths, options_set_columns
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
        folder: the folder of the partition.
        state: has the files that cache the hashes.
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
        """The files; of plain Parquet files also the schema, which is known to fit.

        Raises:
            InputError: a file is missing, empty or damaged, or does not fit the needs.
            InputChanged: files are being written.
        """
        query, files = self.query, self._files()
        parquet = query.format == "parquet"
        keys: tuple[str, ...] = ()
        if query.sql is None and not options_set_columns(query.options):  # else Spark decides
            names = {*needs.read, *needs.expected}
            keys = keys_as_columns(self.folder, files, self.partition, names, parquet=parquet)
        paths = [file.path for file in files]
        path_columns = columns_of_paths(self.partition, self.key_formats, paths, keys)
        seen = Seen(
            files,
            [_piece(files, query, path_columns)],
            path_keys=keys,
            path_columns=path_columns,
            query=query,
        )
        if query.sql is not None or not parquet:
            return seen
        schema, types = check_schema(
            self.folder,
            files,
            needs.encoding,
            needs.columns,
            cast=self.cast,
            cast_text=self.cast_text,
            unique=needs.unique,
            path_columns=path_columns,
        )
        data_paths = [self.folder / path for path in paths]
        refuse_untyped(data_paths, needs.read)
        rows = sum(file.rows for file in files)
        return replace(seen, schema=schema, types=types, paths=data_paths, rows=rows)

    def _files(self) -> tuple[InputFile, ...]:
        """The partition's files, then the files of each table, prefixed with the table's name.

        A missing or empty table is refused, as a missing or empty input is.
        """
        parquet = self.query.format == "parquet"
        all_files = fingerprints(listed(self.folder), self.state.fingerprints(), parquet=parquet)
        for name, path in sorted(self.query.tables.items()):
            files = fingerprints(listed(Path(path)), self.state.fingerprints(name))
            all_files += tuple(
                replace(file, path=f"{name}{TABLE_MARK}{file.path}") for file in files
            )
        return all_files


def _piece(files: Sequence[InputFile], query: Query, path_columns: pa.RecordBatch | None) -> Piece:
    """The single piece that a query is planned as: its text, and the contents of every file.

    Args:
        path_columns: columns of the files' paths, one row for each file.
    """
    contents = digest(
        [(f.path, f.fingerprint) for f in files],
        query.sql,
        query.format,
        query.options,
        *(
            [str(path_columns.schema), str(path_columns.to_pylist())]
            if path_columns is not None
            else []
        ),
    )
    return Piece(InputFile("", contents, 0, 0, 0, 0), (), 0, 0)
