"""Collects garbage: working files, versions and models that nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StoreUnavailable, Superseded, disk_errors
from nocturne.objects import is_within
from nocturne.objects.together import together
from nocturne.operate.status import known_partitions
from nocturne.pipeline.places import Places
from nocturne.records.plan import RunPlan
from nocturne.store.record_files import read
from nocturne.store.run import Run
from nocturne.table import Garbage
from nocturne.table_formats.protocol import TablePartition

__all__ = ["collect"]


def collect(
    loaded: Loaded, seconds: float, remove: bool
) -> tuple[list[Garbage], list[str], list[str]]:
    """Find the garbage in a pipeline's state, and remove it if ``remove`` is set.

    It contains nothing that a manifest in force, a kept version, or a held or running night needs.
    If a damaged file makes this unknown, everything that the file might need is left alone.

    Args:
        seconds: files that were changed within this time are left alone.

    Returns:
        The garbage, messages that say what was left alone and why, and such messages about
        partitions that are being published just now.
    """
    places = Places.of(loaded)
    keep = loaded.pipeline.output.keep
    garbage: list[Garbage] = []
    problems: list[str] = []
    busy: dict[str, str] = {}

    def take(name: str, find: Callable[[], list[Garbage]]) -> None:
        try:
            with disk_errors():
                garbage.extend(find())
        except StoreUnavailable:
            raise
        except Superseded as error:
            busy[name] = f"{name} is left alone: {error}"
        except (NocturneError, OSError) as error:
            problems.append(f"{name} is left alone: {error}")

    outputs = {p.key: places.output(p) for p in known_partitions(loaded)}
    for key, output in outputs.items():
        take(key, partial(_of_partition, output, keep, seconds, remove))
    take("models/", lambda: _removed(_of_models(places, seconds), remove))
    temporary = "a temporary file"

    def left_over() -> list[Garbage]:
        found = table.scratch(places.state.root, seconds)
        used = busy.keys() & outputs.keys()
        return [
            one
            for one in found
            if not any(is_within(one.path, outputs[key].state.folder) for key in used)
        ]

    take(temporary, lambda: _removed(left_over(), remove))
    beside_table = partial(table.half_made, places.table, list(outputs.values()), seconds)
    take(temporary, lambda: _removed(beside_table(), remove))
    return garbage, problems, [*busy.values()]


def _removed(
    found: list[Garbage], remove: bool, check: Callable[[], None] = lambda: None
) -> list[Garbage]:
    return [garbage for garbage in found if not remove or table.remove(garbage, check)]


def _of_partition(output: TablePartition, keep: int, seconds: float, remove: bool) -> list[Garbage]:
    state = output.state
    if remove:
        table.settle(output, keep)
    with output.exclusive(cleaning=True) if remove else nullcontext():
        now = table.published_manifest(output)
        status = state.status(now.run_key if now else None)
        busy = {status.run_key} if status and status.state in ("held", "running") else set()
        busy |= _partners(output, busy)
        kept = _partners(output, {now.run_key} if now else set())
        garbage = table.garbage(output, now, keep, busy, seconds, kept)
        found = _removed(garbage, remove, state.check_lock)
        if remove and now is not None:
            state.clear_status(now.run_key)
    return found


def _partners(output: TablePartition, needed: Collection[str]) -> set[str]:
    """Runs with arms, and the same without them, of which the other one is needed: the tasks of a
    DAG run know the first alone.
    """
    pairs = []
    for folder in output.state.runs():
        with suppress(NocturneError):
            run = Run.open(folder.path)
            if run.plan.arms is not None:
                pairs.append({run.plan.run_key, run.plan.arms.without})
    return {key for pair in pairs if pair & {*needed} for key in pair}


def _of_models(places: Places, seconds: float) -> list[Garbage]:
    """Copies of models that no run names, in partitions or outside of them."""
    plans = together(partial(read, RunPlan), places.state.plans())
    used = {Path(model.path).name for plan in plans for model in plan.models}
    return table.unused(places.state.models, used, seconds)
