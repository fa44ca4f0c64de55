"""What Spark reads for a run, as data: the query, and the files that it depends on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from nocturne import plan
from nocturne.config import Loaded
from nocturne.records import TABLE_MARK, InputFile, Partition, Query

__all__ = ["query_files", "query_of"]


def query_of(loaded: Loaded, partition: Partition) -> Query | None:
    """None if the pipeline's reader is not Spark."""
    if loaded.pipeline.scoring.reader != "spark":
        return None
    wanted, keys = loaded.pipeline.input, dict(partition.keys)
    return Query(
        format=wanted.format,
        options=wanted.options,
        sql=wanted.sql,
        tables={
            name: str(loaded.path(re.sub(r"\{(\w+)\}", lambda key: keys[key[1]], path)))
            for name, path in wanted.tables.items()
        },
    )


def query_files(query: Query, folder: Path, state_dir: Path) -> tuple[InputFile, ...]:
    """The partition's files, then those of each table, with its name before theirs.

    A table that is missing or empty is refused as the input is.
    """
    found = plan.fingerprints(
        folder, state_dir / "fingerprints.json", parquet=query.format == "parquet"
    )
    for name, path in sorted(query.tables.items()):
        files = plan.fingerprints(Path(path), state_dir / f"fingerprints-{name}.json")
        found += tuple(replace(file, path=f"{name}{TABLE_MARK}{file.path}") for file in files)
    return found
