"""The report of a range: of the nights that are published in it."""

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
    """Write the report of the published ones of ``partitions``; returns where it lies.

    Args:
        path: the HTML file to write; None: ``reports/`` in the pipeline's state.

    Raises:
        StateError: none of them is published.
    """
    keys = [partition.key for partition in partitions]
    found = [night for night in PublishedNights(loaded).all() if night.key in set(keys)]
    name = loaded.pipeline.name
    if not found:
        raise StateError(
            f"no night of {name} from {keys[0]} to {keys[-1]} is published; see `nocturne status "
            f"{name}`"
        )
    published, state = {night.key for night in found}, Places.of(loaded).state
    path = path or state.report(f"{keys[0]}-to-{keys[-1]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    links = {}
    for night in found:
        one = state.partition(night.manifest.partition)
        own = one.run(night.manifest.run_key).report
        if own.exists():
            links[night.key] = quote(Path(os.path.relpath(own, path.parent)).as_posix())
    page = report.span_html(name, found, [key for key in keys if key not in published], links)
    path.write_text(page, encoding="utf-8")
    return path
