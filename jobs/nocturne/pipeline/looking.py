"""Looks at a partition: its files and columns, and what a model makes of them."""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.config import Loaded
from nocturne.encoding import Encoding
from nocturne.model.registry import Resolved
from nocturne.pipeline.places import Places
from nocturne.pipeline.scoring import Executor
from nocturne.pipeline.sources import source_of
from nocturne.pipeline.trial import tried_encoding
from nocturne.records.partition import Partition
from nocturne.source.protocol import Needs, Seen
from nocturne.source.sample import SampleFiles

__all__ = ["Looked", "look"]


@dataclass(frozen=True)
class Looked:
    """What a look at a partition shows: its files and columns, and what the model makes of them."""

    seen: Seen
    needs: Needs
    files: SampleFiles
    encoding: Encoding


def look(
    loaded: Loaded,
    partition: Partition,
    places: Places,
    resolved: Resolved,
    expected: tuple[str, ...] = (),
    by: Executor | None = None,
) -> Looked:
    """Args: expected: the columns of the suites."""
    pipeline = loaded.pipeline
    declared = resolved.with_outputs(pipeline.model.outputs)
    needs = _needs(loaded, declared, expected)
    seen = source_of(loaded, partition, places).look(needs)
    files = SampleFiles(
        seen.paths, seen.rows, pipeline.input.cast, pipeline.input.checksums, seen.path_columns
    )
    encoding = tried_encoding(loaded, resolved, declared, places.state, files, by)
    return Looked(seen, needs, files, encoding)


def _needs(loaded: Loaded, encoding: Encoding, expected: tuple[str, ...]) -> Needs:
    output = loaded.pipeline.output
    return Needs(
        encoding,
        (*output.keys, *output.passthrough),
        expected,
        counted=loaded.pipeline.quality.scan == "none",
        unique=tuple(output.keys) if loaded.pipeline.quality.unique_keys else (),
    )
