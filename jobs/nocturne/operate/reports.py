"""The report of the published nights of a range."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from nocturne import report
from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.objects import Location, leading
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition
from nocturne.store.files import write_atomic

__all__ = ["report_of"]


def report_of(loaded: Loaded, partitions: Sequence[Partition], path: Path | None) -> Location:
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
    target: Location = path or state.report(f"{keys[0]}-to-{keys[-1]}")
    links = {}
    for night in nights:
        partition_state = state.partition(night.manifest.partition)
        night_report = partition_state.run(night.manifest.run_key).report
        with suppress(ValueError):  # one is in a store, and the other is not
            names = leading(night_report, target.parent)
            if night_report.is_file():
                links[night.key] = quote(names)
    page = report.span_html(name, nights, [key for key in keys if key not in published], links)
    write_atomic(target, page.encode())
    return target
