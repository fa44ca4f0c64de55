"""What a person decides about a partition: publish what is held, or not, or go back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nocturne import publish
from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.monitoring import monitor
from nocturne.pipeline.publishing import approve, publish_run, reject
from nocturne.pipeline.runs import current, open_run, published
from nocturne.records import Manifest, Partition, Run
from nocturne.store import state

__all__ = ["approve_held", "reject_held", "roll_back", "turn_down"]


def approve_held(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Publish what is held.

    Raises:
        StateError: nothing is held there.
        Superseded: something newer was published meanwhile.
    """
    run = _held(loaded, partition)
    approve(run, by)
    return publish_run(run)


def reject_held(loaded: Loaded, partition: Partition, by: str, why: str = "") -> Run:
    """Decide that held scores are not published; what is published now stays.

    Raises:
        StateError: nothing is held there.
    """
    run = _held(loaded, partition)
    turn_down(run, by, why)
    return run


def turn_down(run: Run, by: str, why: str = "") -> None:
    """Decide that a held run is not published; what is published now stays.

    Raises:
        Superseded: something newer was published meanwhile.
    """
    publish.check_base(run, current(run))
    reject(run, by, why)
    said = f"rejected by {by}{': ' + why if why else ''}"
    state.touch(
        run.state_dir,
        state.Current(
            "rejected",
            "gate",
            run.run_key,
            run.run_dir,
            run.model.version,
            run.rows,
            run.rows,
            said,
            state.now(),
        ),
    )


def _held(loaded: Loaded, partition: Partition) -> Run:
    found = state.recall(Layout.of(loaded).partition_state(partition))
    if found is None or found.state != "held":
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} has no held scores (it is "
            f"{found.state if found else 'not running, held or failed'}); see `nocturne status "
            f"{loaded.pipeline.name}`"
        )
    return open_run(found.run_dir)


def roll_back(loaded: Loaded, partition: Partition, to: str | None, by: str) -> Manifest:
    """Put the files of an earlier manifest in force again, atomically, as a new manifest.

    Args:
        to: the earlier manifest's id, or its commit number; None: the one before.

    Raises:
        StateError: there is no such manifest, its files are no longer kept, or a manifest on
            the way to it is damaged.
        Superseded: another process is publishing.
    """
    layout = Layout.of(loaded)
    state_dir, target = layout.partition_state(partition), layout.output(partition)
    what = f"{loaded.pipeline.name} {partition.key}"
    line, broken = publish.known_lineage(state_dir, published(loaded, partition))
    try:
        earlier = _earlier(what, line, to, state_dir)
    except StateError as error:
        raise broken or error from None

    def manifest(number: int, replaces: str) -> Manifest:
        return replace(
            earlier,
            id=publish.manifest_id(number, earlier.run_key),
            number=number,
            replaces=replaces,
            published=state.now(),
            approved_by=by,
            restores=earlier.id,
        )

    keep = loaded.pipeline.output.keep
    done = publish.restore(state_dir, target, earlier, manifest, keep)
    monitor(loaded, done)
    return done


def _earlier(what: str, line: list[Manifest], to: str | None, state_dir: Path) -> Manifest:
    now, before = line[0], line[1:]
    kept = [m for m in before if m.run_key != now.run_key and publish.version_of(state_dir, m)]
    there = ", ".join(f"{m.id} (model version {m.model.version}, {m.published})" for m in kept)
    there = f"Kept are {there}" if kept else "No earlier version is kept (output.keep)"
    if to is None:
        if not kept:
            raise StateError(f"{what} has nothing to roll back to. {there}")
        return kept[0]
    found = [m for m in line if to in (m.id, str(m.number))]
    if not found:
        raise StateError(f"{what} has no manifest {to!r}. {there}; in force is {now.id}")
    if found[0].run_key == now.run_key:
        raise StateError(f"{what}: manifest {found[0].id} is what is in force now. {there}")
    return found[0]
