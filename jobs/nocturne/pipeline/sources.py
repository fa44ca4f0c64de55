"""The source of a pipeline's partition, by the reader that its YAML names."""

from __future__ import annotations

import re
from collections.abc import Callable

from nocturne.config import Loaded
from nocturne.pipeline.places import Places
from nocturne.records import Partition, Query
from nocturne.source.parquet_files import ParquetFiles
from nocturne.source.protocol import Source
from nocturne.source.query import SparkQuery

__all__ = ["SOURCES", "source_of"]


def _parquet_files(loaded: Loaded, partition: Partition, places: Places) -> Source:
    wanted, scoring = loaded.pipeline.input, loaded.pipeline.scoring
    return ParquetFiles(
        places.input(partition),
        partition,
        places.state.partition(partition).fingerprints(),
        wanted.partition,
        wanted.cast,
        wanted.cast_text,
        scoring.split_rows,
        scoring.split_mb << 20,
    )


def _spark_query(loaded: Loaded, partition: Partition, places: Places) -> Source:
    wanted, keys = loaded.pipeline.input, dict(partition.keys)
    tables = {
        name: str(loaded.path(re.sub(r"\{(\w+)\}", lambda key: keys[key[1]], path)))
        for name, path in wanted.tables.items()
    }
    return SparkQuery(
        Query(wanted.format, wanted.options, wanted.sql, tables),
        places.input(partition),
        partition,
        places.state.partition(partition),
        wanted.partition,
        wanted.cast,
        wanted.cast_text,
    )


SOURCES: dict[str, Callable[[Loaded, Partition, Places], Source]] = {
    "pyarrow": _parquet_files,
    "spark": _spark_query,
}
"""``scoring.reader`` -> the source."""


def source_of(loaded: Loaded, partition: Partition, places: Places) -> Source:
    """What the pipeline reads for a partition."""
    return SOURCES[loaded.pipeline.scoring.reader](loaded, partition, places)
