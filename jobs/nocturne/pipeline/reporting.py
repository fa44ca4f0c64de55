"""The report of a range: of the nights that are published in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from nocturne import report
from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.runs import nights
from nocturne.records import Partition

__all__ = ["report_of"]


def report_of(loaded: Loaded, partitions: Sequence[Partition], path: Path | None) -> Path:
    """Write the report of the published ones of ``partitions``; returns where it lies.

    Args:
        path: the HTML file to write; None: ``reports/`` in the pipeline's state.

    Raises:
        StateError: none of them is published.
    """
    keys = [partition.key for partition in partitions]
    found = [night for night in nights(loaded) if night.partition.key in set(keys)]
    name = loaded.pipeline.name
    if not found:
        raise StateError(
            f"no night of {name} from {keys[0]} to {keys[-1]} is published; see `nocturne status "
            f"{name}`"
        )
    published = {night.partition.key for night in found}
    path = path or Layout.of(loaded).state / "reports" / f"{keys[0]}-to-{keys[-1]}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    links = {
        night.partition.key: quote(Path(os.path.relpath(night.report, path.parent)).as_posix())
        for night in found
        if night.report and Path(night.report).exists()
    }
    page = report.span_html(name, found, [key for key in keys if key not in published], links)
    path.write_text(page, encoding="utf-8")
    return path
