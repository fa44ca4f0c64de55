"""Decisions of a person about a partition: approve, reject, accept its drift, roll back."""

from __future__ import annotations

from dataclasses import replace

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError
from nocturne.model.tracking import briefly
from nocturne.operate.status import known_partitions
from nocturne.pipeline.adopting import adopt, adopt_if_same_rows
from nocturne.pipeline.monitoring import monitor
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import approve, publish_run, reject
from nocturne.pipeline.runs import as_planned, open_run
from nocturne.pipeline.signer import require_signed, require_signer
from nocturne.pipeline.tagging import decision_on, tag_decision
from nocturne.records.manifest import Accepted, Judgement, Manifest
from nocturne.records.partition import Partition
from nocturne.records.status import RunStatus
from nocturne.report import decision_tags
from nocturne.store.partition_state import PartitionState, manifest_id, now
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = [
    "accept",
    "adopt_compacted",
    "adopt_present",
    "alarms",
    "approve_held",
    "reject_held",
    "reject_run",
    "roll_back",
]


def approve_held(
    loaded: Loaded, partition: Partition, by: str, run_key: str | None = None
) -> Manifest:
    """Publish the held scores of a partition.

    Args:
        run_key: of the run that was looked at, or the name of its directory; None: any.

    Raises:
        StateError: the partition has no held scores, or those of another run.
        Superseded: something newer was published in the meantime.
    """
    run = _held(loaded, partition, run_key)
    with briefly():
        approve(run, by)
        return publish_run(run)


def reject_held(
    loaded: Loaded, partition: Partition, by: str, why: str = "", run_key: str | None = None
) -> Run:
    """Decide that held scores are not published; the published scores stay.

    Args:
        run_key: of the run that was looked at, or the name of its directory; None: any.

    Raises:
        StateError: the partition has no held scores, or those of another run.
    """
    run = _held(loaded, partition, run_key)
    reject_run(run, by, why)
    return run


def reject_run(run: Run, by: str, why: str = "", *, unanswered: bool = False) -> None:
    """Decide that a held run is not published; the published scores stay.

    That may also be said of scores that can't be published any more, as after a rollback.

    Args:
        unanswered: nobody decided in time, so that it still needs somebody.

    Raises:
        Superseded: it is no longer the last run, and something newer was published.
    """
    last, current = _last_run_key(run.state), table.published_manifest(table.table_of(run))
    if last != run.plan.run_key or (current and current.run_key == run.plan.run_key):
        table.check_base(run, current)
    reject(run, by, why, unanswered)
    message = f"rejected by {by}{': ' + why if why else ''}"
    plan = run.plan
    if last in (None, plan.run_key):  # the status of a later run stays
        run.state.write_status(
            RunStatus.of(plan, "rejected", "gate", message, now(), rows_done=plan.rows)
        )
    tag_decision(as_planned(run), plan, decision_on(run), "rejected")


def _last_run_key(state: PartitionState) -> str | None:
    """The run key of the last run that is not published; "" if it can't be read."""
    try:
        status = state.status()
    except StateError:
        return ""
    return status.run_key if status is not None else None


def _held(loaded: Loaded, partition: Partition, run_key: str | None) -> Run:
    name, state = loaded.pipeline.name, Places.of(loaded).state.partition(partition)
    status = state.status()
    if status is None or status.state != "held":
        raise StateError(
            f"{name} {partition.key} has no held scores (it is "
            f"{status.state if status else 'not running, held or failed'}); see `nocturne status "
            f"{name}`"
        )
    run = state.run(status.run_key)
    if run_key not in (None, run.name, status.run_key):
        raise StateError(
            f"{name} {partition.key}: the scores of the run {run_key} are not those that are held; "
            f"held are those of the run {run.name}, since {status.at}. Nothing was decided. Look "
            "at them, then decide",
            held=status.run_key,
        )
    return open_run(run.path)


def accept(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Count the drift of a published night, and its number of rows, as ordinary from now on.

    Raises:
        StateError: the partition is not published, or it did not alarm.
    """
    night = PublishedNights(loaded).manifest(partition)
    state = Places.of(loaded).state.partition(partition)
    if not alarms(state.judgement(night)):
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} did not drift, and its rows are as many as "
            "ever: it counts as ordinary already"
        )
    accepted = Accepted(by, now(), night.id)
    write(state.accepted(night.id), accepted)
    tag_decision(loaded, night, decision_tags("drift accepted", by, accepted.at))
    return night


def alarms(judgement: Judgement) -> bool:
    """Whether the drift or the rows of a night are not ordinary."""
    drift, volume = judgement.drift, judgement.volume
    return bool(drift.alarmed or drift.only_in_segments or (volume is not None and volume.alarmed))


def adopt_present(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Put the rows in force that other programs have written into a published partition.

    Raises:
        StateError: no other program has changed the partition, or nothing was published there.
        Superseded: another process is publishing.
    """
    manifest = adopt(loaded, Places.of(loaded).output(partition), by)
    tag_decision(loaded, manifest, decision_tags("adopted", by, manifest.published), "published")
    return manifest


def adopt_compacted(loaded: Loaded) -> tuple[list[Manifest], list[str]]:
    """Adopt every night whose rows another program only wrote into other files.

    The rows are compared, so this must happen before the replaced files are cleaned away, or the
    table forgets why it has other files.

    Returns:
        The new manifests, and what was left alone and why.
    """
    places = Places.of(loaded)
    adopted, problems = list[Manifest](), list[str]()
    for key, output in {p.key: places.output(p) for p in known_partitions(loaded)}.items():
        try:
            current = table.published_manifest(output)
            if current is None:
                continue
            manifest = adopt_if_same_rows(loaded, output, current)
        except (NocturneError, OSError) as error:
            problems.append(f"{key} is left alone: {error}")
        else:
            adopted += [manifest] if manifest != current else []
    return adopted, problems


def roll_back(loaded: Loaded, partition: Partition, to: str | None, by: str) -> Manifest:
    """Put the files of an earlier manifest in force again, atomically, as a new manifest.

    Args:
        to: the id or the commit number of the earlier manifest; None: the previous manifest.

    Raises:
        StateError: there is no such manifest, its files are no longer kept, or a manifest
            between it and the current one is damaged.
        Superseded: another process is publishing.
    """
    output = Places.of(loaded).output(partition)
    title = f"{loaded.pipeline.name} {partition.key}"
    current = adopt_if_same_rows(loaded, output, PublishedNights(loaded).manifest(partition))
    lineage, lineage_error = output.state.known_lineage(current)
    try:
        earlier = _earlier(title, lineage, to, output)
    except StateError as error:
        raise lineage_error or error from None

    require_signer(loaded)
    require_signed(loaded, output.state, earlier)

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
    restored = table.restore(output, earlier, manifest, keep)
    why = f"manifest {earlier.id} is in force again"
    with briefly():
        monitor(loaded, restored, decision_tags("rolled back", by, restored.published, why))
    return restored


def _earlier(
    title: str, lineage: list[Manifest], to: str | None, output: TablePartition
) -> Manifest:
    current, earlier = lineage[0], lineage[1:]
    kept = [m for m in earlier if m.content != current.content and output.kept(m) is not None]
    available = ", ".join(f"{m.id} (model version {m.model.version}, {m.published})" for m in kept)
    available = f"Kept are {available}" if kept else "No earlier version is kept (output.keep)"
    if to is None:
        if not kept:
            raise StateError(f"{title} has nothing to roll back to. {available}")
        return kept[0]
    matching = [m for m in lineage if to in (m.id, str(m.number))]
    if not matching:
        raise StateError(f"{title} has no manifest {to!r}. {available}; in force is {current.id}")
    if matching[0].content == current.content:
        raise StateError(f"{title}: manifest {matching[0].id} is in force already. {available}")
    return matching[0]
