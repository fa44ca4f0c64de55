"""The published scores of a night, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.operate.truth.files import BATCH_ROWS, plain
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Manifest

__all__ = ["ScoreFiles", "score_files"]


@dataclass(frozen=True)
class ScoreFiles:
    """The files of a night's scores; ``schema``: of all of them, without dictionaries."""

    partition: str
    files: tuple[Location, ...]
    rows: int
    schema: pa.Schema

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The columns, some rows at a time.

        Raises:
            StateError: a file is gone.
        """
        for path in self.files:
            with _opened(path, self.partition) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
                    yield plain(pa.Table.from_batches([batch])).select(list(columns))


def score_files(loaded: Loaded, manifest: Manifest) -> ScoreFiles:
    """The files that a manifest names.

    Raises:
        StateError: a file is gone.
    """
    table, key = Places.of(loaded).output(manifest.partition), manifest.partition.key
    files = tuple(table.file(file.path) for file in manifest.outputs)
    schemas = []
    for path in files:
        with _opened(path, key) as file:
            schemas.append(plain(file.schema_arrow.remove_metadata().empty_table()).schema)
    schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
    return ScoreFiles(key, files, manifest.rows_published, schema)


def _opened(path: Location, partition: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(native(path))
    except FileNotFoundError as error:
        raise StateError(
            f"a file of the scores of {partition} is gone, or another program has arranged them "
            f"anew: {error}. `nocturne verify` says more"
        ) from None
