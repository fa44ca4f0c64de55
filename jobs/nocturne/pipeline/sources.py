"""The source of a partition, for the reader that the pipeline's YAML names."""

from __future__ import annotations

import re
from collections.abc import Callable

from nocturne.config import Loaded
from nocturne.objects import ObjectPath, local
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition
from nocturne.records.plan import Query
from nocturne.source.parquet_files import ParquetFiles
from nocturne.source.protocol import Source
from nocturne.source.query import SparkQuery

__all__ = ["SOURCES", "source_of"]


def _parquet_files(loaded: Loaded, partition: Partition, places: Places) -> Source:
    settings, scoring = loaded.pipeline.input, loaded.pipeline.scoring
    return ParquetFiles(
        places.inputs,
        partition,
        places.state.partition(partition).fingerprints(),
        settings.partition,
        settings.cast,
        settings.cast_text,
        scoring.split_rows,
        scoring.split_mb << 20,
        (settings.fingerprint or _fingerprint(places)) == "content",
    )


def _fingerprint(places: Places) -> str:
    """An object's tag tells its versions apart; a file's time may be set back."""
    return "version" if isinstance(places.source, ObjectPath) else "content"


def _spark_query(loaded: Loaded, partition: Partition, places: Places) -> Source:
    settings, keys = loaded.pipeline.input, dict(partition.keys)
    tables = {
        name: str(loaded.path(re.sub(r"\{(\w+)\}", lambda key: keys[key[1]], path)))
        for name, path in settings.tables.items()
    }
    return SparkQuery(
        Query(settings.format, settings.options, settings.sql, tables),
        local(places.input(partition)),
        partition,
        places.state.partition(partition),
        settings.partition,
        settings.cast,
        settings.cast_text,
    )


SOURCES: dict[str, Callable[[Loaded, Partition, Places], Source]] = {
    "pyarrow": _parquet_files,
    "spark": _spark_query,
}
"""``scoring.reader`` -> the source."""


def source_of(loaded: Loaded, partition: Partition, places: Places) -> Source:
    """The source that the pipeline reads a partition from."""
    return SOURCES[loaded.pipeline.scoring.reader](loaded, partition, places)
