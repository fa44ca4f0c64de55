"""The report of the published nights of a range."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from nocturne import report
from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition

__all__ = ["report_of"]


def report_of(loaded: Loaded, partitions: Sequence[Partition], path: Path | None) -> Path:
    """Write the report of those ``partitions`` that are published; returns its path.

    Args:
        path: the HTML file to write; None: a file in ``reports/`` of the pipeline's state.

    Raises:
        StateError: none of the partitions is published.
    """
    keys = [partition.key for partition in partitions]
    nights = [night for night in PublishedNights(loaded).all() if night.key in set(keys)]
    name = loaded.pipeline.name
    if not nights:
        raise StateError(
            f"no night of {name} from {keys[0]} to {keys[-1]} is published; see `nocturne status "
            f"{name}`"
        )
    published, state = {night.key for night in nights}, Places.of(loaded).state
    path = path or state.report(f"{keys[0]}-to-{keys[-1]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    links = {}
    for night in nights:
        partition_state = state.partition(night.manifest.partition)
        night_report = partition_state.run(night.manifest.run_key).report
        if night_report.exists():
            links[night.key] = quote(Path(os.path.relpath(night_report, path.parent)).as_posix())
    page = report.span_html(name, nights, [key for key in keys if key not in published], links)
    path.write_text(page, encoding="utf-8")
    return path
