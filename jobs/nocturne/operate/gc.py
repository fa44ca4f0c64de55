"""Collect garbage: working files, versions and models that nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import NocturneError, Superseded, disk_errors
from nocturne.operate.status import known_partitions
from nocturne.pipeline.places import Places
from nocturne.records.plan import RunPlan
from nocturne.store.record_files import read
from nocturne.table import Garbage
from nocturne.table_formats.protocol import TablePartition

__all__ = ["collect"]


def collect(loaded: Loaded, seconds: float, remove: bool) -> tuple[list[Garbage], list[str]]:
    """What can go from a pipeline's state; with ``remove`` it is gone.

    Never what a manifest in force, a kept version, or a held or running night needs. Where a
    damaged file leaves that open, all that it could speak of is left alone.

    Args:
        seconds: what was changed within so many is left alone.

    Returns:
        The garbage, and why what was left alone.
    """
    places = Places.of(loaded)
    keep = loaded.pipeline.output.keep
    found: list[Garbage] = []
    left: list[str] = []

    def take(what: str, some: Callable[[], list[Garbage]]) -> None:
        try:
            with disk_errors():
                found.extend(some())
        except (NocturneError, OSError) as error:
            left.append(f"{what} is left alone: {error}")

    known = {p.key: places.output(p) for p in known_partitions(loaded)}
    for key, output in known.items():
        take(key, partial(_of_partition, output, keep, seconds, remove))
    take("models/", lambda: _removed(_of_models(places, seconds), remove))
    half = "what is half made"
    take(half, lambda: _removed(table.scratch(places.state.root, seconds), remove))
    beside = partial(table.half_made, places.table, list(known.values()), seconds)
    take(half, lambda: _removed(beside(), remove))
    return found, left


def _removed(found: list[Garbage], really: bool) -> list[Garbage]:
    for garbage in found if really else ():
        table.remove(garbage)
    return found


def _of_partition(output: TablePartition, keep: int, seconds: float, remove: bool) -> list[Garbage]:
    state = output.state
    if not state.folder.is_dir():
        return []
    try:
        if remove:
            table.settle(output, keep)
        with output.exclusive() if remove else nullcontext():
            now = table.published_manifest(output)
            last = state.status(now.run_key if now else None)
            busy = [last.run_key] if last and last.state in ("held", "running") else []
            found = _removed(table.garbage(output, now, keep, busy, seconds), remove)
            if remove and now is not None:
                state.say_done(now.run_key)
    except Superseded:  # being published: it has no garbage that is old enough
        return []
    return found


def _of_models(places: Places, seconds: float) -> list[Garbage]:
    """Copies of models that no run directory names, in a partition or outside of all."""
    used = {Path(read(RunPlan, path).model.path).name for path in places.state.plans()}
    return table.unused(places.state.models, used, seconds)
