"""Which earlier nights count as ordinary where drift is judged, and how that is remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from nocturne import config, drift, table
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import published
from nocturne.records import Accepted, Manifest, Partition, PublishedNight
from nocturne.store.partition_state import now
from nocturne.store.record_files import write
from nocturne.store.run import Run

__all__ = ["accept", "calm", "distances", "name_of", "named", "ordinary"]


def ordinary(run: Run, loaded: Loaded, earlier: Sequence[PublishedNight]) -> list[PublishedNight]:
    """The nights whose drift counts as ordinary for the run's verdict.

    A night that was judged before with this model is judged with the history that its judgement
    names, so that scoring days again, in any order, gives their verdicts again. Any other: with
    the ``earlier`` nights of this model that did not drift, or that a person let pass.
    """
    model = run.plan.model.sha256
    before = table.published_manifest(table.table_of(run))
    if before is not None and before.model.sha256 == model:
        history = run.state.judgement(before).drift.history
        return [found for name in history if (found := named(loaded, name))]
    return [
        night
        for night in earlier
        if night.manifest.model.sha256 == model and calm(loaded, night.manifest)
    ]


def calm(loaded: Loaded, night: Manifest) -> bool:
    """Whether no column of a night's whole drifted, or a person let it pass."""
    return not night.drifted or let_pass(loaded, night)


def let_pass(loaded: Loaded, night: Manifest) -> bool:
    """Whether a person approved the night when it was held, or accepted its drift later."""
    if night.restores is not None:  # who rolled back to it said nothing of its drift
        earlier = named(loaded, f"{night.partition.key}:{night.restores}")
        approved = earlier is not None and let_pass(loaded, earlier.manifest)
    else:
        approved = night.approved_by is not None
    state = Places.of(loaded).state.partition(night.partition)
    return approved or state.accepted(night.id).exists()


def accept(loaded: Loaded, partition: Partition, by: str) -> Manifest:
    """Count the drift of a published night as ordinary from now on.

    Raises:
        StateError: nothing is published there, or it did not drift.
    """
    night = published(loaded, partition)
    state = Places.of(loaded).state.partition(partition)
    if not (night.drifted or state.judgement(night).drift.only_in_segments):
        raise StateError(
            f"{loaded.pipeline.name} {partition.key} did not drift: it counts as ordinary already"
        )
    write(state.accepted(night.id), Accepted(by, now(), night.id))
    return night


def name_of(night: PublishedNight) -> str:
    """How a judgement names another night: partition and manifest id."""
    return f"{night.key}:{night.manifest.id}"


def named(loaded: Loaded, name: str) -> PublishedNight | None:
    """The night that ``name_of`` named; None if it is gone (nothing of ours removes one)."""
    key, _, id_ = name.rpartition(":")
    partition = config.partition(loaded.pipeline.input.partition, key)
    state = Places.of(loaded).state.partition(partition)
    with suppress(NocturneError):
        manifest = state.manifest(id_)
        return PublishedNight(manifest, state.judgement(manifest))
    return None


def distances(loaded: Loaded, nights: Sequence[PublishedNight]) -> dict[str, list[float]]:
    """Column, or column in a segment -> the PSI of those nights.

    A column that drifted in a segment alone is left out there, unless a person let it pass.
    """
    found = defaultdict(list)
    for night in nights:
        passed, drifted = let_pass(loaded, night.manifest), night.judgement.drift
        for feature in drifted.columns:
            found[feature.column].append(feature.psi)
        for segment in drifted.segments:
            for feature in segment.columns:
                if passed or not feature.alarmed:
                    found[drift.in_segment(segment.name, feature.column)].append(feature.psi)
    return dict(found)
