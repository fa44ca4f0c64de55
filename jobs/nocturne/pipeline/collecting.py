"""Collect garbage: working files, versions and models that nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from nocturne import publish
from nocturne.config import Loaded
from nocturne.errors import NocturneError, Superseded, disk_errors
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.status import partitions
from nocturne.publish import Garbage
from nocturne.records import Partition, Run
from nocturne.store import state
from nocturne.store.files import locked
from nocturne.store.record_files import read

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
    layout = Layout.of(loaded)
    found: list[Garbage] = []
    left: list[str] = []

    def take(what: str, some: Callable[[], list[Garbage]]) -> None:
        try:
            with disk_errors():
                found.extend(some())
        except (NocturneError, OSError) as error:
            left.append(f"{what} is left alone: {error}")

    known = {p.key: p for p in partitions(loaded, layout)}.values()
    for partition in known:
        take(partition.key, partial(_of_partition, loaded, layout, partition, seconds, remove))
    take("models/", lambda: _removed(_of_models(layout, seconds), remove))
    take("what is half made", lambda: _removed(publish.scratch(layout.state, seconds), remove))
    above = {folder for p in known for folder in layout.output(p).parents}
    own = {f for f in above if layout.table in (f, *f.parents)} | {layout.table.parent}
    take("what is half made", lambda: _removed(publish.tried(sorted(own), seconds), remove))
    return found, left


def _removed(found: list[Garbage], really: bool) -> list[Garbage]:
    for garbage in found if really else ():
        publish.remove(garbage)
    return found


def _of_partition(
    loaded: Loaded, layout: Layout, partition: Partition, seconds: float, remove: bool
) -> list[Garbage]:
    folder, target = layout.partition_state(partition), layout.output(partition)
    if not folder.is_dir():
        return []
    keep = loaded.pipeline.output.keep
    try:
        if remove:
            publish.settle(folder, target, keep)
        with locked(folder / "lock") if remove else nullcontext():
            now = publish.current(folder, target)
            last = state.recall(folder, now.run_key if now else None)
            busy = [last.run_key] if last and last.state in ("held", "running") else []
            found = _removed(publish.garbage(folder, now, keep, busy, seconds), remove)
            if remove and now is not None:
                state.clear(folder, now.run_key)
    except Superseded:  # being published: it has no garbage that is old enough
        return []
    return found


def _of_models(layout: Layout, seconds: float) -> list[Garbage]:
    """Copies of models that no run directory names, in a partition or outside of all."""
    used = set()
    for path in layout.state.glob("**/runs/*/run.json"):
        used.add(Path(read(Run, path).model.path).name)
    return publish.unused(layout.state / "models", used, seconds)
