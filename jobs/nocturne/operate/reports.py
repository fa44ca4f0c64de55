"""The report of the published nights of a range."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from nocturne import report
from nocturne.config import Loaded, champion_of
from nocturne.errors import StateError
from nocturne.objects import Location, leading
from nocturne.operate.challengers import compared
from nocturne.operate.truth.report import truth_section
from nocturne.pipeline.challengers import compared_for_report
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.challengers import Shown
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
    missing = [key for key in keys if key not in published]
    beside = _challengers(loaded, [night.manifest.partition for night in nights])
    judged = truth_section(loaded, nights) if loaded.pipeline.labels else None
    page = report.span_html(name, nights, missing, links, beside, judged)
    write_atomic(target, page.encode())
    return target


def _challengers(loaded: Loaded, nights: Sequence[Partition]) -> list[Shown]:
    """The challengers of the pipeline, over the nights that both have published."""
    name = loaded.pipeline.name
    if not loaded.pipeline.challengers or champion_of(name) != name:
        return []
    found = []
    for one in compared(loaded, nights):
        versions = one.versions[1]
        version = versions[0] if len(versions) == 1 else None
        if one.comparison is None:
            why = next(iter(one.missing.values()), "there is no number to compare")
            found.append(Shown(one.challenger, version, why))
        else:
            found.append(compared_for_report(one.challenger, version, one.comparison))
    return found
