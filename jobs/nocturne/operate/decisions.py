"""What a person decides about a partition: publish what is held, or not, or go back."""

from __future__ import annotations

from dataclasses import replace

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import StateError
from nocturne.pipeline.monitoring import monitor
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import approve, publish_run, reject
from nocturne.pipeline.runs import open_run
from nocturne.records.manifest import Accepted, Manifest
from nocturne.records.partition import Partition
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import manifest_id, now
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["accept", "approve_held", "reject_held", "roll_back", "turn_down"]


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
    table.check_base(run, table.published_manifest(table.table_of(run)))
    reject(run, by, why)
    said = f"rejected by {by}{': ' + why if why else ''}"
    plan = run.plan
    run.state.say(RunStatus.of(plan, "rejected", "gate", said, now(), rows_done=plan.rows))


def _held(loaded: Loaded, partition: Partition) -> Run:
    state = Places.of(loaded).state.partition(partition)
    found = state.status()
    if found is None or found.state != "held":
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} has no held scores (it is "
            f"{found.state if found else 'not running, held or failed'}); see `nocturne status "
            f"{loaded.pipeline.name}`"
        )
    return open_run(state.run(found.run_key).path)


def accept(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Count the drift of a published night as ordinary from now on.

    Raises:
        StateError: nothing is published there, or it did not drift.
    """
    night = PublishedNights(loaded).manifest(partition)
    state = Places.of(loaded).state.partition(partition)
    drift = state.judgement(night).drift
    if not (drift.alarmed or drift.only_in_segments):
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} did not drift: it counts as ordinary already"
        )
    write(state.accepted(night.id), Accepted(by, now(), night.id))
    return night


def roll_back(loaded: Loaded, partition: Partition, to: str | None, by: str) -> Manifest:
    """Put the files of an earlier manifest in force again, atomically, as a new manifest.

    Args:
        to: the earlier manifest's id, or its commit number; None: the one before.

    Raises:
        StateError: there is no such manifest, its files are no longer kept, or a manifest on
            the way to it is damaged.
        Superseded: another process is publishing.
    """
    output = Places.of(loaded).output(partition)
    what = f"{loaded.pipeline.name} {partition.key}"
    line, broken = output.state.known_lineage(PublishedNights(loaded).manifest(partition))
    try:
        earlier = _earlier(what, line, to, output)
    except StateError as error:
        raise broken or error from None

    def manifest(number: int, replaces: str) -> Manifest:
        return replace(
            earlier,
            id=manifest_id(number, earlier.run_key),
            number=number,
            replaces=replaces,
            published=now(),
            approved_by=by,
            restores=earlier.id,
        )

    keep = loaded.pipeline.output.keep
    done = table.restore(output, earlier, manifest, keep)
    monitor(loaded, done)
    return done


def _earlier(what: str, line: list[Manifest], to: str | None, output: TablePartition) -> Manifest:
    current, before = line[0], line[1:]
    kept = [m for m in before if m.run_key != current.run_key and output.kept(m)]
    there = ", ".join(f"{m.id} (model version {m.model.version}, {m.published})" for m in kept)
    there = f"Kept are {there}" if kept else "No earlier version is kept (output.keep)"
    if to is None:
        if not kept:
            raise StateError(f"{what} has nothing to roll back to. {there}")
        return kept[0]
    found = [m for m in line if to in (m.id, str(m.number))]
    if not found:
        raise StateError(f"{what} has no manifest {to!r}. {there}; in force is {current.id}")
    if found[0].run_key == current.run_key:
        raise StateError(f"{what}: manifest {found[0].id} is what is in force now. {there}")
    return found[0]
